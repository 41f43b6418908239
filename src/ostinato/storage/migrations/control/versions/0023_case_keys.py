"""The key of a case names its organization, so that those of two organizations are never one."""

import hashlib

import sqlalchemy as sa
from alembic import op

revision = "0023_case_keys"
down_revision = "0022_updating"
branch_labels = None
depends_on = None

_PARTS = ("project", "detector", "intent", "prompt", "release", "target")


def upgrade() -> None:
    _rekey(("org", *_PARTS))


def downgrade() -> None:
    _rekey(_PARTS)


def _rekey(parts: tuple[str, ...]) -> None:
    """What was one key before may be several now, never the other way round: an open one stays the only one."""
    names = ("id", "org", "key", "open_key", *_PARTS)
    case = sa.table("case_file", *(sa.column(name, sa.String) for name in names))
    connection = op.get_bind()
    # Two open cases with one key cannot be: where organizations are told apart no more, the later one has none.
    taken: set[str] = set()
    connection.execute(case.update().values(open_key=sa.case((case.c.open_key.is_not(None), case.c.id), else_=None)))
    for row in connection.execute(sa.select(case).order_by(case.c.id)).mappings().all():
        key = hashlib.sha256("|".join(row[name] for name in parts).encode()).hexdigest()
        free = row["open_key"] is not None and key not in taken
        taken |= {key} if free else set()
        open_key = key if free else row["open_key"]
        connection.execute(case.update().where(case.c.id == row["id"]).values(key=key, open_key=open_key))
