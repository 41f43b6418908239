"""Where somebody's words have come into prompts: versions never change, so they are named, to be revoked."""

from collections.abc import Iterable

import sqlalchemy as sa

from ostinato.prompts.tables import prompt, prompt_version


def quoting(connection: sa.Connection, project: str, needles: Iterable[str]) -> list[str]:
    """``NAME@NUMBER`` of a project's versions that hold one of these texts, as JSON writes them."""
    wanted = [one for one in needles if one]
    if not wanted:
        return []
    query = (
        sa.select(prompt.c.name, prompt_version.c.number, prompt_version.c.content)
        .join(prompt, prompt.c.id == prompt_version.c.prompt_id)
        .where(prompt.c.project_id == project)
        .order_by(prompt.c.name, prompt_version.c.number)
    )
    rows = connection.execute(query)
    return [f"{name}@{number}" for name, number, content in rows if any(map(content.count, wanted))]
