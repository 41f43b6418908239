"""Whether triage decides what is worth most: mixed public questions as traffic of known repetition, stability, quality.

Each family draws its questions from one set, as often as a law of its own says, over fourteen days; its answers change
at a rate and vary by chance as it was told. What triage sees goes through the code that sees it in the gateway
(families, with all their sketches); what would have been best is worked out from the whole traffic and the true rates.

Families at high stakes of which fewer than twenty answers are judged have one right answer, by rule: have people look.
Where two choices differ by less than the least that a decision must be worth, both are right.
"""

import asyncio
import csv
import hashlib
import json
import math
import random
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from ostinato import storage
from ostinato.cache.model import Policy
from ostinato.core.clock import ManualClock
from ostinato.families import Families, Settings, key_of
from ostinato.families.figures import share
from ostinato.families.sketch import EDGES
from ostinato.traces import CallRow
from ostinato.triage import Evidence, decide
from ostinato.triage import Settings as Rules
from ostinato.wire.model import Answer, BlockStart, BlockStop, ChatRequest, Delta, Finish, Message, Start, Text, Usage

if TYPE_CHECKING:
    from bench import Bench
    from figures import Figure

DAYS = 14
DAY = 86_400.0
FAMILIES, REQUESTS = 60, 60_000
WORLDS = 3
STAKES = ("low", "medium", "high")
ORG, PROJECT = "0" * 32, "1" * 32


class Truth(msgspec.Struct, frozen=True, kw_only=True):
    """One family as it is, whether anybody knows it or not."""

    system: str
    texts: tuple[str, ...]
    exponent: float
    """Of Zipf's law over the questions."""
    rate: float
    """Changes of an answer a day."""
    noise: float
    """Chance that an answer is another than usual."""
    quality: float
    achievable: float
    cost: float
    """Dollars of a call."""
    value: float
    """Dollars of a success."""
    stakes: str
    judged: float
    """Share of the answers that are judged."""
    requests: int


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What was decided, beside what was best."""

    family: str
    chosen: str
    best: str
    worth: dict[str, float]
    """Choice -> dollars a month, with all that is true known."""
    cost: float
    right: bool
    reasons_hold: bool
    stakes: str


def truths(texts: Mapping[str, Sequence[str]], families: int, requests: int, rng: random.Random) -> list[Truth]:
    """Families over wide ranges: none is made for triage."""
    names = sorted(texts)
    found: list[Truth] = []
    weights = [rng.lognormvariate(0, 1) for _ in range(families)]
    for number, weight in enumerate(weights):
        name = names[number % len(names)]
        source = texts[name]
        size = min(len(source), int(10 ** rng.uniform(0.7, 3.3)))
        stakes = rng.choices(STAKES, (5, 4, 2))[0]
        unjudged = stakes == "high" and rng.random() < 0.4
        found.append(
            Truth(
                system=f"You know {name}. Manner {chr(97 + number // 26)}{chr(97 + number % 26)}.",
                texts=tuple(rng.sample(list(source), size)),
                exponent=rng.uniform(0.0, 1.4),
                rate=rng.choice((0.0, 0.0, 0.02, 0.3, 4.0)),
                noise=rng.choice((0.0, 0.0, 0.01, 0.05, 0.25)),
                quality=rng.betavariate(6, 1.5),
                achievable=rng.betavariate(3, 7),
                cost=10 ** rng.uniform(-3.5, -1.3),
                value=10 ** rng.uniform(-3.5, -0.5),
                stakes=stakes,
                judged=0.0 if unjudged else 0.05,
                requests=max(60, round(requests * weight / sum(weights))),
            )
        )
    return found


def worth_of(truth: Truth, asked: Sequence[tuple[float, int]], rules: Rules) -> dict[str, float]:
    """Dollars a month of each choice, by replaying the whole traffic with all rates known."""
    harm, scale = truth.value * rules.harm_times[truth.stakes], 30 / DAYS
    best = -math.inf
    for ttl in EDGES:
        kept: dict[int, float] = {}
        total = 0.0
        for at, number in asked:
            made = kept.get(number)
            if made is None or at - made > ttl:
                kept[number] = at
                continue
            agrees = (1 - truth.noise) ** 2 * math.exp(-truth.rate * (at - made) / DAY)
            total += truth.cost - (1 - agrees) * harm
        best = max(best, total * scale)
    volume = len(asked) * scale * truth.value
    gain = (1 - truth.quality) * truth.achievable * volume - rules.run_calls * truth.cost
    return {"cache": best, "optimize": gain, "both": best + gain, "leave": 0.0}


def traffic(truth: Truth, rng: random.Random) -> list[tuple[float, int]]:
    """Seconds and question of every request, in order."""
    weights = [1 / (rank + 1) ** truth.exponent for rank in range(len(truth.texts))]
    numbers = rng.choices(range(len(truth.texts)), weights, k=truth.requests)
    times = sorted(rng.uniform(0, DAYS * DAY) for _ in numbers)
    return list(zip(times, numbers, strict=True))


def said(truth: Truth, number: int, at: float, rng: random.Random, changes: dict[int, list[float]]) -> str:
    """The answer to a question at a time."""
    moments = changes.setdefault(number, [])
    while truth.rate and (not moments or moments[-1] < at):
        moments.append((moments[-1] if moments else 0.0) + rng.expovariate(truth.rate) * DAY)
    state = sum(moment <= at for moment in moments)
    usual = f"answer {number} as of state {state}"
    return f"another answer {rng.random()}" if rng.random() < truth.noise else usual


async def replay(
    texts: Mapping[str, Sequence[str]], *, families: int = FAMILIES, requests: int = REQUESTS, seed: int = 5
) -> list[Outcome]:
    """Let the traffic pass, decide on every family, and say what would have been best."""
    rng, rules = random.Random(seed), Rules()
    known = truths(texts, families, requests, rng)
    asked = [traffic(truth, rng) for truth in known]
    clock = ManualClock()
    begin = clock.now()
    with tempfile.TemporaryDirectory() as place:
        database = storage.open_database("traces", Path(place) / "traces.db")
        await asyncio.to_thread(storage.migrate, database)
        # More samples are held than by default: here sixty families share what one project of a gateway has.
        room = Families(database, clock, Settings(), seed=seed)
        states: list[dict[int, list[float]]] = [{} for _ in known]
        changes = sorted((at, index, number) for index, some in enumerate(asked) for at, number in some)
        batch: list[CallRow] = []
        for count, (at, index, number) in enumerate(changes):
            clock.advance(begin / 1e6 + at - clock.now() / 1e6)
            batch.append(_pass(room, clock, known[index], number, said(known[index], number, at, rng, states[index])))
            if len(batch) == 500 or count == len(changes) - 1:
                room.observe_batch([], batch, {}, {})
                batch = []
                await asyncio.to_thread(room.flush)
        figures = {one.family: one for one in await room.list(PROJECT)}
        await room.stop()
        database.close()
    found: list[Outcome] = []
    for truth, some in zip(known, asked, strict=True):
        figure = figures[key_of(_request(truth, ""))]
        judged = round(truth.judged * len(some))
        good = sum(rng.random() < truth.quality for _ in range(judged))
        evidence = Evidence(
            figures=figure,
            stakes=truth.stakes,  # pyright: ignore[reportArgumentType] - one of STAKES
            value=truth.value,
            quality=share(good, judged) if judged else None,
            policy=Policy(mode="off"),
        )
        verdict = decide(evidence, rules)
        worth = worth_of(truth, some, rules)
        best = max(worth, key=lambda one: worth[one])
        if judged < rules.quality_samples and truth.stakes == "high":
            right, best = verdict.choice == "review", "review"
        else:
            right = worth[best] - worth.get(verdict.choice, -math.inf) < rules.least_dollars
        found.append(
            Outcome(
                family=figure.family,
                chosen=verdict.choice,
                best=best,
                worth=worth,
                cost=len(some) * truth.cost,
                right=right,
                reasons_hold=bool(verdict.reasons) and all(reason.holds for reason in verdict.reasons),
                stakes=truth.stakes,
            )
        )
    return found


def _request(truth: Truth, text: str) -> ChatRequest:
    messages = (Message("system", (Text(truth.system),)), Message("user", (Text(text),)))
    return ChatRequest(model="m", messages=messages)


def _pass(room: Families, clock: ManualClock, truth: Truth, number: int, text: str) -> CallRow:
    """One request through what watches the gateway."""
    request = _request(truth, truth.texts[number])
    family = key_of(request)
    # Python's own hash of a text is another one in every process: a seed would not name a world.
    about = int.from_bytes(hashlib.blake2b(truth.system.encode(), digest_size=8).digest(), "big")
    print16 = f"{(about ^ number * 0x9E3779B97F4A7C15) & (2**64 - 1):016x}" * 2
    events = (
        Start("m"),
        BlockStart(0, "text"),
        Delta(0, text),
        BlockStop(0),
        Finish("stop"),
        Usage(input=50, output=20),
    )
    room.answered(ORG, PROJECT, family, print16, request, Answer("openai.chat", events), alias="m")
    return CallRow(
        request_id=f"{number}",
        at=clock.now(),
        org=ORG,
        project=PROJECT,
        wire="openai.chat",
        alias="m",
        fingerprint=print16,
        family=family,
        usage=Usage(input=50, output=20),
        cost=round(truth.cost * 1e9),
        upstream_us=500_000,
    )


def read(data: Path) -> dict[str, list[str]]:
    """The questions of the public sets, by set."""
    with (data / "banking77/questions.csv").open(encoding="utf-8") as file:
        banking = [row["text"] for row in csv.DictReader(file)]
    lines = {
        "clinc150": data / "clinc150/utterances.jsonl",
        "hwu64": data / "hwu64/commands.jsonl",
    }
    found = {"banking77": banking}
    for name, path in lines.items():
        found[name] = [json.loads(line)["text"] for line in path.read_text(encoding="utf-8").splitlines()]
    advising = json.loads((data / "advising/questions.json").read_text(encoding="utf-8"))
    found["advising"] = [sentence["text"] for query in advising for sentence in query["sentences"]]
    found["bbh"] = [
        example["input"]
        for path in sorted((data / "bbh").glob("*.json"))
        for example in json.loads(path.read_text(encoding="utf-8"))["examples"]
    ]
    gsm = (data / "gsm8k/train.jsonl").read_text(encoding="utf-8").splitlines()
    found["gsm8k"] = [json.loads(line)["question"] for line in gsm]
    found["trec"] = [line.partition(" ")[2] for line in (data / "trec/train.txt").read_text("latin-1").splitlines()]
    return {name: sorted(set(texts)) for name, texts in found.items()}


def by_cost(outcomes: Sequence[Outcome]) -> float:
    """Share of the traffic, by cost, on which the decision was right."""
    return sum(one.cost for one in outcomes if one.right) / sum(one.cost for one in outcomes)


def captured(outcomes: Sequence[Outcome]) -> float:
    """Share of the money that was there to be had: what a wrong decision loses, weighed by how much."""
    judged = [one for one in outcomes if one.best != "review" and one.chosen != "review"]
    return sum(one.worth[one.chosen] for one in judged) / sum(one.worth[one.best] for one in judged)


def measure(bench: "Bench") -> list["Figure"]:
    """The section's figures."""
    import servers  # noqa: PLC0415 - only where it runs as a section
    from figures import Figure  # noqa: PLC0415

    data = bench.shared / "data"
    if not (data / "banking77").is_dir():
        raise servers.Missing(f"the public questions in {data}")
    texts = read(data)
    tick = bench.ticker("triage", WORLDS)
    outcomes: list[Outcome] = []
    for world in range(WORLDS):
        tick(f"world {world + 1}")
        outcomes += asyncio.run(replay(texts, seed=world))
    tick("done")
    chosen: dict[str, Any] = {}
    for one in outcomes:
        key = f"{one.best} -> {one.chosen}"
        chosen[key] = chosen.get(key, 0) + 1
    return [
        Figure(
            id="triage-right",
            what=f"traffic, by cost, on which triage chose what is worth most ({len(outcomes)} families)",
            value=round(100 * by_cost(outcomes), 1),
            unit="%",
            asked=90.0,
            more=True,
            note="against a replay with everything known; best -> chosen is in the JSON",
            detail=chosen,
        ),
        Figure(
            id="triage-worth",
            what="dollars a month that the decisions are worth, of those that the best ones are",
            value=round(100 * captured(outcomes), 1),
            unit="%",
            more=True,
            note="families at high stakes that people must look at left out",
        ),
        Figure(
            id="triage-reasons",
            what="families all of whose named reasons are true",
            value=round(100 * sum(one.reasons_hold for one in outcomes) / len(outcomes), 1),
            unit="%",
            asked=100.0,
            more=True,
        ),
    ]
