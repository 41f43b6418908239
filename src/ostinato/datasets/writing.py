"""What changes a dataset: made, given versions, these filled, sealed, thrown away; and examples erased.

Every function runs inside a transaction that is open, on a dataset whose row is locked.
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence

import msgspec
import sqlalchemy as sa

from ostinato.access import Project
from ostinato.core import hashing, ids
from ostinato.core.errors import Conflict, Invalid
from ostinato.datasets import examples, holdout, splitting, store, tables
from ostinato.datasets.model import SPLITS, Dataset, DatasetVersion, Finding, NewExample, Shares
from ostinato.datasets.settings import Settings
from ostinato.datasets.store import Member
from ostinato.wire.model import Json

_NAME = re.compile(r"[a-z0-9](?:[a-z0-9._/-]*[a-z0-9])?")
_LONGEST_NAME, _LONGEST_NOTE = 200, 2_000
_SHOWN = 20
"""Examples that a finding names."""
_REASONS = {
    "duplicates": "said the same as another one, and were left out",
    "erased": "had been erased before, and were left out",
    "near-duplicates": "said nearly the same as another one, and were left out",
    "unlabelled": "were left out: no signal told their label",
    "too-long": "were left out: their texts are too long",
}
_NO_ANSWER = hashing.digest(b"answer", b"[null,[]]").hex()


def create(
    connection: sa.Connection, home: Project, name: str, *, description: str, shares: Shares, now: int, by: str
) -> Dataset:
    """A new dataset without versions. Raises ``Conflict`` for a name in use."""
    if len(name) > _LONGEST_NAME or _NAME.fullmatch(name) is None or ids.is_id(name):
        raise Invalid(
            f"{name[:80]!r} is no name of a dataset.",
            code="invalid_name",
            param="name",
            hint="Lowercase letters, digits, dots, dashes and slashes: support/tickets.",
        )
    value = Dataset(
        id=ids.new(now),
        org=home.org_id,
        project=home.id,
        name=name,
        description=text_of(description, "description"),
        shares=splitting.check_shares(shares),
        latest=0,
        created_at=now,
        created_by=by,
    )
    table = tables.dataset
    if connection.execute(sa.select(table.c.id).where(table.c.project == home.id, table.c.name == name)).first():
        raise Conflict(
            f"There is a dataset {name!r} already.",
            code="dataset_exists",
            param="name",
            hint="Add a version to it, or choose another name.",
        )
    row = {**msgspec.structs.asdict(value), "shares": msgspec.to_builtins(shares), "counted": 0}
    connection.execute(table.insert(), row)
    return value


def begin(
    connection: sa.Connection,
    of: Dataset,
    *,
    base: DatasetVersion | None,
    without: Iterable[str],
    note: str,
    origin: Json,
    now: int,
    by: str,
) -> DatasetVersion:
    """A new open version: empty, or with the examples of ``base`` but those ``without``."""
    table = tables.dataset
    counted = connection.execute(sa.select(table.c.counted).where(table.c.id == of.id)).scalar_one()
    left_out = set(without)
    if base is not None:
        holdout.must_be_sealed(base)
    if left_out and base is None:
        raise Invalid("Examples are left out of a base: name it.", code="base_required", param="base")
    told = {**({"base": base.number} if base else {}), **({"without": sorted(left_out)} if left_out else {}), **origin}
    value = DatasetVersion(
        id=ids.new(now),
        dataset=of.name,
        org=of.org,
        project=of.project,
        number=counted + 1,
        digest="",
        holdout_digest="",
        counts={},
        created_at=now,
        created_by=by,
        note=text_of(note, "note"),
        open=True,
        origin=told,
    )
    connection.execute(table.update().where(table.c.id == of.id).values(counted=value.number))
    connection.execute(tables.dataset_version.insert(), store.version_row(of.id, value))
    if base is not None:
        _take_over(connection, base, value, left_out)
    return value


def _take_over(connection: sa.Connection, base: DatasetVersion, into: DatasetVersion, without: set[str]) -> None:
    """The members of ``base``, tombstones and what is left out excepted."""
    known = store.members(connection, base.id)
    missing = without - {one.id for one in known}
    if missing:
        raise Invalid(
            f"Version {base.number} has no example {sorted(missing)[0][:80]!r}.",
            code="example_not_found",
            param="without",
        )
    kept = [(one.id, one.split) for one in known if not one.erased and one.id not in without]
    store.join(connection, into.id, 1, kept)


def fill(
    connection: sa.Connection,
    of: Dataset,
    version: DatasetVersion,
    new: Sequence[NewExample],
    settings: Settings,
    now: int,
) -> DatasetVersion:
    """Add examples to an open version. What it says already, and what was erased once, is left out and counted."""
    _must_be_open(of, version)
    if len(new) > settings.part:
        raise Invalid(
            f"{len(new):,} examples at once; {settings.part:,} are allowed.",
            code="too_many_examples",
            param="examples",
            hint="Send them in parts: begin an open version, add to it, seal it.",
        )
    if "base" in version.origin:
        _fit(new, *store.shape(connection, version.id))
    prepared = examples.prepare(new, of.shares, settings)
    dropped = Counter(version.dropped)
    fresh: list[examples.Prepared] = []
    known = store.said(connection, version.id, [one.inputs_key for one in prepared])
    for one in prepared:
        pair = (one.inputs_key, one.answer_key)
        if pair in known:
            dropped["duplicates"] += 1
        else:
            known.add(pair)
            fresh.append(one)
    standing = store.standing(connection, of.id, [one.digest for one in fresh])
    made = store.insert(connection, of.id, [one for one in fresh if one.digest not in standing], now)
    pairs: list[tuple[str, str]] = []
    for one in fresh:
        name, erased = standing.get(one.digest) or (made[one.digest], False)
        if erased:
            dropped["erased"] += 1
        else:
            pairs.append((name, one.split))
    last = store.last_position(connection, version.id)
    if last + len(pairs) > settings.examples:
        raise Invalid(
            f"The version would have {last + len(pairs):,} examples; {settings.examples:,} are allowed.",
            code="dataset_too_large",
            param="examples",
            hint="Leave some out, or raise [datasets] examples.",
        )
    store.join(connection, version.id, last + 1, pairs)
    changed = msgspec.structs.replace(version, dropped=dict(dropped))
    _update(connection, changed, dropped=changed.dropped)
    return changed


def _fit(new: Sequence[NewExample], names: set[str], answered: bool) -> None:
    """Raise ``Invalid`` where examples were read otherwise than those that they join: by other columns."""
    if not names:
        return
    other = sorted({name for one in new for name in one.inputs} - names)
    hint = f"The version that they join has the inputs {', '.join(sorted(names)[:20])}: name the columns as then."
    if other:
        raise Invalid(
            f"These examples have an input {other[0][:80]!r}, which those that they join have not.",
            code="inputs_differ",
            param="examples",
            hint=hint,
        )
    if answered and new and all(one.reference is None for one in new):
        raise Invalid(
            "None of these examples has a reference, and those that they join have.",
            code="references_missing",
            param="examples",
            hint="Name their column (`--reference COLUMN`), or begin a version without a base.",
        )


def seal(connection: sa.Connection, of: Dataset, version: DatasetVersion) -> DatasetVersion:
    """The version, closed for good: counted, digested, looked through. Raises ``Invalid`` where it is empty."""
    _must_be_open(of, version)
    members = store.members(connection, version.id)
    if not any(not one.erased for one in members):
        why = ", ".join(f"{count:,} {name}" for name, count in version.dropped.items())
        raise Invalid(
            f"Version {version.number} of {of.name!r} has no examples" + (f" (left out: {why})." if why else "."),
            code="dataset_empty",
            param="examples",
        )
    splits = Counter(one.split for one in members)
    sealed = msgspec.structs.replace(
        version,
        open=False,
        digest=examples.version_digest((one.digest, one.split) for one in members),
        holdout_digest=examples.version_digest((one.digest, one.split) for one in members if one.split == "holdout"),
        counts={name: splits.get(name, 0) for name in SPLITS},
        strata=dict(sorted(Counter(one.stratum for one in members if one.stratum).items())),
        findings=findings(members, of, version.dropped),
    )
    row = store.version_row(of.id, sealed)
    names = ("open", "digest", "holdout_digest", "counts", "strata", "findings")
    _update(connection, sealed, **{name: row[name] for name in names})
    table = tables.dataset
    connection.execute(
        table.update().where(table.c.id == of.id, table.c.latest < sealed.number).values(latest=sealed.number)
    )
    return sealed


def findings(members: Sequence[Member], of: Dataset, dropped: dict[str, int]) -> tuple[Finding, ...]:
    """What the users of a version should know of it, in words."""
    found: list[Finding] = []
    living = [one for one in members if not one.erased]
    for kind, count in sorted(dropped.items()):
        found.append(Finding(kind=kind, severity="note", count=count, message=f"{count:,} examples {_REASONS[kind]}."))
    answers: dict[str, list[Member]] = {}
    for one in living:
        answers.setdefault(one.inputs_key, []).append(one)
    against = [one for some in answers.values() if len({m.answer_key for m in some}) > 1 for one in some]
    if against:
        found.append(
            Finding(
                kind="contradictions",
                severity="warning",
                count=len(against),
                message=f"{len(against):,} examples ask the same as another one and have another reference.",
                examples=tuple(one.id for one in against[:_SHOWN]),
            )
        )
    without = sum(1 for one in living if one.answer_key == _NO_ANSWER)
    if without:
        told = "No example has" if without == len(living) else f"{without:,} of {len(living):,} examples have no"
        message = f"{told} {'a ' if without == len(living) else ''}reference: scorers that compare leave them unscored."
        found.append(Finding(kind="no-reference", severity="note", count=without, message=message))
    strata = {one.stratum for one in living}
    if len(strata) == 1 and "" not in strata and len(living) > 1:
        message = f"All {len(living):,} examples are of one class: a run has nothing to tell apart."
        found.append(Finding(kind="one-class", severity="warning", count=len(living), message=message))
    counts = Counter(one.split for one in living)
    for split in SPLITS:
        if getattr(of.shares, split) > 0 and not counts[split]:
            message = f"No example fell into {split}: there are too few, or they are all of one group."
            found.append(Finding(kind="empty-split", severity="warning", count=0, message=message))
    return tuple(found)


def discard(connection: sa.Connection, of: Dataset, version: DatasetVersion) -> None:
    """Throw a version away that nobody has used. Raises ``Conflict`` where somebody has."""
    if version.used_at is not None:
        raise Conflict(
            f"Version {version.number} of {of.name!r} has been used, and stays.",
            code="version_used",
            hint="What it holds can be erased, example by example.",
        )
    member, one, table = tables.dataset_member, tables.example, tables.dataset_version
    connection.execute(member.delete().where(member.c.version_id == version.id))
    connection.execute(table.delete().where(table.c.id == version.id))
    elsewhere = sa.select(member.c.example_id).where(member.c.example_id == one.c.id)
    # Tombstones stay: what was erased once does not come back by another upload.
    gone = one.delete().where(one.c.dataset_id == of.id, one.c.erased_at.is_(None), ~sa.exists(elsewhere))
    connection.execute(gone)
    newest = sa.select(sa.func.max(table.c.number)).where(table.c.dataset_id == of.id, sa.not_(table.c.open))
    latest = connection.execute(newest).scalar() or 0
    connection.execute(tables.dataset.update().where(tables.dataset.c.id == of.id).values(latest=latest))


def erase(
    connection: sa.Connection, of: Dataset, *, named: Sequence[str], subject: str, source: str, now: int
) -> list[str]:
    """Erase the texts of examples, in every version: by id, by whose they are, or by where they came from.

    Digests and splits stay, so that digests of versions do, too. Gives the ids of those erased. Raises ``Invalid``
    where nothing or more than one thing is named, or an id is not of this dataset.
    """
    if sum(map(bool, (named, subject, source))) != 1:
        raise Invalid("Name examples, a subject or a source: one of the three.", code="erase_what", param="examples")
    table = tables.example
    query = sa.select(table.c.id).where(table.c.dataset_id == of.id)
    if named:
        known = set(store.ids_of(connection, query.where(table.c.id.in_(named))))
        missing = sorted(set(named) - known)
        if missing:
            raise Invalid(
                f"{of.name!r} has no example {missing[0][:80]!r}.", code="example_not_found", param="examples"
            )
        query = query.where(table.c.id.in_(named))
    elif subject:
        query = query.where(table.c.subject == subject.replace("\x00", ""))
    else:
        query = query.where(table.c.source == source.replace("\x00", ""))
    gone = store.ids_of(connection, query.where(table.c.erased_at.is_(None)).order_by(table.c.id))
    for some in (gone[start : start + 500] for start in range(0, len(gone), 500)):
        connection.execute(
            table.update()
            .where(table.c.id.in_(some))
            .values(body=None, stratum="", subject="", source="", erased_at=now)
        )
    return gone


def text_of(text: str, what: str) -> str:
    """A description or note, trimmed. Raises ``Invalid`` where it is too long."""
    text = text.strip()
    if len(text) > _LONGEST_NOTE or "\x00" in text:
        raise Invalid(f"A {what} has at most {_LONGEST_NOTE:,} characters.", code=f"invalid_{what}", param=what)
    return text


def _must_be_open(of: Dataset, version: DatasetVersion) -> None:
    if not version.open:
        raise Conflict(
            f"Version {version.number} of {of.name!r} is sealed: it never changes.",
            code="version_sealed",
            hint="Make another version with this one as its base.",
        )


def _update(connection: sa.Connection, version: DatasetVersion, **values: object) -> None:
    table = tables.dataset_version
    connection.execute(table.update().where(table.c.id == version.id).values(**values))
