"""The report of a run: one HTML page that needs nothing else, and the figures that it is made of."""

from ostinato.optimization.report.page import CSP, page

__all__ = ["CSP", "page"]
