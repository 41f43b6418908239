"""Datasets: examples in immutable versions, split by hash, with a holdout that is sealed.

Every look at a holdout is written down and spends of what it may be asked; see ``Datasets``.
"""

__all__ = []
