"""What templates are made of, their bounds, and their errors."""

from typing import Literal, TypeAlias

import msgspec

from ostinato.core.errors import Invalid

Format: TypeAlias = Literal["plain", "jinja2"]
FORMATS: tuple[Format, ...] = ("plain", "jinja2")

LARGEST_TEMPLATE = 262_144
"""Bytes of UTF-8 of one template."""
LARGEST_OUTPUT = 1_048_576
"""Bytes of UTF-8 of one rendered text."""
MOST_VARIABLES = 1_000
"""Different names that one template, with its partials, may take."""
MOST_USES = 10_000
"""Different places that names are taken at, with those of partials."""
DEEPEST_BLOCKS = 16
"""Sections within sections, or blocks within blocks."""
DEEPEST_PARTIALS = 8
LONGEST_NAME = 200
MOST_STEPS = 50_000
"""Blocks, loop turns and outputs that one rendering may take."""
MOST_WORK = 8 * LARGEST_OUTPUT
"""Characters that filters and comparisons of one rendering may look at."""


class TemplateInvalid(Invalid):
    """A template that cannot be used; the message tells line and column."""

    default_code = "template_invalid"


class Unrenderable(Invalid):
    """These values make too much of this template, or cannot be used in it."""

    status = 422
    default_code = "unrenderable"


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """Something that the linter noticed. It keeps nobody from saving."""

    code: str
    """Stable: ``no-model``, ``unknown-model``, ``cache-buster``, ``late-static``, ``unordered-tools``,
    ``unordered-keys``."""
    level: Literal["warning", "error"] = "warning"
    message: str
    where: str = ""
    """Which part: ``text``, ``messages.0``, ``tools``, ``variables.NAME``."""
    line: int = 0
    column: int = 0
    """Both counted from 1; 0: not a place in a text."""


class Use(msgspec.Struct, frozen=True, gc=False):
    """A name that a template takes from its values, and how."""

    path: tuple[str, ...]
    """``{{a.b}}`` is ``("a", "b")``."""
    how: Literal["text", "any", "test"]
    """Put out as it is; used some other way; only asked whether there is something (sections, ``if``, loops)."""
    certain: bool
    """Whether every rendering takes it, and takes it from the outermost values."""
    within: tuple[tuple[str, ...], ...] = ()
    """The logic-less sections around it, outermost first: a name may be a key of what they hold."""
    at: int = 0
    """Offset in the text, in characters."""


def place(text: str, offset: int) -> tuple[int, int]:
    """Line and column of ``offset``, both counted from 1."""
    line = text.count("\n", 0, offset) + 1
    return line, offset - (text.rfind("\n", 0, offset) + 1) + 1


def faulty(text: str, offset: int, problem: str, hint: str = "") -> TemplateInvalid:
    """``problem`` with its place in ``text``."""
    line, column = place(text, offset)
    return TemplateInvalid(f"Line {line}, column {column}: {problem}", hint=hint)
