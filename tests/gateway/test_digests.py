"""Every answer's row has the digest of what was asked, whether it was kept or not: else nobody can account for it."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))

from inside import inside

TOML = """
[savings]
holdout_share = {share}
[models.refuses]
targets = ["fake/fake-refusal"]
"""


@pytest.mark.parametrize(
    ("share", "asked", "reason"),
    [
        (0.0, {}, ""),
        (0.5, {}, "holdout"),
        (0.0, {"temperature": 1.7}, "temperature"),
        (0.0, {"headers": {"cache-control": "no-store"}}, "no-store"),
        (0.0, {"model": "refuses"}, "refusal"),
    ],
)
async def test_what_was_asked_has_its_digest(
    monkeypatch: pytest.MonkeyPatch, share: float, asked: dict[str, object], reason: str
) -> None:
    monkeypatch.delenv("OSTINATO_SAVINGS_HOLDOUT_SHARE", raising=False)
    async with inside(TOML.format(share=share)) as world:
        for text in ("hello", "hello", "something else", "hello", *"abcdefgh"[: 8 if share else 0]):
            await world.chat(text, **asked)
        rows = await world.rows(12 if share else 4)
        assert reason in {row.reason for row in rows if row.cache != "hit-exact"}, rows
        digests = sorted(row.input_digest for row in rows)
        assert all(len(one) == 32 for one in digests) and len(set(digests)) == len(rows) - 2


async def test_what_never_was_read_has_none() -> None:
    async with inside() as world:
        await world.chat("hello", model="nowhere")
        (row,) = await world.rows(1)
        assert row.status == 404 and row.input_digest == ""
