"""Every prompt of the installation as the hot path reads it: a reference becomes a version without I/O.

Versions never change, so a reload reads only what is new; contents are kept as they are stored and compiled when they
are first asked for. Drawing an arm is a hash of who asks, the release and its salt: the same in every process.
"""

from collections.abc import Iterable
from typing import Any, Final

import msgspec
import sqlalchemy as sa
from blake3 import blake3

from ostinato.core.errors import NotFound, Unavailable
from ostinato.prompts import contents, store, tables
from ostinato.prompts.compiled import Compiled
from ostinato.prompts.model import PRODUCTION, Arm, Canary, Content, Kind

_SPAN: Final = float(1 << 64)
_CHANGED: Final = 500
"""Prompts above which everything is read again."""


class Resolved(msgspec.Struct, frozen=True, gc=False):
    """What a reference means now, for one caller."""

    prompt: str
    number: int
    digest: str
    """SHA-256 of the content, hexadecimal."""
    release: str
    """Id of the release that is in force for this arm; empty where none moved the label."""
    arm: Arm
    """``stable``, ``canary`` or ``control`` while a canary runs; else empty."""
    intent: str
    kind: Kind
    label: str
    """The label that was followed; empty where a number was asked for."""
    compiled: Compiled
    generation: str
    """What the answers' cache generation is named after: the release, or the version itself."""


class Pointer(msgspec.Struct, frozen=True, gc=False):
    """A label or a number, resolved for each arm."""

    stable: Resolved
    canary: Resolved | None = None
    control: Resolved | None = None
    share: int = 0
    """The canary's, of 2**64."""
    set_apart: int = 0
    """Where the control's share begins; it ends at 2**64."""
    prefix: bytes = b""

    def draw(self, seed: bytes) -> Resolved:
        """The arm of ``seed`` (session, user, or the request itself). It stays as long as release and salt do, and a
        growing share takes nobody out of the canary."""
        if self.canary is None:
            return self.stable
        drawn = int.from_bytes(blake3(self.prefix + seed).digest(length=8), "big")
        if drawn < self.share:
            return self.canary
        return self.control if self.control is not None and drawn >= self.set_apart else self.stable


class Assigned(msgspec.Struct, frozen=True, gc=False):
    """Where a label points."""

    number: int
    release: str
    canary: Canary | None


class Entry:
    """One prompt. A change makes another entry; what was compiled goes along."""

    __slots__ = (
        "archived",
        "assigned",
        "compiled",
        "id",
        "intent",
        "kind",
        "name",
        "pointers",
        "project",
        "revision",
        "texts",
    )

    def __init__(
        self,
        row: Any,
        texts: list[str],
        assigned: dict[str, Assigned],
        compiled: dict[int, Compiled],
    ) -> None:
        self.id, self.project, self.name, self.kind, self.intent, archived, self.revision = row
        self.archived = archived is not None
        self.texts = texts
        """Canonical contents; number 1 first."""
        self.assigned = assigned
        self.compiled = compiled
        self.pointers: dict[str, Pointer] = {}
        """What was asked for, by what stood behind the ``@``. Only what exists is kept."""


class PromptSnapshot:
    """All prompts. Immutable but for what is remembered of earlier questions."""

    __slots__ = ("_by_id", "_prompts", "versions")

    def __init__(self, entries: Iterable[Entry] = ()) -> None:
        self._by_id = {entry.id: entry for entry in entries}
        self._prompts = {(entry.project, entry.name): entry for entry in self._by_id.values()}
        self.versions = sum(len(entry.texts) for entry in self._by_id.values())
        """How many are held."""

    def __len__(self) -> int:
        return len(self._by_id)

    def of_intent(self, intent: str) -> list[tuple[str, str]]:
        """(Project, name) of the prompts in use that belong to an intent, by its key."""
        found = self._by_id.values()
        return sorted((one.project, one.name) for one in found if one.intent == intent and not one.archived)

    def intent_of(self, project: str, name: str) -> str:
        """Key of the intent that a prompt of ``project`` (its id) serves; empty: none, or there is no such prompt."""
        entry = self._prompts.get((project, name))
        return "" if entry is None else entry.intent

    def resolve(self, project: str, reference: str, seed: bytes = b"") -> Resolved:
        """What ``NAME``, ``NAME@LABEL`` or ``NAME@NUMBER`` means in ``project`` (its id) for ``seed``.

        Without a label: ``production``. Raises ``NotFound`` telling which labels there are.
        """
        pointer = self.pointer(project, reference)
        return pointer.draw(seed) if pointer.canary is not None else pointer.stable

    def pointer(self, project: str, reference: str) -> Pointer:
        """The same before an arm is drawn, for whom a seed costs something."""
        name, _, which = reference.partition("@")
        entry = self._prompts.get((project, name))
        if entry is None:
            raise store.missing(name)
        pointer = entry.pointers.get(which)
        if pointer is None:
            pointer = entry.pointers[which] = self._pointer(entry, which)
        return pointer

    def stable(self, project: str, reference: str) -> Resolved:
        """The same without drawing: the stable version, whatever canary runs."""
        self.resolve(project, reference)
        name, _, which = reference.partition("@")
        return self._prompts[project, name].pointers[which].stable

    def served(self, project: str, name: str) -> tuple[int, frozenset[int]]:
        """The version that ``production`` points at (0: none), and all that some label or its canary does."""
        entry = self._prompts.get((project, name))
        if entry is None:
            return 0, frozenset()
        found = {one.number for one in entry.assigned.values()}
        found |= {one.canary.number for one in entry.assigned.values() if one.canary is not None}
        production = entry.assigned.get(PRODUCTION)
        return 0 if production is None else production.number, frozenset(found)

    def content(self, project: str, name: str, number: int) -> Content:
        """The content of a version. Raises ``NotFound``."""
        entry = self._prompts.get((project, name))
        if entry is None:
            raise store.missing(name)
        if not 1 <= number <= len(entry.texts):
            raise store.no_version(name, number, len(entry.texts))
        return contents.decode(entry.texts[number - 1])

    def _pointer(self, entry: Entry, which: str) -> Pointer:
        if entry.archived:
            raise NotFound(
                f"The prompt {entry.name!r} is archived.", code="prompt_archived", hint="Restore it, or call another."
            )
        if which.isascii() and which.isdigit():
            number = int(which[:9])
            if not 1 <= number <= len(entry.texts) or str(number) != which:
                raise store.no_version(entry.name, number, len(entry.texts))
            return Pointer(self._resolved(entry, number, "", "", ""))
        label = which or PRODUCTION
        assigned = entry.assigned.get(label)
        if assigned is None:
            there = ", ".join(sorted(entry.assigned)[:20])
            raise NotFound(
                f"The prompt {entry.name!r} has no label {label[:64]!r}.",
                code="label_not_assigned",
                hint=f"Its labels are: {there}." if there else "No label points at a version of it yet.",
            )
        return self._of_label(entry, label, assigned)

    def _of_label(self, entry: Entry, label: str, assigned: Assigned) -> Pointer:
        canary = assigned.canary
        if canary is None:
            return Pointer(self._resolved(entry, assigned.number, label, assigned.release, ""))
        return Pointer(
            stable=self._resolved(entry, assigned.number, label, assigned.release, "stable"),
            canary=self._resolved(entry, canary.number, label, canary.release, "canary"),
            control=self._resolved(entry, assigned.number, label, assigned.release, "control"),
            share=int(canary.share * _SPAN),
            set_apart=int((1.0 - canary.control) * _SPAN),
            prefix=msgspec.msgpack.encode((canary.release, canary.salt)),
        )

    def _resolved(self, entry: Entry, number: int, label: str, release: str, arm: Arm) -> Resolved:
        digest = contents.digest(entry.texts[number - 1])
        return Resolved(
            prompt=entry.name,
            number=number,
            digest=digest,
            release=release,
            arm=arm,
            intent=entry.intent,
            kind=entry.kind,
            label=label,
            compiled=self._compiled(entry, number),
            generation=release or f"version:{digest[:16]}",
        )

    def _compiled(self, entry: Entry, number: int) -> Compiled:
        found = entry.compiled.get(number)
        if found is None:
            content = contents.decode(entry.texts[number - 1])
            found = entry.compiled[number] = Compiled(
                content, lambda name, pinned: self.content(entry.project, name, pinned)
            )
        return found

    def marks(self) -> dict[str, str]:
        """Project id -> mark of its state: another one after every change, the same in every process."""
        sums: dict[str, tuple[int, int]] = {}
        for entry in self._by_id.values():
            count, total = sums.get(entry.project, (0, 0))
            sums[entry.project] = (count + 1, total + entry.revision)
        return {project: f"{count}.{total}" for project, (count, total) in sums.items()}

    # -- loading ---------------------------------------------------------------------------------------------------

    def revisions(self) -> dict[str, int]:
        """Prompt id -> revision, as loaded."""
        return {entry.id: entry.revision for entry in self._by_id.values()}

    def replaced(self, entries: Iterable[Entry]) -> "PromptSnapshot":
        """This snapshot with some prompts new or anew."""
        return PromptSnapshot({**self._by_id, **{entry.id: entry for entry in entries}}.values())

    def entry(self, identifier: str) -> Entry | None:
        """A prompt by its id."""
        return self._by_id.get(identifier)


def load(connection: sa.Connection, known: PromptSnapshot) -> PromptSnapshot:
    """The snapshot of what stands now; reads what ``known`` does not have. Blocking."""
    if connection.dialect.name == "postgresql":
        # One view for all statements: a label must not point at a version that another statement did not see.
        connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
    standing = connection.exec_driver_sql("SELECT id, revision FROM prompt").all()
    revisions = known.revisions()
    changed = [row[0] for row in standing if revisions.get(row[0]) != row[1]]
    if len(changed) > _CHANGED:
        return PromptSnapshot(_entries(connection, known, None))
    return known.replaced(_entries(connection, known, changed)) if changed else known


def _entries(connection: sa.Connection, known: PromptSnapshot, ids: list[str] | None) -> list[Entry]:
    table, versions, assigned = tables.prompt, tables.prompt_version, tables.prompt_assignment
    columns = (
        table.c.id,
        table.c.project_id,
        table.c.name,
        table.c.kind,
        table.c.intent,
        table.c.archived_at,
        table.c.revision,
    )
    query = sa.select(*columns)
    pointing = sa.select(
        assigned.c.prompt_id, assigned.c.label, assigned.c.number, assigned.c.release, assigned.c.canary
    )
    if ids is not None:
        query, pointing = query.where(table.c.id.in_(ids)), pointing.where(assigned.c.prompt_id.in_(ids))
    labels: dict[str, dict[str, Assigned]] = {}
    for identifier, label, number, release, canary in connection.execute(pointing):
        labels.setdefault(identifier, {})[label] = Assigned(number, release, store.canary(canary))
    rows = connection.execute(query).all()
    texts: dict[str, list[str]] = {}
    if ids is None:
        for identifier, text in connection.exec_driver_sql(
            "SELECT prompt_id, content FROM prompt_version ORDER BY prompt_id, number"
        ):
            texts.setdefault(identifier, []).append(text)
    else:
        for row in rows:
            old = known.entry(row[0])
            have = old.texts if old is not None else []
            newer = sa.select(versions.c.content).where(versions.c.prompt_id == row[0], versions.c.number > len(have))
            texts[row[0]] = have + list(connection.scalars(newer.order_by(versions.c.number)))
    made: list[Entry] = []
    for row in rows:
        old = known.entry(row[0])
        contents_ = texts.get(row[0], [])
        if not all(one.number <= len(contents_) for one in labels.get(row[0], {}).values()):
            raise Unavailable(f"A label of the prompt {row[2]!r} points at a version that is not there.")
        made.append(Entry(row, contents_, labels.get(row[0], {}), old.compiled if old is not None else {}))
    return made
