"""``prompts export`` and ``prompts import``: prompts as files in git, and prompts of other registries."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from ostinato.cli.client import call, json_option, part, show
from ostinato.cli.tables import table
from ostinato.cli.versions import project_option
from ostinato.core.errors import Conflict, Invalid, OstinatoError

if TYPE_CHECKING:
    from ostinato.prompts.files import Collection, VersionFile
    from ostinato.prompts.importers import Imported
    from ostinato.prompts.importing import Plan, Standing, Step
    from ostinato.prompts.model import Content, Prompt

# What these rooms need takes 0.2 s to import: only the commands pay for it, not `ostinato prompts --help`.
# ruff: noqa: PLC0415

_OPEN = ("proposed", "approved", "canary", "paused")
"""States of releases that hold their label."""
_PAGE = 500


@click.command("export")
@click.argument("directory", type=click.Path(file_okay=False, path_type=Path))
@project_option
@click.option("--prefix", help="Prompts whose names begin so only.")
@json_option
def export_prompts(directory: Path, project: str | None, prefix: str | None, as_json: bool) -> None:
    """Write prompts to DIRECTORY: a file per version, and labels.lock.toml. Versions there stay as they are."""
    from ostinato.prompts import folders

    collection = _Registry(project).collection(prefix)
    changed = folders.save(collection, directory)
    told = f"{len(changed)} files written to {directory}."
    counts = {"prompts": len(collection.prompts), "versions": sum(len(one.versions) for one in collection.prompts)}
    show(
        {**counts, "written": changed},
        as_json,
        lambda _: click.echo(f"{counts['prompts']} prompts with {counts['versions']} versions; {told}"),
    )


@click.command("import")
@click.argument("directory", required=False, type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--langfuse", multiple=True, type=click.File("rb"), help="An export of Langfuse instead; repeat.")
@click.option("--mlflow", multiple=True, type=click.File("rb"), help="An export of MLflow instead; repeat.")
@click.option("--leave-out", multiple=True, metavar="FIELD", help="A field of theirs to import without; repeat.")
@project_option
@click.option("--apply", is_flag=True, help="Do it; otherwise only say what would be done.")
@click.option("--propose", is_flag=True, help="Propose releases for labels that only a release moves.")
@click.option("--declare", is_flag=True, help="Declare labels that there are not.")
@click.option("--reason", default="", help="Why; for the history of labels and for releases.")
@json_option
def import_prompts(
    directory: Path | None,
    langfuse: Sequence[Any],
    mlflow: Sequence[Any],
    leave_out: tuple[str, ...],
    project: str | None,
    apply: bool,
    propose: bool,
    declare: bool,
    reason: str,
    as_json: bool,
) -> None:
    """Bring the server to what DIRECTORY, or an export of another registry, says. Twice is as good as once.

    New versions are saved, labels are moved where that is allowed; nothing is ever taken away. Without --apply nothing
    is written.
    """
    from ostinato.prompts import importing

    if sum((directory is not None, bool(langfuse), bool(mlflow))) != 1:
        raise click.UsageError("Give a DIRECTORY, or --langfuse FILE, or --mlflow FILE.")
    imported = _read(directory, [one.read() for one in langfuse], [one.read() for one in mlflow], leave_out)
    registry = _Registry(project)
    plan = importing.plan(
        imported.collection,
        registry.standing(imported.collection),
        registry.content,
        propose=propose,
        declare=declare,
        foreign=directory is None,
    )
    steps, waiting = registry.without_open_releases(plan)
    left = [*plan.left, *waiting]
    if apply:
        registry.carry_out(steps, reason)
    told = {
        "applied": apply,
        "steps": [{"action": s.action, "prompt": s.prompt, "label": s.label, "version": s.number} for s in steps],
        "unchanged": plan.unchanged,
        "left": left,
        "notes": list(imported.notes),
    }
    show(told, as_json, lambda _: _print(steps, plan.unchanged, left, imported.notes, apply))


def _read(directory: Path | None, langfuse: list[bytes], mlflow: list[bytes], leave_out: Sequence[str]) -> "Imported":
    from ostinato.prompts import folders, importers
    from ostinato.prompts import langfuse as from_langfuse
    from ostinato.prompts import mlflow as from_mlflow

    if directory is not None:
        if leave_out:
            raise click.UsageError("--leave-out is for exports of other registries.")
        return importers.Imported(folders.load(directory), ())
    if langfuse:
        return from_langfuse.read(_merged(langfuse), leave_out)
    return from_mlflow.read(_merged(mlflow), leave_out)


def _merged(files: list[bytes]) -> bytes:
    """Several exports as one list."""
    if len(files) == 1:
        return files[0]
    found: list[Any] = []
    for data in files:
        try:
            told: Any = msgspec.json.decode(data)
        except msgspec.DecodeError as error:
            raise Invalid(f"One of the exports is no JSON: {error}.") from None
        found += told if isinstance(told, list) else [told]
    return msgspec.json.encode(found)


class _Registry:
    """The server's prompts of a project."""

    def __init__(self, project: str | None) -> None:
        self._query = {"project": project}

    def collection(self, prefix: str | None) -> "Collection":
        """Everything that is in use, with contents."""
        from ostinato.prompts import importing
        from ostinato.prompts.files import version_file
        from ostinato.prompts.model import Version

        prompts = self._prompts(archived=False, prefix=prefix)
        files: dict[str, tuple[VersionFile, ...]] = {}
        digests: dict[str, dict[int, str]] = {}
        for name in prompts:
            digests[name] = self._digests(name)
            whole = [self._get(f"/prompts/{part(name)}/versions/{number}") for number in sorted(digests[name])]
            files[name] = tuple(version_file(msgspec.convert(one, Version)) for one in whole)
        return importing.collection_of(prompts, files, digests)

    def standing(self, collection: "Collection") -> "Standing":
        """What there is of the prompts in ``collection``, and of the partials that they take."""
        from ostinato.prompts import contents
        from ostinato.prompts.importing import Standing
        from ostinato.prompts.model import Label

        prompts = {**self._prompts(archived=True), **self._prompts(archived=False)}
        wanted = {file.name for file in collection.prompts}
        for file in collection.prompts:
            for version in file.versions:
                try:
                    wanted.update(contents.references(version.draft))
                except Invalid:
                    break  # told with its place when the plan is made
        labels = {one["name"]: msgspec.convert(one, Label) for one in self._get("/labels")}
        return Standing(prompts, {name: self._digests(name) for name in sorted(wanted & prompts.keys())}, labels)

    def content(self, name: str, number: int) -> "Content":
        """The content of a version."""
        from ostinato.prompts.model import Version

        found = msgspec.convert(self._get(f"/prompts/{part(name)}/versions/{number}"), Version).content
        assert found is not None, "a single version comes with its content"
        return found

    def without_open_releases(self, plan: "Plan") -> "tuple[list[Step], list[str]]":
        """The steps without proposals that are made already; and those, as sentences."""
        steps: list[Step] = []
        waiting: list[str] = []
        for step in plan.steps:
            if step.action == "propose":
                query = {**self._query, "prompt": step.prompt, "label": step.label, "limit": _PAGE}
                found = [one for one in call("GET", "/releases", query=query)["items"] if one["state"] in _OPEN]
                if found and found[-1]["number"] == step.number:
                    release = found[-1]
                    waiting.append(
                        f"{step.label!r} of {step.prompt!r} to version {step.number} is release "
                        f"{release['id']} already, {release['state']}."
                    )
                    continue
            steps.append(step)
        return steps, waiting

    def carry_out(self, steps: "Sequence[Step]", reason: str) -> None:
        """Make the changes, one after the other. What fails tells how far it came."""
        for index, step in enumerate(steps):
            try:
                self._carry_out(step, reason)
            except OstinatoError as error:
                done = f"{index} of {len(steps)} changes are made; run it again to go on."
                error.hint = f"{error.hint} {done}".strip()
                raise

    def _carry_out(self, step: "Step", reason: str) -> None:
        path, query = f"/prompts/{part(step.prompt)}", self._query
        if step.action == "declare":
            call("PUT", f"/labels/{part(step.label)}", {}, query=query)
        elif step.action == "move":
            call("PUT", f"{path}/labels/{part(step.label)}", {"version": step.number, "reason": reason}, query=query)
        elif step.action == "propose":
            wish = {"prompt": step.prompt, "number": step.number, "label": step.label, **query}
            call("POST", "/releases", {**wish, "reason": reason or "Imported from files"})
        elif step.action == "add":
            body = {**msgspec.to_builtins(step.draft), "message": step.message, "source": "import"}
            saved = call("POST", f"{path}/versions", body, query={**query, "latest": step.number - 1})
            if saved["version"]["digest"] != step.digest or saved["version"]["number"] != step.number:
                made = saved["version"]["number"]
                raise Conflict(
                    f"The server made version {made} of {step.prompt!r} out of version {step.number}.",
                    hint="Are client and server of the same release?",
                )
        else:
            assert step.file is not None, "what is created or updated comes from a file"
            told = {"description": step.file.description, "tags": step.file.tags, "intent": step.file.intent}
            if step.action == "create":
                call("POST", "/prompts", {"name": step.prompt, "kind": step.file.kind, **told}, query=query)
            else:
                call("PATCH", path, told, query=query)

    def _prompts(self, *, archived: bool, prefix: str | None = None) -> "dict[str, Prompt]":
        from ostinato.prompts.model import Prompt

        found = self._pages("/prompts", archived=archived, prefix=prefix)
        return {one["name"]: msgspec.convert(one, Prompt) for one in found}

    def _digests(self, name: str) -> dict[int, str]:
        return {one["number"]: one["digest"] for one in self._pages(f"/prompts/{part(name)}/versions")}

    def _get(self, path: str) -> Any:
        return call("GET", path, query=self._query)

    def _pages(self, path: str, **query: object) -> list[Any]:
        found: list[Any] = []
        after = None
        while True:
            got = call("GET", path, query={**self._query, **query, "after": after, "limit": _PAGE})
            found += got["items"]
            after = got["next"]
            if after is None:
                return found


def _print(steps: "Sequence[Step]", unchanged: int, left: Sequence[str], notes: Sequence[str], applied: bool) -> None:
    for note in notes:
        click.echo(f"Note: {note}")
    if steps:
        table(("change", "prompt", "what"), [(step.action, step.prompt or "-", _what(step)) for step in steps])
    for sentence in left:
        click.echo(f"Left: {sentence}")
    so = f"{unchanged} versions and labels are so already."
    if not steps:
        click.echo(f"Nothing to do: {so}")
    elif applied:
        click.echo(f"{len(steps)} changes made; {so}")
    else:
        click.echo(f"{len(steps)} changes; {so} Nothing is written yet: --apply does it.")


def _what(step: "Step") -> str:
    if step.action == "add":
        line = (step.message.splitlines() or [""])[0]
        return f"version {step.number}" + (f": {line[:60]}" if line else "")
    if step.label:
        return f"{step.label}: {step.from_number or '-'} -> {step.number}" if step.number else step.label
    return step.file.kind if step.file is not None else ""


COMMANDS = (export_prompts, import_prompts)
