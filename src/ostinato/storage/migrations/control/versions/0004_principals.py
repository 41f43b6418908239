"""People, service principals, role bindings and break-glass."""

revision = "0004_principals"
down_revision = "0003_audit"
branch_labels = None
depends_on = None


def upgrade() -> None:
    return


def downgrade() -> None:
    return
