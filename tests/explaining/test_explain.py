"""From a request's id to everything behind its answer: hits and misses, what is absent and why, whose requests."""

import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

sys.path.insert(0, str(Path(__file__).parents[1]))

from control import TENANTS, Plane, opened
from inside import SYSTEM

from ostinato import prompts, verify
from ostinato.access.permissions import ROLES
from ostinato.core import ids
from ostinato.releases import NewEvidence, Proposal
from ostinato.traces import AttemptRow, CallRow, HitRow
from ostinato.wire.model import Usage

pytestmark = pytest.mark.asyncio(loop_scope="module")

OWN, SIDE, ABROAD = TENANTS
PEOPLE = frozenset({"releases:read", "releases:propose", "releases:approve", "releases:operate", "prompts:read"})
READER = frozenset({"explain:read"})
DIGEST = "5" * 64


class Story:
    """A prompt of an intent of high stakes, released with evidence and two approvals, and rows that tell of it."""

    def __init__(self, plane: Plane) -> None:
        self.plane, self.app = plane, plane.app
        self.project, self.org = plane.projects[OWN], plane.organizations[OWN]
        self.release: Any = None

    async def person(self) -> Any:
        return self.app.access.authenticate(await self.plane.key(PEOPLE), self.plane.world.clock.now())

    async def tell(self) -> None:
        app, project = self.app, self.project
        care = {"title": "Care", "owner": "care team", "stakes": "high", "project": project}
        await app.declarations.put("intents", "care", care, "test")
        await app.standing.follow("policies")
        draft = prompts.Draft(messages=(prompts.Turn("user", "Help {{name}}"),), params={"model": "file-plain"})
        await app.prompts.create(SYSTEM, project, "triage", intent="care", draft=draft)
        author, one, other = await self.person(), await self.person(), await self.person()
        proposal = Proposal(prompt="triage", number=1, reason="it was asked for")
        made = await app.releases.propose(author, proposal, project)
        await app.releases.attach(author, made.id, NewEvidence(name="accuracy", digest=DIGEST, passed=True))
        await app.releases.attach(one, made.id, NewEvidence(name="diff-reviewed", digest=made.digest, passed=True))
        for who in (one, other):
            await app.releases.approve(who, made.id, made.digest, "read it")
        self.release = await app.releases.start(author, made.id, "go")
        self.approvers = {one.principal, other.principal}
        self.plane.world.clock.advance(1)

    def call(self, **fields: Any) -> CallRow:
        now = self.plane.world.clock.now()
        values = {
            "request_id": ids.new(now),
            "at": now,
            "org": self.org,
            "project": self.project,
            "key_id": "somebody",
            "wire": "openai.chat",
            "alias": "file-plain",
            "provider": "fake",
            "model": "plain",
            "target": "fake/plain",
            "attempts": (AttemptRow("fake/plain", 9, "ok"),),
            "stored": True,
            "generation": "g",
            "fingerprint": "f" * 32,
            "input_digest": "d" * 32,
            "usage": Usage(10, 0, 0, 5, 0),
            "cost": 1_000,
            "counterfactual": 1_000,
            "input_text": "Help Zoe",
            "output_text": "Done",
            "upstream_us": 5,
            "total_us": 9,
        }
        row = CallRow(**{**values, **fields})
        self.app.recorder.call(row)
        return row

    def prompted(self, **fields: Any) -> CallRow:
        told = {"prompt": "triage", "prompt_version": 1, "intent": "care", "arm": "canary", "release": self.release.id}
        return self.call(**{**told, **fields})

    def hit(self, origin: str, **fields: Any) -> HitRow:
        now = self.plane.world.clock.now()
        row = HitRow(ids.new(now), now, "another", origin, 40, 1_000, 7, 1, False, **fields)
        self.app.recorder.hit(row)
        return row

    async def explain(self, request_id: str, permissions: frozenset[str] = READER, tenant: str = OWN) -> Any:
        self.app.recorder.flush()
        key = await self.plane.key(permissions, tenant)
        return await self.plane.call("GET", f"/explain/{request_id}", key=key)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def story() -> AsyncIterator[Story]:
    """One server for all tests: each adds requests of its own."""
    async with opened() as plane:
        made = Story(plane)
        await made.tell()
        yield made


async def test_a_miss_is_followed_to_its_last_approval(story: Story) -> None:
    await story.app.audit.checkpoint()
    row = story.prompted(client_request_id="mine")
    told = (await story.explain(row.request_id)).json()
    assert told["absent"] == {"cache.origin": "it was not answered from the cache"}
    assert (told["request"]["request_id"], told["request"]["alias"]) == (row.request_id, "file-plain")
    assert (told["intent"]["key"], told["intent"]["owner"], told["intent"]["stakes"]) == ("care", "care team", "high")
    assert (told["prompt"]["name"], told["prompt"]["number"]) == ("triage", 1)
    version = await story.app.prompts.version(SYSTEM, story.project, "triage", 1)
    assert told["prompt"]["digest"] == version.digest
    release = told["release"]
    assert (release["id"], release["label"], release["arm"]) == (story.release.id, "production", "canary")
    assert {word["principal"] for word in release["approvals"]} == story.approvers
    assert all(word["decision"] == "approve" and word["bound"] for word in release["approvals"])
    assert [(proof["name"], proof["passed"], proof["digest"]) for proof in release["evidence"]] == [
        ("accuracy", True, DIGEST),
        ("diff-reviewed", True, story.release.digest),
    ]
    assert told["input"] == {"digest": "d" * 32, "fingerprint": "f" * 32, "input_text": None, "output_text": None}
    assert (told["cache"]["result"], told["cache"]["stored"], told["cache"]["origin"]) == ("miss", True, None)
    assert (told["target"]["target"], told["target"]["by_origin"]) == ("fake/plain", False)
    assert [attempt["outcome"] for attempt in told["target"]["attempts"]] == ["ok"]
    assert (told["cost"]["cost"], told["cost"]["input"], told["cost"]["output"]) == (1_000, 10, 5)
    by_client = (await story.explain("mine")).json()
    assert by_client["request"]["request_id"] == row.request_id
    assert by_client["others"] == []


async def test_its_proofs_hold_without_the_server(story: Story) -> None:
    checkpoint = await story.app.audit.checkpoint()
    told = (await story.explain(story.prompted().request_id)).json()["audit"]
    assert told["checkpoint"] == checkpoint.note
    actions = [leaf["action"] for leaf in told["leaves"]]
    assert actions[0] == "prompts:write"
    assert actions.count("releases:approve") == 2
    assert {"releases:propose", "releases:start"} <= set(actions)
    assert [leaf["index"] for leaf in told["leaves"]] == sorted(leaf["index"] for leaf in told["leaves"])
    root = verify.read_note(checkpoint.note).root
    for leaf in told["leaves"]:
        proof = leaf["proof"]
        assert proof["checkpoint"] == checkpoint.note
        path = [bytes.fromhex(one) for one in proof["path"]]
        digest = bytes.fromhex(proof["leaf_hash"])
        assert verify.inclusion_holds(leaf["index"], proof["size"], digest, path, root)
        other = bytes(32)
        assert not verify.inclusion_holds(leaf["index"], proof["size"], other, path, root)


async def test_what_no_checkpoint_covers_yet_is_said(story: Story) -> None:
    await story.app.audit.checkpoint()
    await story.app.prompts.declare_label(SYSTEM, story.project, "fresh")
    await story.app.prompts.move_label(SYSTEM, story.project, "triage", "fresh", 1)
    story.plane.world.clock.advance(1)
    told = (await story.explain(story.prompted().request_id)).json()
    assert "next" in told["absent"]["audit.proof"]
    assert [leaf["proof"] is None for leaf in told["audit"]["leaves"]][-2:] == [False, True]


async def test_only_what_led_to_the_version_counts_and_nothing_later(story: Story) -> None:
    registry, project = story.app.prompts, story.project
    other = prompts.Draft(messages=(prompts.Turn("user", "Other {{name}}"),))
    await registry.add_version(SYSTEM, project, "triage", other)
    for name in ("staging", "trial", "later"):
        await registry.declare_label(SYSTEM, project, name)
    await registry.move_label(SYSTEM, project, "triage", "staging", 1)
    await registry.move_label(SYSTEM, project, "triage", "trial", 2)
    story.plane.world.clock.advance(5)
    row = story.prompted()
    story.plane.world.clock.advance(5)
    await registry.move_label(SYSTEM, project, "triage", "later", 1)
    told = (await story.explain(row.request_id)).json()
    moves = [leaf["facts"]["label"] for leaf in told["audit"]["leaves"] if leaf["action"] == "labels:move"]
    assert "staging" in moves
    assert not {"trial", "later"} & set(moves)
    assert [leaf["action"] for leaf in told["audit"]["leaves"]].count("prompts:write") == 1


async def test_a_hit_is_followed_to_who_first_asked(story: Story) -> None:
    first = story.prompted()
    story.plane.world.clock.advance(7)
    again = story.hit(first.request_id, arm="stable")
    told = (await story.explain(again.request_id)).json()
    assert (told["cache"]["result"], told["cache"]["kind"], told["cache"]["age_s"]) == ("hit-exact", "memory", 7)
    origin = told["cache"]["origin"]
    assert (origin["request_id"], origin["at"], origin["key_id"]) == (first.request_id, first.at, "somebody")
    assert (origin["cost"], origin["arm"]) == (1_000, "canary")
    assert (told["release"]["id"], told["release"]["arm"]) == (story.release.id, "stable")
    assert told["target"]["by_origin"]
    assert told["target"]["attempts"][0]["target"] == "fake/plain"
    assert (told["cost"]["cost"], told["cost"]["saved"]) == (0, 1_000)
    assert "cache.origin" not in told["absent"]


async def test_a_hit_whose_origin_is_gone_says_so(story: Story) -> None:
    """Its project is not known any more, so nobody but the machine itself may look."""
    from ostinato.traces import Filter

    lonely = story.hit("0" * 32)
    story.app.recorder.flush()
    told = await story.app.explainer.explain(SYSTEM, lonely.request_id, Filter())
    assert "no longer in the ledger" in told.absent["cache.origin"]
    assert told.target is None
    assert (await story.explain(lonely.request_id)).status_code == 404


async def test_what_does_not_apply_is_absent_with_the_reason(story: Story) -> None:
    plain = story.call()
    told = (await story.explain(plain.request_id)).json()
    assert {name for name, part in told.items() if part is None} == {"intent", "prompt", "release", "audit"}
    assert set(told["absent"]) == {"intent", "prompt", "release", "audit", "cache.origin"}
    refused = story.call(
        target="", provider="", model="", attempts=(), input_digest="", cache="bypass", status=403, error="denied"
    )
    told = (await story.explain(refused.request_id)).json()
    assert told["target"] is None and told["input"] is None
    assert "denied" in told["absent"]["target"]
    assert "refused" in told["absent"]["input"]


async def test_what_has_gone_since_is_said(story: Story) -> None:
    row = story.call(prompt="gone", prompt_version=3, release="1" * 32, intent="gone", arm="stable")
    told = (await story.explain(row.request_id)).json()
    assert "no longer declared" in told["absent"]["intent"]
    assert "no longer in the registry" in told["absent"]["prompt"]
    assert "no longer there" in told["absent"]["release"]
    assert told["audit"]["leaves"] == []
    assert "no deed" in told["absent"]["audit.leaves"]


async def test_a_prompt_without_a_release(story: Story) -> None:
    row = story.prompted(release="", arm="")
    told = (await story.explain(row.request_id)).json()
    assert told["release"] is None
    assert "no release" in told["absent"]["release"]
    assert {leaf["action"] for leaf in told["audit"]["leaves"]} <= {"prompts:write", "labels:move"}


async def test_texts_are_for_those_who_may_read_them(story: Story) -> None:
    first = story.call()
    again = story.hit(first.request_id)
    for request_id in (first.request_id, again.request_id):
        without = await story.explain(request_id)
        assert "Zoe" not in without.text and "Done" not in without.text
        told = (await story.explain(request_id, READER | {"traces:text"})).json()
        assert (told["input"]["input_text"], told["input"]["output_text"]) == ("Help Zoe", "Done")


async def test_requests_of_others_do_not_exist(story: Story) -> None:
    row = story.call()
    assert (await story.explain(row.request_id)).status_code == 200
    for permissions, tenant in ((READER, SIDE), (READER, ABROAD), (ROLES["owner"], ABROAD)):
        told = await story.explain(row.request_id, permissions, tenant)
        assert told.status_code == 404, tenant
        assert told.json()["code"] == "trace_not_found"
    assert (await story.explain(row.request_id, READER | {"projects:write"}, SIDE)).status_code == 200
    assert (await story.explain("nonsense")).status_code == 404
    assert (await story.explain(row.request_id, ROLES["service"])).status_code == 403


async def test_a_release_of_another_project_is_not_told(story: Story) -> None:
    row = story.prompted(project=story.plane.projects[SIDE])
    told = (await story.explain(row.request_id, READER, SIDE)).json()
    assert told["release"] is None
    assert told["prompt"] is None
    assert told["audit"]["leaves"] == []


async def test_one_client_id_for_several_requests(story: Story) -> None:
    rows = []
    for _ in range(3):
        rows.append(story.call(client_request_id="again"))
        story.plane.world.clock.advance(1)
    told = (await story.explain("again")).json()
    assert told["request"]["request_id"] == rows[2].request_id
    assert told["others"] == [rows[1].request_id, rows[0].request_id]
