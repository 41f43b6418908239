"""Reading the logic-less format.

=====================  ==============================================================================================
``{{name}}``           a value; ``{{a.b}}`` the key ``b`` of ``a``; ``{{.}}`` the current item of a section
``{{#x}} ... {{/x}}``  once an item for a list, once for any other thing that is not nothing
``{{^x}} ... {{/x}}``  only where ``x`` is nothing: missing, ``null``, ``false``, an empty text, list or object
``{{>name}}``          another prompt of kind partial
``{{! words }}``       a comment
``\\{{``               two braces; ``\\\\{{name}}`` a backslash and a value
=====================  ==============================================================================================

A line that holds nothing but a section's tag or a comment leaves no line behind. Lambdas, other delimiters and
escaping do not exist.
"""

import re

from ostinato.templates.model import DEEPEST_BLOCKS, LONGEST_NAME, Use, faulty
from ostinato.templates.nodes import Literal, Node, Partial, Section, Variable

_OPEN = re.compile(r"(?<!\\)(\\*)\{\{")  # from the first backslash only: else a long run takes quadratic time
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*(?:\.[A-Za-z0-9_-]+)*")
_PARTIAL = re.compile(r"[a-z0-9][a-z0-9._/-]*")
_LINE_END = re.compile(r"[ \t]*(?:\r?\n|\Z)")
_BLOCKS = frozenset("#^/!")
_REFUSED = {
    "=": "delimiters cannot be changed",
    "&": "nothing is escaped, so there is no unescaped form",
    "{": "three braces have no meaning here",
}


class _Block:
    """A section that is still open."""

    def __init__(self, path: tuple[str, ...], inverted: bool, at: int) -> None:
        self.path = path
        self.inverted = inverted
        self.at = at
        self.nodes: list[Node] = []


def parse(text: str) -> tuple[tuple[Node, ...], tuple[Use, ...]]:
    """The tree, and the names that it takes. Raises :class:`TemplateInvalid` telling line and column."""
    return _Parser(text).parse()


class _Parser:
    def __init__(self, text: str) -> None:
        self.text = text
        self.blocks = [_Block((), False, 0)]
        self.uses: list[Use] = []
        self.line = 0
        """Where the current line begins."""
        self.taken = 0
        """Up to where the text is dealt with."""

    def parse(self) -> tuple[tuple[Node, ...], tuple[Use, ...]]:
        text = self.text
        while (found := _OPEN.search(text, self.taken)) is not None:
            slashes = len(found[1])
            if slashes % 2:
                self._literal(found.start())
                self._add(Literal("\\" * (slashes // 2) + "{{", found.start()))
                self.taken = found.end()
                continue
            self._tag(found.start(), found.end(), slashes // 2)
        self._literal(len(text))
        if len(self.blocks) > 1:
            block = self.blocks[-1]
            name = ".".join(block.path)
            raise faulty(text, block.at, f"the section {name!r} is never closed.", f"Write {{{{/{name}}}}} at its end.")
        return tuple(self.blocks[0].nodes), tuple(self.uses)

    def _tag(self, start: int, inside: int, slashes: int) -> None:
        text = self.text
        end = text.find("}}", inside)
        opened = inside - 2
        if text.startswith("{", inside):
            raise faulty(text, opened, f"{_REFUSED['{']}.", "Write {{name}}; a brace before it as '{ {{name}}'.")
        if end < 0:
            raise faulty(text, opened, "'{{' is never closed.", "Write \\{{ for two braces that are no tag.")
        content = text[inside:end].strip()
        sigil = content[:1]
        after = end + 2
        before = start
        if sigil in _BLOCKS:
            before, after = self._alone(start, after, slashes)
        self._literal(before)
        if slashes:
            self._add(Literal("\\" * slashes, start))
        self.taken = after
        if sigil == "!":
            return
        if sigil in _REFUSED:
            raise faulty(text, opened, f"{_REFUSED[sigil]}.", "Write {{name}}.")
        self._place(sigil, content, opened)

    def _place(self, sigil: str, content: str, at: int) -> None:
        if sigil == ">":
            name = content[1:].strip()
            if len(name) > LONGEST_NAME or _PARTIAL.fullmatch(name) is None:
                raise faulty(self.text, at, f"{name[:40]!r} is no name of a partial.", "Write {{>name}}.")
            self._add(Partial(name, at))
        elif sigil in ("#", "^"):
            path = self._path(content[1:].strip(), at)
            if len(self.blocks) > DEEPEST_BLOCKS:
                raise faulty(self.text, at, f"sections are nested more than {DEEPEST_BLOCKS} deep.")
            self._use(path, "test", at)
            self.blocks.append(_Block(path, sigil == "^", at))
        elif sigil == "/":
            self._close(self._path(content[1:].strip(), at), at)
        else:
            path = self._path(content, at)
            if not path and len(self.blocks) == 1:
                raise faulty(self.text, at, "'{{.}}' stands for the item of a section, and there is none here.")
            if path:
                self._use(path, "text", at)
            self._add(Variable(path, at))

    def _close(self, path: tuple[str, ...], at: int) -> None:
        if len(self.blocks) == 1:
            raise faulty(self.text, at, f"there is no section {'.'.join(path)!r} to close.")
        block = self.blocks.pop()
        if block.path != path:
            named = ".".join(block.path)
            raise faulty(self.text, at, f"the section that is open is {named!r}.", f"Write {{{{/{named}}}}} first.")
        self._add(Section(path, block.inverted, tuple(block.nodes), block.at))

    def _path(self, name: str, at: int) -> tuple[str, ...]:
        if name == ".":
            return ()
        if len(name) > LONGEST_NAME or _NAME.fullmatch(name) is None:
            raise faulty(
                self.text,
                at,
                f"{name[:40]!r} is no name of a variable." if name else "a tag without a name.",
                "Names are letters, digits, _ and -, with dots between keys. Two braces that are no tag: \\{{.",
            )
        return tuple(name.split("."))

    def _use(self, path: tuple[str, ...], how: str, at: int) -> None:
        within = tuple(block.path for block in self.blocks[1:] if not block.inverted and block.path)
        certain = len(self.blocks) == 1
        if path:
            self.uses.append(Use(path, "test" if how == "test" else "text", certain, within, at))

    def _alone(self, start: int, end: int, slashes: int) -> tuple[int, int]:
        """Where a tag begins and ends when the line that it stands alone on goes with it."""
        newline = self.text.rfind("\n", max(0, self.taken - 1), start)
        if newline >= 0:
            self.line = newline + 1
        if slashes or self.taken > self.line or self.text[self.line : start].strip(" \t"):
            return start, end
        rest = _LINE_END.match(self.text, end)
        return (self.line, rest.end()) if rest is not None else (start, end)

    def _literal(self, end: int) -> None:
        if end > self.taken:
            self._add(Literal(self.text[self.taken : end], self.taken))
            newline = self.text.rfind("\n", self.taken, end)
            if newline >= 0:
                self.line = newline + 1

    def _add(self, node: Node) -> None:
        self.blocks[-1].nodes.append(node)
