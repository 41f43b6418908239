"""Audit leaves, checkpoints, anchors and subject keys."""

revision = "0003_audit"
down_revision = "0002_access"
branch_labels = None
depends_on = None


def upgrade() -> None:
    return


def downgrade() -> None:
    return
