"""The report of a run: one HTML page that needs nothing else, and the same in short for a terminal."""

from ostinato.optimization.report.page import page

__all__ = ["page"]
