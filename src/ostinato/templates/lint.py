"""What keeps prefix caches from working: a provider's, which needs equal beginnings, and ours, which needs equal whole
requests. Findings are advice; nothing is refused for them."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

import msgspec

from ostinato.templates.compiling import Template
from ostinato.templates.model import Finding, place
from ostinato.templates.nodes import Choice, Literal, Loop, Node, Output, Partial, Section, Variable

LATE = 256
"""Characters of fixed text behind the first variable from which that is worth a word: some 64 tokens."""

_BUSTERS = {
    "a time or date": "timestamp time datetime date now today tomorrow yesterday clock created_at updated_at sent_at",
    "an identifier": "uuid guid nonce ulid request_id trace_id span_id session_id correlation_id message_id run_id",
    "a random value": "random rand salt shuffle",
}
_WORDS = {word: what for what, words in _BUSTERS.items() for word in words.split()}
_ENDINGS = (
    (re.compile(r"(?:^|_)(?:timestamp|datetime|date|time|now|today)$"), "a time or date"),
    (re.compile(r"(?:^|_)(?:uuid|guid|nonce|ulid)$"), "an identifier"),
    (re.compile(r"(?:^|_)(?:random)(?:_|$)"), "a random value"),
)
_FORMATS = {"date-time": "a time or date", "date": "a time or date", "time": "a time or date", "uuid": "an identifier"}
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


class Source(msgspec.Struct, frozen=True):
    """One text of a prompt, in the order in which a model reads them."""

    where: str
    template: Template


def lint(
    sources: Sequence[Source], *, schema: Mapping[str, Any] | None = None, tools: Sequence[Mapping[str, Any]] = ()
) -> list[Finding]:
    """Everything worth a word, in reading order."""
    found = [*_busters(sources, schema or {}), *_late(sources), *_unordered(sources)]
    names = [_tool_name(tool) for tool in tools]
    if all(names) and names != sorted(names):
        found.append(
            Finding(
                code="unordered-tools",
                message="The tools are not in the order of their names: another order is another prefix for a provider "
                "and another request for the cache. Keep them sorted, so that two editors write them alike.",
                where="tools",
            )
        )
    return found


def _busters(sources: Sequence[Source], schema: Mapping[str, Any]) -> Iterable[Finding]:
    properties: object = schema.get("properties")
    declared = cast("dict[str, Any]", properties) if isinstance(properties, dict) else {}
    seen: set[str] = set()
    for source in sources:
        for names, at in _places(source.template.nodes):
            for name in names:
                what = _buster(name, declared.get(name.split(".")[0]))
                if what is None or name in seen:
                    continue
                seen.add(name)
                yield _finding(
                    source,
                    at,
                    "cache-buster",
                    f"{{{{{name}}}}} looks like {what}: with it no two requests are equal, and nothing behind it is in "
                    "a provider's prefix cache. Leave it out, make it coarser, or put it last.",
                )


def _buster(name: str, declared: object) -> str | None:
    word = _CAMEL.sub("_", name.rsplit(".", maxsplit=1)[-1]).lower().replace("-", "_")
    if word in _WORDS:
        return _WORDS[word]
    for ending, what in _ENDINGS:
        if ending.search(word):
            return what
    if isinstance(declared, dict) and "." not in name:
        form: object = cast("dict[str, Any]", declared).get("format")
        return _FORMATS.get(form) if isinstance(form, str) else None
    return None


def _late(sources: Sequence[Source]) -> Iterable[Finding]:
    """Fixed text behind the first thing that varies."""
    first: tuple[Source, int, str] | None = None
    late = 0
    for source in sources:
        for node in source.template.nodes:
            if first is not None:
                late += _fixed(node, source.template)
            elif not isinstance(node, Literal | Partial):
                first = (source, node.at, _label(node))
    if first is not None and late >= LATE:
        source, at, label = first
        yield _finding(
            source,
            at,
            "late-static",
            f"{late:,} characters that never change stand behind {label}, the first thing that varies: a provider's "
            "prefix cache ends there. Put fixed text first and data last.",
        )


def _fixed(node: Node, template: Template) -> int:
    if isinstance(node, Literal):
        return len(node.text)
    return 0


def _label(node: Node) -> str:
    if isinstance(node, Variable):
        return f"{{{{{'.'.join(node.path) or '.'}}}}}"
    if isinstance(node, Section):
        return f"{{{{{'^' if node.inverted else '#'}{'.'.join(node.path)}}}}}"
    return "an expression" if isinstance(node, Output) else "a block"


def _unordered(sources: Sequence[Source]) -> Iterable[Finding]:
    for source in sources:
        if source.template.format == "jinja2" and (found := re.search(r"\|\s*items\b", source.template.text)):
            yield _finding(
                source,
                found.start(),
                "unordered-keys",
                "A loop over |items takes the keys in the order in which a caller sends them: the same data in "
                "another order is another prompt. Send a list.",
            )


def _places(nodes: Iterable[Node]) -> Iterable[tuple[tuple[str, ...], int]]:
    """Names that are put out, and where."""
    for node in nodes:
        if isinstance(node, Variable) and node.path:
            yield (".".join(node.path),), node.at
        elif isinstance(node, Output):
            yield node.names, node.at
        elif isinstance(node, Section):
            yield from _places(node.body)
        elif isinstance(node, Loop):
            yield from _places(node.body)
            yield from _places(node.otherwise)
        elif isinstance(node, Choice):
            for _, body in node.branches:
                yield from _places(body)


def _tool_name(tool: Mapping[str, Any]) -> str:
    function: object = tool.get("function")
    name: object = cast("dict[str, Any]", function).get("name") if isinstance(function, dict) else tool.get("name")
    return name if isinstance(name, str) else ""


def _finding(source: Source, at: int, code: str, message: str) -> Finding:
    line, column = place(source.template.text, at)
    return Finding(code=code, message=message, where=source.where, line=line, column=column)
