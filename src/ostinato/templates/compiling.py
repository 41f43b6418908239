"""From text to something that renders.

Most prompts are literals and names: those are rendered by filling a copied list. Everything else runs as steps.
"""

import itertools
from collections.abc import Iterable, Mapping
from typing import Any, cast

from ostinato.templates import plain
from ostinato.templates.model import (
    DEEPEST_PARTIALS,
    FORMATS,
    LARGEST_OUTPUT,
    LARGEST_TEMPLATE,
    MOST_USES,
    MOST_VARIABLES,
    Format,
    TemplateInvalid,
    Unrenderable,
    Use,
    faulty,
)
from ostinato.templates.nodes import Choice, Literal, Loop, Node, Output, Partial, Section, Variable
from ostinato.templates.running import UNDEFINED, Expression, Run, Step, checked, run, text_of, too_large

_FLAT = 2_000
"""Parts up to which partials are written out in their place."""


class Template:
    """A compiled template. Immutable; may be rendered by many threads at once."""

    __slots__ = ("_flat", "_size", "_slots", "depth", "format", "nodes", "partials", "parts", "steps", "text", "uses")

    def __init__(
        self,
        text: str,
        format: Format,
        nodes: tuple[Node, ...],
        uses: tuple[Use, ...],
        partials: Mapping[str, "Template"],
    ) -> None:
        self.text = text
        self.format: Format = format
        self.nodes = nodes
        self.partials = tuple(sorted(_partials(nodes)))
        """Names of the partials that it takes itself."""
        missing = next((name for name in self.partials if name not in partials), None)
        if missing is not None:
            raise TemplateInvalid(
                f"The partial {missing!r} does not exist.", code="partial_not_found", hint="Create it first."
            )
        self.depth = 1 + max((partials[name].depth for name in self.partials), default=-1)
        """0 without partials."""
        if self.depth > DEEPEST_PARTIALS:
            raise TemplateInvalid(f"Partials are nested more than {DEEPEST_PARTIALS} deep.", code="partials_too_deep")
        self.uses = _with_partials(nodes, uses, partials) if self.partials else _distinct(uses)
        """Names that it takes from its values, those of partials included."""
        parts = _flattened(nodes, partials)
        self.parts = parts
        """Texts and dotted names in order, where there is nothing else; never change it."""
        self.steps: tuple[Step, ...] = _steps(nodes, partials)
        """The same for the machine, always there."""
        self._flat = None if parts is None else [part if isinstance(part, str) else "" for part in parts]
        self._slots: tuple[tuple[int, str | tuple[str, ...]], ...] = tuple(
            (index, part[0] if len(part) == 1 else part)
            for index, part in enumerate(parts or ())
            if not isinstance(part, str)
        )
        self._size = sum(map(len, self._flat or ()))

    @property
    def variables(self) -> tuple[str, ...]:
        """The outermost names that values may be given for, sorted."""
        return tuple(sorted({use.path[0] for use in self.uses}))

    @property
    def fixed(self) -> bool:
        """Whether it always renders the same."""
        return self._flat is not None and not self._slots

    def render(self, values: Mapping[str, Any]) -> str:
        """The text with ``values`` in place. A name without a value is empty. Raises :class:`Unrenderable`.

        Nothing is escaped, and no value is ever rendered itself. At most 1 MiB.
        """
        flat = self._flat
        if flat is None:
            return run(self.steps, dict(values))
        out = flat.copy()
        size = self._size
        for index, name in self._slots:
            value = values.get(name) if isinstance(name, str) else _inner(values, name)
            if type(value) is not str:
                value = text_of(value)
            size += len(value)
            if size > LARGEST_OUTPUT:
                raise too_large()
            out[index] = value
        return checked("".join(out))


def compile_template(text: str, format: Format = "plain", partials: Mapping[str, Template] | None = None) -> Template:
    """``text``, ready to render. ``partials``: name -> template, for every ``{{>name}}`` in it.

    Raises :class:`TemplateInvalid` with the line and column, or naming the partial that is missing.
    """
    nodes, uses = _parse(text, format)
    template = Template(text, format, nodes, uses, partials or {})
    if len(template.variables) > MOST_VARIABLES:
        raise TemplateInvalid(f"More than {MOST_VARIABLES:,} variables in one template.", code="too_many_variables")
    return template


def partials_of(text: str, format: Format = "plain") -> tuple[str, ...]:
    """Names of the partials that ``text`` takes itself, sorted. Raises :class:`TemplateInvalid`."""
    return tuple(sorted(_partials(_parse(text, format)[0])))


def _parse(text: str, format: str) -> tuple[tuple[Node, ...], tuple[Use, ...]]:
    if format not in FORMATS:
        raise TemplateInvalid(f"There is no template format {format[:40]!r}.", hint=f"One of: {', '.join(FORMATS)}.")
    try:
        size = len(text.encode())
    except UnicodeEncodeError as error:
        raise faulty(text, error.start, "half of a surrogate pair, which is no character.") from None
    if size > LARGEST_TEMPLATE:
        raise TemplateInvalid(
            f"The template has {size:,} bytes; at most {LARGEST_TEMPLATE:,} are allowed.", code="template_too_large"
        )
    if format == "plain":
        return plain.parse(text)
    # Jinja2's parser takes 40 ms to import; most installations never need it, and a client may not have it.
    from ostinato.templates import jinja  # noqa: PLC0415

    return jinja.parse(text)


def _inner(values: Mapping[str, Any], path: tuple[str, ...]) -> Any:
    value: Any = values
    for key in path:
        value = value.get(key) if isinstance(value, Mapping) else None  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]: JSON of unknown shape
    return value  # pyright: ignore[reportUnknownVariableType]: JSON of unknown shape


def _partials(nodes: Iterable[Node]) -> set[str]:
    found: set[str] = set()
    for node in nodes:
        if isinstance(node, Partial):
            found.add(node.name)
        elif isinstance(node, Section | Loop):
            found |= _partials(node.body)
    return found


def _distinct(uses: Iterable[Use]) -> tuple[Use, ...]:
    kept: dict[object, Use] = {}
    for use in uses:
        kept.setdefault((use.path, use.how, use.certain, use.within), use)
        if len(kept) > MOST_USES:
            raise TemplateInvalid(f"Names are taken at more than {MOST_USES:,} places.", code="too_many_variables")
    return tuple(kept.values())


def _with_partials(nodes: Iterable[Node], uses: Iterable[Use], partials: Mapping[str, Template]) -> tuple[Use, ...]:
    """The uses of a template and of its partials, whose names are looked up where the partial stands."""

    def of(nodes: Iterable[Node], within: tuple[tuple[str, ...], ...], certain: bool) -> Iterable[Use]:
        for node in nodes:
            if isinstance(node, Partial):
                for use in partials[node.name].uses:
                    yield Use(use.path, use.how, certain and use.certain, within + use.within, node.at)
            elif isinstance(node, Section):
                inside = within if node.inverted or not node.path else (*within, node.path)
                yield from of(node.body, inside, certain=False)

    return _distinct(itertools.chain(uses, of(nodes, (), certain=True)))


def _flattened(nodes: Iterable[Node], partials: Mapping[str, Template]) -> list[str | tuple[str, ...]] | None:
    """Texts and names in order, where there is nothing else; ``None`` otherwise."""
    flat: list[str | tuple[str, ...]] = []
    for node in nodes:
        if isinstance(node, Literal):
            flat.append(node.text)
        elif isinstance(node, Variable) and node.path:
            flat.append(node.path)
        elif isinstance(node, Partial):
            parts = partials[node.name].parts
            if parts is None or len(flat) + len(parts) > _FLAT:
                return None
            flat += parts
        else:
            return None
    return flat


def _steps(nodes: Iterable[Node], partials: Mapping[str, Template]) -> tuple[Step, ...]:
    return tuple(_step(node, partials) for node in nodes)


def _step(node: Node, partials: Mapping[str, Template]) -> Step:
    if isinstance(node, Literal):
        return _literal(node.text)
    if isinstance(node, Variable):
        return _variable(node.path)
    if isinstance(node, Section):
        body = _steps(node.body, partials)
        return _inverted(node.path, body) if node.inverted else _section(node.path, body)
    if isinstance(node, Partial):
        return _partial(partials[node.name].steps)
    if isinstance(node, Output):
        return _output(node)
    if isinstance(node, Choice):
        return _choice([(test, _steps(body, partials)) for test, body in node.branches])
    return _loop(node, _steps(node.body, partials), _steps(node.otherwise, partials))


def _literal(text: str) -> Step:
    return lambda state: state.put(text)


def _variable(path: tuple[str, ...]) -> Step:
    def step(state: Run) -> None:
        state.step()
        state.put(text_of(state.find(path) if path else state.scopes[-1]))

    return step


def _section(path: tuple[str, ...], body: tuple[Step, ...]) -> Step:
    def step(state: Run) -> None:
        value = state.find(path) if path else state.scopes[-1]
        if _is_nothing(value):
            state.step()
            return
        items = cast("list[Any]", value) if type(value) is list else (value,)
        for item in items:
            state.step()
            state.scopes.append(item)
            for inner in body:
                inner(state)
            state.scopes.pop()

    return step


def _inverted(path: tuple[str, ...], body: tuple[Step, ...]) -> Step:
    def step(state: Run) -> None:
        state.step()
        if _is_nothing(state.find(path) if path else state.scopes[-1]):
            for inner in body:
                inner(state)

    return step


def _is_nothing(value: Any) -> bool:
    # A number is always something, 0 included: it is data, and no answer to a question.
    return value is UNDEFINED or value is None or value is False or (isinstance(value, str | list | dict) and not value)


def _partial(body: tuple[Step, ...]) -> Step:
    def step(state: Run) -> None:
        state.step()
        for inner in body:
            inner(state)

    return step


def _output(node: Output) -> Step:
    value = node.value

    def step(state: Run) -> None:
        state.step()
        state.put(text_of(value(state)))

    return step


def _choice(branches: list[tuple[Expression | None, tuple[Step, ...]]]) -> Step:
    def step(state: Run) -> None:
        state.step()
        for test, body in branches:
            if test is None or test(state):
                for inner in body:
                    inner(state)
                return

    return step


def _loop(node: Loop, body: tuple[Step, ...], otherwise: tuple[Step, ...]) -> Step:
    def step(state: Run) -> None:
        state.step()
        items = _items(state, node)
        for index, item in enumerate(items):
            state.step()
            state.scopes.append(node.bind(item, index, len(items)))
            for inner in body:
                inner(state)
            state.scopes.pop()
        if not items:
            for inner in otherwise:
                inner(state)

    return step


def _items(state: Run, node: Loop) -> list[Any]:
    value = node.items(state)
    if value is UNDEFINED or value is None:
        return []
    if not isinstance(value, list | dict):
        raise Unrenderable(
            "A loop of this template goes over something that is neither a list nor an object.", code="value_not_list"
        )
    items: list[Any] = list(value)  # pyright: ignore[reportUnknownArgumentType]: JSON of unknown shape
    state.look_at(items)
    if node.keep is None:
        return items
    kept: list[Any] = []
    for item in items:
        state.step()
        state.scopes.append(node.bind(item, 0, len(items)))
        if node.keep(state):
            kept.append(item)
        state.scopes.pop()
    return kept
