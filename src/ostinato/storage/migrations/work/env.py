# Alembic runs this file; what it does is the same for every tree.
from ostinato.storage import migrating

migrating.run_environment()
