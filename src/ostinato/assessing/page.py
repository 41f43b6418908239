"""An assessment as one page of HTML that needs nothing else. Everything that comes from files is escaped."""

from ostinato.assessing.model import Assessment


def page(assessment: Assessment) -> str:
    """The page."""
    return f"<!doctype html>{assessment.requests}"
