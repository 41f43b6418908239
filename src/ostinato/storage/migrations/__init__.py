"""One Alembic tree per database: ``control`` and ``traces``. How to write a revision: see ``storage.migrating``."""
