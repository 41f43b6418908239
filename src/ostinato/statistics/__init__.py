"""Statistics of decisions: exact tests, intervals, betting e-processes, agreement, calibration. Pure functions.

NumPy and SciPy are imported inside functions only: whoever imports this room pays nothing until a figure is asked for.
"""

__all__ = []
