"""Here migrations themselves are looked at: every database begins empty, and is migrated the real way."""

from collections.abc import Iterator
from typing import Any

import migrated
import pytest


@pytest.fixture(autouse=True)
def real_migrations() -> Iterator[None]:
    migrated.restore()
    yield
    migrated.install()


@pytest.fixture
def postgres_url(postgres_server: Any) -> Iterator[str]:
    """URL of a fresh, empty PostgreSQL database."""
    url = postgres_server.new_database()
    yield url
    postgres_server.drop(url)
