"""Declarations leave leaves: what ``storage.Declarations`` calls in the transaction of each change."""

from collections.abc import Callable
from typing import cast

import sqlalchemy as sa

from ostinato.audit.model import Deed
from ostinato.audit.sequencer import Sequencer
from ostinato.storage.declarations import CONFIG, Edit

_SECRETS = frozenset({"installation"})
"""Kinds that are no settings but secrets: not even a commitment of them is written down."""


def follow(log: Sequencer) -> Callable[[sa.Connection, Edit], None]:
    """The hook for ``Declarations``: one leaf for each change, ``KIND:write``."""

    def note(connection: sa.Connection, edit: Edit) -> None:
        if edit.kind not in _SECRETS:
            log.append(connection, deed_of(edit))

    return note


def deed_of(edit: Edit) -> Deed:
    """A change of a declaration as it is written down."""
    one = edit.kind.removesuffix("s") if not edit.kind.endswith("ies") else edit.kind[:-3] + "y"
    return Deed(
        actor=edit.actor if ":" in edit.actor else f"system:{edit.actor}",
        action=f"{edit.kind}:write",
        resource=f"{one}:{edit.name}",
        project=_project(edit.after) or _project(edit.before),
        before=edit.before,
        after=edit.after,
        # What the configuration file declares is no person's, and nobody's right to have erased.
        subject=f"system:{CONFIG}" if edit.source == CONFIG else "",
        facts={"version": edit.version, "change": edit.action, "source": edit.source},
    )


def _project(body: object) -> str:
    found = cast("dict[str, object]", body).get("project") if isinstance(body, dict) else None
    return found if isinstance(found, str) and found != "*" else ""
