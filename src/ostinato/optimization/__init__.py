"""Optimization runs: plan, probe, search, prove on the sealed holdout, review, propose a release. Durable."""

__all__ = []
