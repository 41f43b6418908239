"""Directories of prompt files: read whole, written where something changed, never over somebody's work."""

from collections.abc import Iterable
from pathlib import Path
from typing import Final

from ostinato.core.errors import Conflict, Invalid
from ostinato.prompts import files
from ostinato.prompts.files import Collection

MOST_FILES: Final = 100_000


def load(directory: Path) -> Collection:
    """The prompts of a directory. Other files beside ``prompts/`` and the lock are left alone; hidden ones everywhere.

    Raises ``Invalid`` as :func:`files.read` does.
    """
    if not (directory / files.FOLDER).is_dir():
        raise Invalid(
            f"There is no folder {files.FOLDER!r} in {directory}.",
            hint="`ostinato prompts export DIR` makes one to begin with.",
        )
    return files.read(dict(_files(directory)))


def save(collection: Collection, directory: Path) -> list[str]:
    """Write what differs; gives the paths that changed. Versions that the collection does not know are kept.

    Raises ``Conflict``, before anything is written, where a version there says something else.
    """
    changed: dict[str, bytes] = {}
    for path, data in files.write(collection).items():
        target = directory / path
        before = target.read_bytes() if target.is_file() else None
        if before == data:
            continue
        if before is not None and files.NUMBERED.fullmatch(target.name) and not _same(path, before, data):
            raise Conflict(
                f"{path} says something else than this version on the server, and versions never change.",
                hint="Save it under the next free number, or export into another directory.",
            )
        changed[path] = data
    for path, data in changed.items():
        target = directory / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
    return sorted(changed)


def _same(path: str, before: bytes, after: bytes) -> bool:
    """Whether two files of a version have the same templates: then only what a server adds to a draft differs."""
    one, other = (files.read_version(path, 1, data) for data in (before, after))
    if one.digest and one.digest != other.digest:
        return False
    told = [(version.draft.format, version.draft.text, version.draft.messages) for version in (one, other)]
    return told[0] == told[1]


def _files(directory: Path) -> Iterable[tuple[str, bytes]]:
    lock = directory / files.LOCK
    if lock.is_file():
        yield files.LOCK, lock.read_bytes()
    count = 0
    for path in sorted((directory / files.FOLDER).rglob("*")):
        inner = path.relative_to(directory)
        if any(part.startswith(".") for part in inner.parts) or path.is_dir():
            continue
        count += 1
        if count > MOST_FILES:
            raise Invalid(f"{directory} holds more than {MOST_FILES:,} files.")
        if not path.resolve().is_relative_to(directory.resolve()):
            raise Invalid(f"{inner} leads out of the directory.")
        if path.stat().st_size > files.LARGEST_FILE:
            raise Invalid(f"{inner} has more than {files.LARGEST_FILE:,} bytes.")
        yield inner.as_posix(), path.read_bytes()
