"""Texts that are data, inside templates: written so that they come out as they are, whatever stands in them."""

import re

from ostinato import templates
from ostinato.templates import Format

_PLAIN = re.compile(r"(\\*)\{\{")
_JINJA = re.compile(r"\{(?=[{%#])")


def literal(text: str, format: Format) -> str | None:
    """``text`` as a template that renders to exactly ``text``, alone on its lines; ``None`` where there is none.

    Jinja2 has no way to keep a carriage return, nor any format half a surrogate pair: such a text is no example.
    """
    if format == "plain":
        # An odd number of backslashes before two braces makes them text; each pair of them is one backslash.
        escaped = _PLAIN.sub(lambda found: found[1] * 2 + "\\{{", text)
    else:
        escaped = _JINJA.sub("{{ '{' }}", text)
    try:
        # Judged as it will stand: with other lines around it.
        template = templates.compile_template(f"-\n{escaped}\n-", format)
        if template.uses or template.render({}) != f"-\n{text}\n-":
            return None
    except (templates.TemplateInvalid, templates.Unrenderable, UnicodeError):
        return None
    return escaped
