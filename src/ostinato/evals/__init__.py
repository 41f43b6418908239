"""Experiments: versions of a dataset and of prompts, targets and scorers; compared in pairs."""

__all__ = []
