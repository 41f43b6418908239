"""Templates: text with places for data, compiled once and rendered in microseconds.

Logic-less by default (``{{name}}``, sections, partials); Jinja2 by choice, its syntax tree held to a list of what is
allowed and run by the same small machine: no Python of an author's is ever made or called. Values are never rendered
again and nothing is escaped. Compiling and rendering are bounded by counts, so no template can be a bomb. ``lint``
finds what keeps a provider's prefix cache, and ours, from working. Pure: no database, no clock, no files.
"""

from ostinato.templates.compiling import Template, compile_template, partials_of
from ostinato.templates.lint import Source, lint
from ostinato.templates.model import (
    DEEPEST_PARTIALS,
    LARGEST_OUTPUT,
    LARGEST_TEMPLATE,
    MOST_VARIABLES,
    Finding,
    Format,
    TemplateInvalid,
    Unrenderable,
    Use,
)
from ostinato.templates.schema import infer_schema, undeclared

__all__ = [
    "DEEPEST_PARTIALS",
    "LARGEST_OUTPUT",
    "LARGEST_TEMPLATE",
    "MOST_VARIABLES",
    "Finding",
    "Format",
    "Source",
    "Template",
    "TemplateInvalid",
    "Unrenderable",
    "Use",
    "compile_template",
    "infer_schema",
    "lint",
    "partials_of",
    "undeclared",
]
