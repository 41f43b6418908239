"""Column types that mean the same on SQLite and PostgreSQL, and the naming of constraints.

Tables of every room use these, in ``tables.py`` and in migrations alike:

=============  ==========================  ====================================================================
what           column                      in Python
=============  ==========================  ====================================================================
id             ``columns.Id``              ``core.ids.new(...)``: 32 hexadecimal digits
time           ``columns.Micros``          int, UTC microseconds
money          ``columns.Nano``            int, nano-dollars
JSON           ``columns.Json``            any JSON value; kept as *text* in canonical form (sorted keys)
digest, blob   ``columns.Bytes``           bytes
counter key    ``columns.Serial``          int primary key that the database counts up
=============  ==========================  ====================================================================

JSON is text on both engines on purpose: PostgreSQL's ``jsonb`` would reorder it, and what is digested, audited and
compared must come back byte for byte.
"""

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Dialect

from ostinato.core import hashing

NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}
"""Pass it to every ``sa.MetaData(naming_convention=...)``: later migrations can then name what they alter."""

_DECODER = msgspec.json.Decoder()


class Json(sa.types.TypeDecorator[object]):
    """A JSON value as canonical text; ``None`` is SQL's NULL."""

    impl = sa.Text
    cache_ok = True

    def process_bind_param(self, value: object | None, dialect: Dialect) -> str | None:
        return None if value is None else hashing.canonical_json(value).decode()

    def process_result_value(self, value: str | None, dialect: Dialect) -> object | None:
        return None if value is None else _DECODER.decode(value)


Id = sa.String(32)
Micros = sa.BigInteger
Nano = sa.BigInteger
Bytes = sa.LargeBinary
Serial = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def metadata() -> sa.MetaData:
    """An empty ``MetaData`` with our naming of constraints: one per room, in its ``tables.py``."""
    return sa.MetaData(naming_convention=NAMING)
