"""Values that no database can take are the caller's mistake, not the database's."""

from typing import Any

import pytest
import sqlalchemy as sa

from ostinato import storage
from ostinato.core.errors import Invalid
from ostinato.storage.tables import notice


@pytest.mark.parametrize("topic, version", [("t", 2**63), ("t", -(2**200)), ("a\x00b", 1)])
def test_a_value_that_cannot_be_stored_is_told_as_such(control: storage.Database, topic: str, version: Any) -> None:
    def work(connection: sa.Connection) -> None:
        connection.execute(notice.insert(), {"topic": topic, "version": version})

    if control.dialect == "sqlite" and "\x00" in topic:
        control.transact(work)  # SQLite keeps it
        return
    with pytest.raises(Invalid) as told:
        control.transact(work)
    assert told.value.code == "value_out_of_range"


def test_an_overflow_of_our_own_is_still_a_bug(control: storage.Database) -> None:
    with pytest.raises(OverflowError):
        control.transact(lambda _: float(10**400))
