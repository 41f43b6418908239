"""Scorers: what says how good an answer is. A value from 0 to 1, or *unscored*, never 0 for a failure.

The same scorers run in experiments, in optimization and on a sampled share of the traffic.
"""

__all__ = []
