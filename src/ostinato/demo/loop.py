"""The second half of the demo: the prompt becomes a governed object, is improved, proven, released, and watched.

What is done here, anybody can do with the same calls: people with keys of their own, a registered prompt, a dataset
with a sealed holdout, an optimization run, a release that one person proposes and another approves, a canary that goes
on by itself while end users' feedback comes in.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec

from ostinato.demo import task
from ostinato.demo.child import ALIAS, Child, DemoError
from ostinato.demo.desk import Desk, People
from ostinato.demo.replay import Compose, Gateway, Outcome, replay
from ostinato.demo.task import Question
from ostinato.demo.traffic import LEVELS, Ask, Level, draw

PROMPT: Final = "bank/topic"
INTENT: Final = "bank-topic"
DATASET: Final = "bank-questions"
LABELLED: Final = 55
"""Questions of each intent that the bank has labelled: they are the dataset. The rest is traffic, seen by no search."""
SHARES: Final = {"train": 0.4, "dev": 0.25, "holdout": 0.35}
"""More for the proof than usual: the demo has few examples, and shows what can be proven with them."""
VALUE_PER_SUCCESS: Final = 0.001
"""Dollars that a question in the right hands at once is worth to the bank: a few seconds of somebody's time."""
SEED: Final = 7
MOST_CALLS: Final = 2_000
CANARY: Final[dict[str, Any]] = {
    "steps": [{"share": 0.25, "min_samples": 40}, {"share": 0.5, "min_samples": 40}],
    "control": 0.25,
    "auto": True,
    "guardrails": {"watch": ["quality", "error"]},
}
SESSIONS: Final = 400
"""Customers on whose questions the canary is tried; each stays in one arm."""

Show = Callable[[dict[str, Any]], object]
"""Sees a release or a run again and again, as it goes on."""


def split(questions: Sequence[Question]) -> tuple[list[Question], list[Question]]:
    """Labelled questions, and those of the traffic; the first so many of each intent are labelled."""
    seen = dict.fromkeys(task.INTENTS, 0)
    labelled: list[Question] = []
    rest: list[Question] = []
    for question in questions:
        seen[question.intent] += 1
        (labelled if seen[question.intent] <= LABELLED else rest).append(question)
    return labelled, rest


def version() -> dict[str, Any]:
    """The prompt that the first half used, as a version of the registry."""
    decoding = task.decoding()
    return {
        "messages": [
            {"role": message["role"], "template": message["content"]} for message in task.messages("{{question}}")
        ],
        "params": {
            "model": ALIAS,
            "temperature": decoding["temperature"],
            "max_tokens": decoding["max_tokens"],
            "extra_body": {"grammar": decoding["grammar"]},
        },
        "message": "As it was written by hand",
    }


def register(people: People, labelled: Sequence[Question]) -> None:
    """Intent, prompt with its first release, and dataset."""
    people.owner.put(
        f"/intents/{INTENT}",
        intent(held_out=False),
    )
    people.ana.post("/prompts", {"name": PROMPT, "kind": "chat", "intent": INTENT, "version": version()})
    first = people.ana.post("/releases", {"prompt": PROMPT, "number": 1, "reason": "The first one."})
    approve_and_start(people, first["id"])
    people.ana.post("/datasets", {"name": DATASET, "shares": SHARES})
    people.ana.post(
        f"/datasets/{DATASET}/versions",
        {
            "examples": [
                {
                    "inputs": {"question": question.text},
                    "reference": task.INTENTS[question.intent],
                    "stratum": task.INTENTS[question.intent],
                }
                for question in labelled
            ]
        },
    )


def intent(*, held_out: bool) -> dict[str, Any]:
    """What the bank declares; with ``held_out`` some customers are answered without cache, or by the prompt before."""
    return {
        "title": "Name the topic of a question",
        "stakes": "low",
        "value_per_success": VALUE_PER_SUCCESS,
        "cache": {"holdout": held_out},
        "review": {"baseline_holdout": held_out},
    }


def approve_and_start(people: People, release_id: str) -> None:
    """Rui reads and approves, the owner starts it."""
    dossier = people.rui.get(f"/releases/{release_id}")
    people.rui.post(
        f"/releases/{release_id}/approve", {"digest": dossier["release"]["digest"], "comment": "Read, and fine."}
    )
    people.owner.post(f"/releases/{release_id}/start", {"reason": "Approved."})


def wish() -> dict[str, Any]:
    """What Ana asks for."""
    return {
        "prompt": PROMPT,
        "dataset": DATASET,
        "scorers": [{"kind": "normalized"}],
        "limits": {"calls": MOST_CALLS},
        "seed": SEED,
        "rollout": CANARY,
        "note": "The demo.",
    }


class Improvement(msgspec.Struct, frozen=True):
    """What came of the run."""

    run: dict[str, Any]
    progress: dict[str, Any]
    seconds: float


def improve(ana: Desk, shown: Show) -> Improvement:
    """Start the run and wait for its end; ``shown`` sees every progress."""
    begun = time.monotonic()
    run = ana.post("/optimizations", wish())
    while True:
        progress = ana.get(f"/optimizations/{run['id']}")
        shown(progress)
        if progress["run"]["state"] not in ("planned", "running"):
            return Improvement(progress["run"], progress, time.monotonic() - begun)
        time.sleep(0.5)


def by_prompt(context: str, sessions: int = 0) -> Compose:
    """Requests that name the prompt; each of ``sessions`` customers asks in a session of their own."""
    count = 0

    def compose(ask: Ask) -> dict[str, Any]:
        nonlocal count
        count += 1
        headers = {"ostinato-context": context}
        if sessions:
            headers["ostinato-session"] = f"{context}-{count % sessions}"
        return {
            "model": f"prompt:{PROMPT}",
            "messages": [],
            "extra_body": {"prompt": {"variables": {"question": ask.question.text}}},
            "extra_headers": headers,
        }

    return compose


def weigh(
    child: Child, people: People, traffic: Sequence[Question], requests: int, done: Callable[[Outcome], object]
) -> list[tuple[Level, list[Outcome]]]:
    """The loop at work with the hold-out on: ``requests`` at each level of repetition, each of another customer."""
    people.owner.put(f"/intents/{INTENT}", intent(held_out=True))
    gateway = Gateway(child.url, people.app.key, child.model.prices)
    return [
        (
            level,
            asyncio.run(replay(gateway, by_prompt(level.name, requests), draw(traffic, level, requests), done)),
        )
        for level in LEVELS
    ]


def roll_out(
    child: Child,
    people: People,
    release_id: str,
    traffic: Sequence[Question],
    shown: Callable[[dict[str, Any]], object],
) -> dict[str, Any]:
    """Send customers' questions and their feedback until the canary has decided. Gives the release at its end."""
    gateway = Gateway(child.url, people.app.key, child.model.prices)
    asks = [Ask(question, stream=False) for question in traffic]
    compose = by_prompt("canary", SESSIONS)
    answered: list[Outcome] = []
    for begin in range(0, 40 * len(asks), 40):
        batch = [asks[(begin + index) % len(asks)] for index in range(40)]
        outcomes = asyncio.run(replay(gateway, compose, batch, answered.append))
        for outcome in outcomes:
            if outcome.request_id:
                told = {"request_id": outcome.request_id, "value": outcome.right}
                people.app.feedback(told)
        release = people.owner.get(f"/releases/{release_id}")["release"]
        shown(release)
        if release["state"] != "canary":
            return release
    raise DemoError("The canary has not come to an end; the gateway's log says why.")
