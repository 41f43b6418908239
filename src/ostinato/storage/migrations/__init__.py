"""One Alembic tree per database: ``control``, ``traces``, ``work``. See ``storage.migrating`` for how to write one."""
