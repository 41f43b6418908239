"""What files come to on a server: the changes that would make it so, worked out before anything is written.

Everything that can be refused is refused here: templates that cannot be read, versions that were edited, numbers that
somebody else has taken meanwhile. Doing it again changes nothing.
"""

from collections.abc import Mapping
from typing import Literal, TypeAlias

import msgspec

from ostinato.core.errors import Conflict, Invalid, OstinatoError
from ostinato.prompts import contents
from ostinato.prompts.contents import Pieces
from ostinato.prompts.files import Collection, Pin, PromptFile, VersionFile
from ostinato.prompts.labels import is_version_like
from ostinato.prompts.model import Content, Draft, Label, Prompt

Action: TypeAlias = Literal["create", "update", "declare", "add", "move", "propose"]


class Standing(msgspec.Struct, frozen=True):
    """What the server has."""

    prompts: Mapping[str, Prompt]
    versions: Mapping[str, Mapping[int, str]]
    """Name -> number -> digest, of the prompts that are imported and of the partials that they take."""
    labels: Mapping[str, Label]


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One change."""

    action: Action
    prompt: str = ""
    file: PromptFile | None = None
    """To create or update."""
    number: int = 0
    """Of the version to add, or to point at."""
    draft: Draft | None = None
    message: str = ""
    digest: str = ""
    """Of the version."""
    label: str = ""
    from_number: int = 0
    """Where the label points now; 0: nowhere."""


class Plan(msgspec.Struct, frozen=True):
    """Changes, in the order in which they can be made."""

    steps: tuple[Step, ...]
    unchanged: int
    """Versions and labels that are already so."""
    left: tuple[str, ...] = ()
    """Labels that stay where they are, each with the reason, as sentences."""


def plan(
    collection: Collection,
    standing: Standing,
    pieces: Pieces,
    *,
    propose: bool = False,
    declare: bool = False,
    foreign: bool = False,
) -> Plan:
    """The changes that ``collection`` takes.

    ``pieces`` gives contents of versions that the server has. ``propose``: protected labels become proposals of
    releases; otherwise they are left. ``declare``: unknown labels are declared, unprotected; otherwise they are an
    error. ``foreign``: the files come from elsewhere: versions are numbered anew, and what exists keeps its
    description, tags and intent.

    Raises ``Invalid`` or ``Conflict`` naming the file.
    """
    work = _Versions(collection, standing, pieces, foreign=foreign)
    prompts = _prompts(collection, standing, foreign=foreign)
    for file in collection.prompts:
        for version in file.versions:
            work.visit(file.name, version.number)
    declared, moves, left, same = _labels(collection, standing, work, propose=propose, declare=declare)
    return Plan((*prompts, *declared, *work.steps, *moves), work.unchanged + same, tuple(left))


def _prompts(collection: Collection, standing: Standing, *, foreign: bool) -> list[Step]:
    steps: list[Step] = []
    for file in collection.prompts:
        there = standing.prompts.get(file.name)
        if there is None:
            steps.append(Step(action="create", prompt=file.name, file=file))
            continue
        if there.archived_at is not None:
            raise Conflict(f"The prompt {file.name!r} is archived.", hint="Restore it first, or take its files away.")
        if there.kind != file.kind:
            raise Conflict(f"The prompt {file.name!r} is of kind {there.kind} there, and of kind {file.kind} here.")
        told = (file.description, frozenset(file.tags), file.intent)
        if not foreign and told != (there.description, frozenset(there.tags), there.intent):
            steps.append(Step(action="update", prompt=file.name, file=file))
    return steps


class _Versions:
    """Versions in an order in which they can be saved: partials first, older numbers first."""

    def __init__(self, collection: Collection, standing: Standing, pieces: Pieces, *, foreign: bool) -> None:
        self._files = {file.name: file for file in collection.prompts}
        self._wanted = {file.name: {one.number: one for one in file.versions} for file in collection.prompts}
        self._standing = standing
        self._pieces = pieces
        self._foreign = foreign
        self._there = {name: dict(numbers) for name, numbers in standing.versions.items()}
        """Name -> number -> digest, with what the steps add."""
        self._built: dict[tuple[str, int], Content] = {}
        """By the server's numbers."""
        self._open: list[str] = []
        self.numbers: dict[tuple[str, int], int] = {}
        """The files' numbers -> the server's."""
        self.steps: list[Step] = []
        self.unchanged = 0

    def visit(self, name: str, number: int) -> None:
        """See that a version, all older ones, and all that they take are dealt with."""
        if (name, number) in self.numbers:
            return
        if name in self._open:
            circle = " -> ".join([*self._open[self._open.index(name) :], name])
            raise Invalid(f"These partials take one another: {circle}.", code="cyclic_partials")
        self._open.append(name)
        for older in self._wanted[name]:
            if older <= number and (name, older) not in self.numbers:
                self._one(self._files[name], self._wanted[name][older])
        self._open.pop()

    def _one(self, file: PromptFile, version: VersionFile) -> None:
        where = version.where or f"version {version.number} of {file.name!r}"
        try:
            content = contents.build(file.kind, version.draft, self._pins(version.draft), self._piece)
        except OstinatoError as error:
            at = f" ({error.param})" if error.param else ""
            raise Invalid(
                f"{where}{at}: {error.message}", code=error.code, param=error.param, hint=error.hint
            ) from None
        digest = contents.digest(contents.encode(content))
        if version.digest and version.digest != digest:
            raise Invalid(
                f"{where} was edited after it had been exported, and versions never change.",
                code="version_edited",
                hint="Save it under the next free number without its digest, and put the old file back.",
            )
        number = self._number(file.name, version, digest, where)
        self.numbers[file.name, version.number] = number
        self._built[file.name, number] = content
        there = self._there.setdefault(file.name, {})
        if number in there:
            self.unchanged += 1
            return
        there[number] = digest
        self.steps.append(
            Step(
                action="add",
                prompt=file.name,
                number=number,
                draft=msgspec.structs.replace(version.draft, partials=dict(content.partials)),
                message=version.message,
                digest=digest,
            )
        )

    def _number(self, name: str, version: VersionFile, digest: str, where: str) -> int:
        """The number that a version has, or will have. Raises ``Conflict`` where the file says another."""
        there = self._there.get(name, {})
        same = next((number for number, known in there.items() if known == digest), 0)
        upcoming = max(there, default=0) + 1
        if self._foreign:
            return same or upcoming
        number = version.number
        if same == number:
            return number
        hint = "`ostinato prompts export` brings what the server has; then take the next free number."
        if same:
            raise Conflict(
                f"{where} says the same as version {same} of {name!r}: it cannot be {number} too.", hint=hint
            )
        if number in there:
            raise Conflict(f"{where}: version {number} of {name!r} says something else there.", hint=hint)
        if number != upcoming:
            raise Conflict(f"{where}: the next version of {name!r} is {upcoming}.", hint=hint)
        return number

    def _pins(self, draft: Draft) -> dict[str, int]:
        pins: dict[str, int] = {}
        for name in contents.references(draft):
            wanted = draft.partials.get(name)
            if not isinstance(wanted, int):
                wanted = max([*self._wanted.get(name, {}), *self._there.get(name, {})], default=0)
            if wanted in self._wanted.get(name, {}):
                self.visit(name, wanted)
                wanted = self.numbers[name, wanted]
            if wanted not in self._there.get(name, {}):
                raise Invalid(f"There is no version {wanted or 1} of the partial {name!r}.", code="partial_not_found")
            pins[name] = wanted
        for name in sorted(draft.partials.keys() - pins.keys()):
            raise Invalid(f"It pins the partial {name!r}, which it does not take.", param=f"partials.{name}")
        return pins

    def _piece(self, name: str, number: int) -> Content:
        found = self._built.get((name, number))
        if found is None:
            found = self._built[name, number] = self._pieces(name, number)
        if found.kind != "partial":
            raise Invalid(f"{name!r} is no partial but of kind {found.kind}.", code="not_a_partial")
        return found


def _labels(
    collection: Collection, standing: Standing, work: _Versions, *, propose: bool, declare: bool
) -> tuple[list[Step], list[Step], list[str], int]:
    """Declarations, moves, what is left and why, and how many are already so."""
    declared: dict[str, Step] = {}
    moves: list[Step] = []
    left: list[str] = []
    same = 0
    for prompt, labels in collection.labels.items():
        there = standing.prompts[prompt].labels if prompt in standing.prompts else {}
        for name, pin in labels.items():
            number, before = work.numbers[prompt, pin.version], there.get(name, 0)
            if number == before:
                same += 1
                continue
            label = standing.labels.get(name)
            if label is None and is_version_like(name):
                label = Label(project_id="", name=name, immutable=True, builtin=True)
            if label is None and not declare:
                raise Invalid(
                    f"There is no label {name!r}, which {prompt!r} is to have.",
                    code="label_not_declared",
                    hint="Declare it first, or with --declare.",
                )
            step = Step(action="move", prompt=prompt, label=name, number=number, from_number=before)
            if label is None:
                declared.setdefault(name, Step(action="declare", label=contents.check_name(name, "label", most=64)))
                moves.append(step)
            elif label.immutable and before:
                raise Conflict(f"The label {name!r} of {prompt!r} is set to version {before} for good.")
            elif not label.protection.by_release:
                moves.append(step)
            elif propose:
                moves.append(msgspec.structs.replace(step, action="propose"))
            else:
                left.append(
                    f"{name!r} of {prompt!r} stays at {f'version {before}' if before else 'nothing'}: "
                    f"only a release moves it to version {number} (--propose)."
                )
    return list(declared.values()), moves, left, same


def collection_of(
    prompts: Mapping[str, Prompt],
    versions: Mapping[str, tuple[VersionFile, ...]],
    digests: Mapping[str, Mapping[int, str]],
) -> Collection:
    """The files of what a server has."""
    files = tuple(
        PromptFile(
            name=name,
            kind=prompt.kind,
            description=prompt.description,
            tags=prompt.tags,
            intent=prompt.intent,
            versions=versions[name],
        )
        for name, prompt in sorted(prompts.items())
    )
    labels = {
        name: {label: Pin(number, digests[name][number]) for label, number in sorted(prompt.labels.items())}
        for name, prompt in sorted(prompts.items())
        if prompt.labels
    }
    return Collection(files, labels)
