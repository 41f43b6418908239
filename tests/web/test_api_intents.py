"""Intents over the API: a project's own stands before everybody's of the same key, but does not lower its stakes."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from control import opened

EVERYBODYS = """
[intents.payments]
stakes = "critical"
owner = "care"

[intents.smalltalk]
stakes = "low"
"""
WRITES = frozenset({"intents:read", "intents:write", "projects:read"})


async def test_a_projects_own_intent_does_not_lower_the_stakes_of_everybodys() -> None:
    async with opened(EVERYBODYS) as plane:
        key = await plane.key(WRITES)
        body = {"project": plane.projects["acme/main"], "key": "payments", "stakes": "low"}
        asked = await plane.call("PUT", "/intents/ours", body, key)
        assert (asked.status_code, asked.json()["needed"]) == (202, 2)
        # Neither by another name of one that stands already.
        other = await plane.call("PUT", "/intents/theirs", {**body, "key": "smalltalk"}, key)
        assert other.status_code == 200
        assert (await plane.call("PUT", "/intents/theirs", body, key)).status_code == 202
        assert (await plane.call("DELETE", "/intents/theirs", None, key)).status_code == 200
