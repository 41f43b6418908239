"""Statistics of decisions: exact tests, intervals, betting e-processes, agreement, calibration. Pure; arrays in, figures out.

NumPy and SciPy are imported inside functions only: whoever imports this room pays nothing until a figure is asked for.
"""

__all__ = []
