"""D3 and D4 for the control plane: a full disk, a clock that jumps, and a restored backup."""

import shutil
import sqlite3
import sys
import tempfile
from pathlib import Path
from typing import Any

import sqlalchemy as sa

sys.path.insert(0, str(Path(__file__).parents[1]))

from control import Plane, opened
from inside import BASE, SYSTEM, configured

from ostinato.access.permissions import ROLES
from ostinato.app import App
from ostinato.core.clock import ManualClock


def _limit(plane: Plane, pages: int) -> None:
    """How large the file of ``control`` may become; 0: as it is now."""

    def work(connection: sa.Connection) -> None:
        wanted = pages or connection.exec_driver_sql("PRAGMA page_count").scalar()
        connection.exec_driver_sql(f"PRAGMA max_page_count = {wanted}")

    plane.app.control.transact(work)


async def test_on_a_full_disk_changes_are_refused_whole_and_reads_go_on() -> None:
    async with opened() as plane:
        key, stranger = await plane.key(ROLES["owner"]), await plane.key(ROLES["service"])
        _limit(plane, 0)
        refused = None
        for number in range(400):
            before = await plane.state()
            body = {"key": f"full-{number}", "name": "x" * 60, "organization": "acme"}
            reply = await plane.call("POST", "/projects", body, key, idempotency_key=f"k{number}")
            if reply.status_code != 201:
                refused = reply
                break
        assert refused is not None and refused.status_code == 503 and refused.json()["code"] == "storage_full"
        assert await plane.state() == before, "neither the project nor its leaf"
        assert (await plane.call("GET", "/projects", None, key)).status_code == 200
        assert (await plane.call("GET", "/audit/leaves?limit=5", None, key)).status_code == 200
        # Who may not do something is refused all the same, though that cannot be written down now.
        assert (await plane.call("GET", "/keys", None, stranger)).status_code == 403
        _limit(plane, 1_000_000)
        again = await plane.call("POST", "/projects", body, key, idempotency_key=f"k{number}")
        assert again.status_code == 201 and "idempotency-replayed" not in again.headers


async def test_a_clock_that_jumps_changes_nothing_that_was_written() -> None:
    async with opened() as plane:
        key = await plane.key(ROLES["owner"])
        for jump in (3600.0, -7200.0, 3600.0):
            plane.world.clock.jump(jump)
            body = {"key": f"at-{plane.world.clock.now()}", "name": "x", "organization": "acme"}
            one = await plane.call("POST", "/projects", body, key, idempotency_key=str(jump) + body["key"])
            two = await plane.call("POST", "/projects", body, key, idempotency_key=str(jump) + body["key"])
            assert (one.status_code, two.status_code) == (201, 201) and one.content == two.content
        leaves = await plane.leaves()
        assert [row["seq"] for row in leaves] == list(range(len(leaves)))


async def _root(app: App) -> tuple[int, str]:
    made = await app.audit.checkpoint()
    assert made is not None
    return made.size, made.root


async def test_a_restored_backup_is_the_same_installation() -> None:
    """A copy of the data directory (the database by SQLite's own backup, while it serves) on another machine."""
    with tempfile.TemporaryDirectory(prefix="ost-") as elsewhere:
        async with opened() as plane:
            key = await plane.key(ROLES["owner"])
            body = {"key": "kept", "name": "Kept", "organization": "acme"}
            assert (await plane.call("POST", "/projects", body, key)).status_code == 201
            size, root = await _root(plane.app)
            before = await plane.state()
            _back_up(plane.app.directory.path, Path(elsewhere))
        config = configured(BASE.replace("[models.", "[models.file-").replace("file-plain]", "plain]"), elsewhere)
        app = App(config, ManualClock())
        await app.start()
        try:
            restored: Any = Plane.__new__(Plane)
            restored.app = app
            after = await Plane.state(restored)
            for name in before:
                assert set(before[name]) <= set(after[name]), name
            assert await _root(app) == (size, root)
            assert len(await app.access.list_projects(SYSTEM)) == len(before["project"])
            assert app.access.authenticate(key, app.clock.now()).permissions == ROLES["owner"]
        finally:
            await app.stop()


def _back_up(directory: Path, to: Path) -> None:
    for file in directory.glob("*.db"):
        with sqlite3.connect(file) as source, sqlite3.connect(to / file.name) as target:
            source.backup(target)
    shutil.copytree(directory / "keys", to / "keys", dirs_exist_ok=True)
