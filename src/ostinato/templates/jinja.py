"""Reading Jinja2: its own parser makes the tree, this module lets through what is on the list and nothing else.

Allowed: output, ``if``/``elif``/``else``, ``for`` over lists and objects (with ``else``, ``if`` and ``loop.index``,
``.index0``, ``.first``, ``.last``, ``.length``), literals, dotted names and ``x["key"]`` (keys of objects, never
attributes of Python's), comparisons, ``and``, ``or``, ``not``, ``a if b else c``, and the filters and tests of
``filters``. Not: arithmetic, calls, ``range``, ``set``, macros, includes, imports, ``extends``, blocks, extensions.
What is let through runs on our own machine; Jinja2's compiler is never used.
"""

import functools
from collections.abc import Callable, Iterable
from typing import Any, cast
from typing import Literal as Word

import jinja2
from jinja2 import nodes as tree

from ostinato.templates import filters
from ostinato.templates.model import DEEPEST_BLOCKS, LONGEST_NAME, TemplateInvalid, Use
from ostinato.templates.nodes import Choice, Literal, Loop, Node, Output
from ostinato.templates.running import UNDEFINED, Expression, Run

_DEEPEST_EXPRESSION = 50
_LOOP = frozenset({"index", "index0", "first", "last", "length"})
_COMPARISONS = frozenset({"eq", "ne", "lt", "lteq", "gt", "gteq", "in", "notin"})
_NAMES = {
    "Add": "arithmetic",
    "Sub": "arithmetic",
    "Mul": "arithmetic",
    "Div": "arithmetic",
    "FloorDiv": "arithmetic",
    "Mod": "arithmetic",
    "Pow": "arithmetic",
    "Neg": "arithmetic",
    "Pos": "arithmetic",
    "Concat": "joining with ~",
    "Call": "a call",
    "Slice": "a slice",
    "Dict": "an object literal",
    "Assign": "set",
    "AssignBlock": "set",
    "Macro": "a macro",
    "CallBlock": "a call block",
    "FilterBlock": "a filter block",
    "With": "with",
    "Include": "an include",
    "Import": "an import",
    "FromImport": "an import",
    "Extends": "extends",
    "Block": "a block",
    "Scope": "autoescape",
    "ScopedEvalContextModifier": "autoescape",
}


@functools.lru_cache(maxsize=1)
def _environment() -> jinja2.Environment:
    return jinja2.Environment(autoescape=False, keep_trailing_newline=True)  # noqa: S701 - it only parses


def parse(text: str) -> tuple[tuple[Node, ...], tuple[Use, ...]]:
    """The tree, and the names that it takes. Raises :class:`TemplateInvalid` telling the line."""
    try:
        parsed = _environment().parse(text)
    except jinja2.TemplateSyntaxError as error:
        raise _faulty(error.lineno, f"{(error.message or 'this cannot be read').rstrip('.')}.") from None
    except RecursionError:
        raise _too_deep(1) from None
    except ValueError:
        # Python reads no number of thousands of digits.
        raise _faulty(1, "a number in this template is too long.") from None
    reader = _Reader(text)
    body = reader.body(parsed.body, 0)
    return body, tuple(reader.uses)


class _Reader:
    def __init__(self, text: str) -> None:
        self.uses: list[Use] = []
        self.bound: list[frozenset[str]] = []
        """Names of the loops around."""
        self.certain = True
        self.lines = _line_starts(text)

    def body(self, found: Iterable[tree.Node], depth: int) -> tuple[Node, ...]:
        made: list[Node] = []
        for one in found:
            if isinstance(one, tree.Output):
                made += [self._output(node) for node in one.nodes]
            elif isinstance(one, tree.If):
                made.append(self._if(one, depth + 1))
            elif isinstance(one, tree.For):
                made.append(self._for(one, depth + 1))
            else:
                raise _refused(one)
            if depth >= DEEPEST_BLOCKS and not isinstance(one, tree.Output):
                raise _faulty(one.lineno, f"blocks are nested more than {DEEPEST_BLOCKS} deep.")
        return tuple(made)

    def _at(self, node: tree.Node) -> int:
        return self.lines[min(max(node.lineno, 1), len(self.lines)) - 1]

    def _output(self, node: tree.Expr) -> Node:
        if isinstance(node, tree.TemplateData):
            return Literal(node.data, self._at(node))
        before = len(self.uses)
        value = self._expression(node, "text", 0)
        names = tuple(dict.fromkeys(use.path[0] for use in self.uses[before:]))
        return Output(value, names, self._at(node))

    def _if(self, node: tree.If, depth: int) -> Node:
        tests = [(node.test, node.body), *((one.test, one.body) for one in node.elif_)]
        branches: list[tuple[Expression | None, tuple[Node, ...]]] = []
        outer, self.certain = self.certain, False
        for test, body in tests:
            branches.append((self._expression(test, "test", 0), self.body(body, depth)))
        if node.else_:
            branches.append((None, self.body(node.else_, depth)))
        self.certain = outer
        return Choice(tuple(branches), self._at(node))

    def _for(self, node: tree.For, depth: int) -> Node:
        if node.recursive:
            raise _faulty(node.lineno, "a recursive loop is not allowed.")
        items = self._expression(node.iter, "test", 0)
        targets = self._targets(node.target)
        outer, self.certain = self.certain, False
        self.bound.append(frozenset(targets) | {"loop"})
        keep = self._expression(node.test, "test", 0) if node.test is not None else None
        body = self.body(node.body, depth)
        self.bound.pop()
        otherwise = self.body(node.else_, depth)
        self.certain = outer
        return Loop(items, _binder(targets), keep, body, otherwise, self._at(node))

    def _targets(self, node: tree.Node) -> tuple[str, ...]:
        names = list(node.items) if isinstance(node, tree.Tuple) else [node]
        found = [one.name for one in names if isinstance(one, tree.Name)]
        if len(found) != len(names) or len(found) > 2 or "loop" in found:
            raise _faulty(node.lineno, "a loop takes one name, or two for the pairs of |items.")
        return tuple(found)

    # -- expressions -----------------------------------------------------------------------------------------------

    def _expression(self, node: tree.Node, how: Word["text", "any", "test"], depth: int) -> Expression:
        if depth > _DEEPEST_EXPRESSION:
            raise _too_deep(node.lineno)
        if isinstance(node, tree.Name | tree.Getattr | tree.Getitem):
            return self._path(node, how)
        if isinstance(node, tree.Const):
            return _constant(node.value, node.lineno)
        if isinstance(node, tree.TemplateData):
            return _constant(node.data, node.lineno)
        if isinstance(node, tree.Neg) and isinstance(node.node, tree.Const) and _is_number(node.node.value):
            return _constant(-cast("int | float", node.node.value), node.lineno)
        if isinstance(node, tree.List | tree.Tuple):
            return _list([self._expression(one, "any", depth + 1) for one in node.items])
        if isinstance(node, tree.Filter):
            return self._filter(node, depth)
        if isinstance(node, tree.Test):
            return self._test(node, depth)
        if isinstance(node, tree.Compare):
            return self._compare(node, depth)
        if isinstance(node, tree.And | tree.Or):
            left = self._expression(node.left, "test", depth + 1)
            outer, self.certain = self.certain, False
            right = self._expression(node.right, "test", depth + 1)
            self.certain = outer
            return _and(left, right) if isinstance(node, tree.And) else _or(left, right)
        if isinstance(node, tree.Not):
            inner = self._expression(node.node, "test", depth + 1)
            return lambda run: not inner(run)
        if isinstance(node, tree.CondExpr):
            return self._either(node, depth)
        raise _refused(node)

    def _either(self, node: tree.CondExpr, depth: int) -> Expression:
        test = self._expression(node.test, "test", depth + 1)
        outer, self.certain = self.certain, False
        yes = self._expression(node.expr1, "any", depth + 1)
        no = self._expression(node.expr2, "any", depth + 1) if node.expr2 is not None else _constant(None, 0)
        self.certain = outer
        return lambda run: yes(run) if test(run) else no(run)

    def _path(self, node: tree.Node, how: Word["text", "any", "test"]) -> Expression:
        steps: list[str | int] = []
        at = node
        while not isinstance(at, tree.Name):
            if len(steps) > _DEEPEST_EXPRESSION:
                raise _too_deep(node.lineno)
            if isinstance(at, tree.Getattr):
                steps.append(at.attr)
            elif isinstance(at, tree.Getitem):
                steps.append(_key(at.arg))
            else:
                raise _refused(at)
            at = at.node
        steps.reverse()
        name = at.name
        if len(name) > LONGEST_NAME:
            raise _faulty(node.lineno, "a name is too long.")
        bound = any(name in names for names in self.bound)
        if name == "loop" and bound and (len(steps) != 1 or steps[0] not in _LOOP):
            raise _faulty(node.lineno, f"of a loop there are {', '.join(sorted(_LOOP))}.")
        if not bound:
            keys = tuple(step for step in steps if isinstance(step, str))
            whole = len(keys) == len(steps)
            self.uses.append(
                Use((name, *keys) if whole else (name,), how if whole else "any", self.certain, (), self._at(node))
            )
        return _finder(name, tuple(steps))

    def _filter(self, node: tree.Filter, depth: int) -> Expression:
        made = filters.FILTERS.get(node.name)
        if made is None:
            raise _faulty(
                node.lineno,
                f"there is no filter {node.name[:40]!r}.",
                f"The filters are: {', '.join(sorted(filters.FILTERS))}.",
            )
        if node.node is None:
            raise _refused(node)
        if node.kwargs or node.dyn_args is not None or node.dyn_kwargs is not None:
            raise _faulty(node.lineno, f"the filter {node.name!r} takes arguments in order, without names.")
        if len(node.args) > made.most or len(node.args) < made.least:
            raise _faulty(node.lineno, f"the filter {node.name!r} takes {made.least} to {made.most} arguments.")
        absent = node.name in ("default", "d")
        outer = self.certain
        if absent:
            self.certain = False
        value = self._expression(node.node, "test" if absent else "any", depth + 1)
        arguments = [self._expression(one, "any", depth + 1) for one in node.args]
        self.certain = outer
        return _applied(made.function, value, arguments)

    def _test(self, node: tree.Test, depth: int) -> Expression:
        function = filters.TESTS.get(node.name)
        if function is None or node.args or node.kwargs:
            raise _faulty(
                node.lineno,
                f"there is no test {node.name[:40]!r}.",
                f"The tests are, without arguments: {', '.join(sorted(filters.TESTS))}.",
            )
        outer, self.certain = self.certain, False
        value = self._expression(node.node, "test", depth + 1)
        self.certain = outer
        return lambda run: function(value(run))

    def _compare(self, node: tree.Compare, depth: int) -> Expression:
        first = self._expression(node.expr, "any", depth + 1)
        rest: list[tuple[str, Expression]] = []
        for operand in node.ops:
            if operand.op not in _COMPARISONS:
                raise _refused(operand)
            rest.append((operand.op, self._expression(operand.expr, "any", depth + 1)))

        def compare(run: Run) -> bool:
            left = first(run)
            for operator, expression in rest:
                right = expression(run)
                run.look_at(left)
                run.look_at(right)
                if not filters.compare(operator, left, right):
                    return False
                left = right
            return True

        return compare


def _applied(function: Callable[..., Any], value: Expression, arguments: list[Expression]) -> Expression:
    def apply(run: Run) -> Any:
        run.step()
        taken = value(run)
        run.look_at(taken)
        result = function(taken, *[argument(run) for argument in arguments])
        run.look_at(result)
        return result

    return apply


def _binder(targets: tuple[str, ...]) -> Callable[[object, int, int], dict[str, object]]:
    def bind(item: object, index: int, count: int) -> dict[str, object]:
        loop = {
            "index": index + 1,
            "index0": index,
            "first": index == 0,
            "last": index == count - 1,
            "length": count,
        }
        if len(targets) == 1:
            return {targets[0]: item, "loop": loop}
        pair = cast("list[object]", item) if isinstance(item, list | tuple) else []
        if len(pair) != len(targets):
            raise filters.wrong("A loop of this template takes pairs, and its list holds something else.")
        return {**dict(zip(targets, pair, strict=True)), "loop": loop}

    return bind


def _finder(name: str, steps: tuple[str | int, ...]) -> Expression:
    path = (name,)

    def find(run: Run) -> Any:
        run.evaluate()
        value = run.find(path)
        for step in steps:
            if type(step) is str:
                value = cast("dict[str, Any]", value).get(step, UNDEFINED) if type(value) is dict else UNDEFINED
            else:
                items = cast("list[Any]", value) if type(value) is list else []
                position = cast("int", step)
                value = items[position] if -len(items) <= position < len(items) else UNDEFINED
        return value

    return find


def _constant(value: object, line: int) -> Expression:
    if not isinstance(value, str | int | float | bool | None):
        raise _faulty(line, "this literal is not allowed.")

    def constant(run: Run) -> object:
        run.evaluate()
        return value

    return constant


def _list(items: list[Expression]) -> Expression:
    def made(run: Run) -> list[Any]:
        run.evaluate()
        return [item(run) for item in items]

    return made


def _and(left: Expression, right: Expression) -> Expression:
    return lambda run: left(run) and right(run)


def _or(left: Expression, right: Expression) -> Expression:
    return lambda run: left(run) or right(run)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _key(node: tree.Node) -> str | int:
    """What stands between ``[`` and ``]``."""
    negative = isinstance(node, tree.Neg)
    inner = node.node if isinstance(node, tree.Neg) else node
    value: object = inner.value if isinstance(inner, tree.Const) else None
    if isinstance(value, int) and not isinstance(value, bool):
        return -value if negative else value
    if isinstance(value, str) and not negative:
        return value
    raise _faulty(node.lineno, "between [ and ] stands a key or a number, nothing else.")


def _line_starts(text: str) -> list[int]:
    starts = [0]
    while (found := text.find("\n", starts[-1])) >= 0:
        starts.append(found + 1)
    return starts


def _refused(node: tree.Node) -> TemplateInvalid:
    kind = type(node).__name__
    return _faulty(
        node.lineno,
        f"{_NAMES.get(kind, kind.lower())} is not allowed here.",
        "Allowed are output, if, for, comparisons, and/or/not, and filters; compute before you send.",
    )


def _too_deep(line: int) -> TemplateInvalid:
    return _faulty(line, "this is nested too deeply.")


def _faulty(line: int | None, problem: str, hint: str = "") -> TemplateInvalid:
    # Some nodes of Jinja2's tree do not know their line.
    return TemplateInvalid(f"Line {line or 1}: {problem}", hint=hint)
