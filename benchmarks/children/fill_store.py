"""Puts records into a gateway's ``cache.db`` while it is stopped: ``fill_store.py FILE ENTRIES``.

They are copies of a record that is there, each under a key and name of its own. Prints a line for every step done,
then one JSON line.
"""

import asyncio
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import msgspec

from ostinato import storage
from ostinato.storage.records import Query, Record

BATCH = 2_000


async def fill(path: Path, entries: int) -> dict[str, Any]:
    """Write in batches."""
    store = storage.SqliteRecordStore(path)
    await store.start()
    model = (await store.find(Query(everything=True), 1))[0]
    began = time.perf_counter()
    for done in range(0, entries, BATCH):
        await store.put_many([copy(model) for _ in range(min(BATCH, entries - done))])
        print(f"done {done}", flush=True)
    there = await store.count(Query(everything=True))
    await store.close()
    return {"entries": there, "blob_bytes": len(model.blob), "seconds": time.perf_counter() - began}


def copy(record: Record) -> Record:
    """The same answer under another key."""
    return msgspec.structs.replace(record, key=os.urandom(32), name=os.urandom(8).hex(), blob=bytes(record.blob))


if __name__ == "__main__":
    file = Path(sys.argv[1])
    filled = asyncio.run(fill(file, int(sys.argv[2])))
    print(json.dumps({**filled, "file_mb": file.stat().st_size / 1e6}))
