"""The page."""

from ostinato.optimization.run import Detail


def page(detail: Detail) -> str:
    """One self-contained HTML page."""
    return detail.run.sentence
