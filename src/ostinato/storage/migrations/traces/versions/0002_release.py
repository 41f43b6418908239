"""Which prompt, release and arm answered a request."""

revision = "0002_release"
down_revision = "0001_ledger"
branch_labels = None
depends_on = None


def upgrade() -> None:
    return


def downgrade() -> None:
    return
