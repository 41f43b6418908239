"""Prompts and versions: immutable, content-addressed, judged when they are saved; nothing half-written."""

import asyncio
import hashlib
import json

import msgspec
import pytest
from registry_kit import SYSTEM, draft

from ostinato import access, prompts, storage
from ostinato.core.errors import Conflict, Denied, Invalid, LimitReached, NotFound, OstinatoError
from ostinato.prompts import contents, tables, writing


def test_the_revision_makes_what_the_tables_declare(control, schema_drift):
    assert schema_drift(control, tables.metadata) == []


def test_the_revision_can_be_taken_back(control):
    assert storage.downgrade(control, "0004_principals") == "0004_principals"
    storage.migrate(control)


async def test_versions_are_numbered_and_equal_contents_are_one(here):
    await here.prompts.create(SYSTEM, here.project, "support/answer", description="Answers.", tags=["b", "a", "a"])
    first = await here.prompts.add_version(
        SYSTEM, here.project, "support/answer", draft("{{q}}", params={"temperature": 0, "model": "m"}), message="one"
    )
    second = await here.prompts.add_version(SYSTEM, here.project, "support/answer", draft("{{q}}!"))
    same = await here.prompts.add_version(
        SYSTEM, here.project, "support/answer", draft("{{q}}", params={"model": "m", "temperature": 0}), message="again"
    )
    assert (first.version.number, second.version.number, same.version.number) == (1, 2, 1)
    assert (first.created, second.created, same.created) == (True, True, False)
    assert same.version.message == "one"
    assert (first.version.parent, second.version.parent) == (0, 1)
    found = await here.prompts.show(SYSTEM, here.project, "support/answer")
    assert (found.latest, found.tags, found.kind) == (2, ("a", "b"), "chat")
    by_id = await here.prompts.show(SYSTEM, here.project, found.id)
    assert by_id == found


async def test_the_digest_is_the_sha256_of_canonical_json(here):
    await here.save("p", "Grüße {{q}}", params={"model": "m"})
    version = await here.prompts.version(SYSTEM, here.project, "p", 1)
    body = {
        "kind": "chat",
        "messages": [{"role": "user", "template": "Grüße {{q}}"}],
        "params": {"model": "m"},
        "variables": {
            "type": "object",
            "properties": {"q": {"type": "string"}},
            "required": ["q"],
            "additionalProperties": False,
        },
    }
    canonical = json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    assert version.digest == hashlib.sha256(canonical).hexdigest()
    assert contents.encode(version.content).encode() == canonical


NO_NAMES = [
    "",
    "Upper",
    "a b",
    "/a",
    "a/",
    "a//b",
    "a/../b",
    "-a",
    "a@b",
    "a:b",
    "ä",
    "a" * 201,
    "7",
    "a\x00",
    "0" * 32,
]


async def test_names_that_are_none(here):
    for name in NO_NAMES:
        with pytest.raises(Invalid) as caught:
            await here.prompts.create(SYSTEM, here.project, name)
        assert caught.value.param == "name"


async def test_duplicate_names_are_refused_telling_what_is_there(here):
    await here.save("p", "x")
    with pytest.raises(Conflict, match="kind chat, 1 versions") as caught:
        await here.prompts.create(SYSTEM, here.project, "p", kind="text")
    assert caught.value.code == "name_taken"


async def test_one_of_two_who_create_the_same_is_refused(here, open_process):
    other = await open_process()
    results = await asyncio.gather(
        *(process.prompts.create(SYSTEM, here.project, "p") for process in (here, other) * 4), return_exceptions=True
    )
    assert sum(isinstance(result, tuple) for result in results) == 1
    assert all(isinstance(result, tuple | Conflict) for result in results)


async def test_concurrent_edits_are_a_conflict_with_the_current_state(here, open_process):
    other = await open_process()
    await here.save("p", "v1")
    edits = [
        process.prompts.add_version(SYSTEM, here.project, "p", draft(f"edit {number}"), expect=1)
        for number, process in enumerate((here, other) * 3)
    ]
    results = await asyncio.gather(*edits, return_exceptions=True)
    saved = [result for result in results if isinstance(result, prompts.Saved)]
    refused = [result for result in results if isinstance(result, Conflict)]
    assert len(saved) == 1 and len(refused) == 5
    assert "its newest version is 2" in refused[0].message
    assert (await here.prompts.show(SYSTEM, here.project, "p")).latest == 2
    with pytest.raises(Conflict, match="no version yet"):
        await here.prompts.create(SYSTEM, here.project, "q")
        await here.prompts.add_version(SYSTEM, here.project, "q", draft("x"), expect=3)


async def test_versions_written_at_once_are_numbered_without_gaps(here, open_process):
    other = await open_process()
    await here.prompts.create(SYSTEM, here.project, "p")
    await asyncio.gather(
        *(
            process.prompts.add_version(SYSTEM, here.project, "p", draft(f"text {number}"))
            for number, process in enumerate((here, other) * 6)
        )
    )
    found, following = await here.prompts.versions(SYSTEM, here.project, "p", limit=5)
    rest, end = await here.prompts.versions(SYSTEM, here.project, "p", after=following, limit=10)
    assert [one.number for one in (*found, *rest)] == list(range(12, 0, -1))
    assert end is None
    assert all(one.content is None for one in found)


REFUSED = [
    ("chat", {"text": "x"}, "text"),
    ("chat", {}, "messages"),
    ("chat", {"messages": []}, "messages"),
    ("text", {"messages": [{"role": "user", "template": "x"}]}, "messages"),
    ("text", {}, "text"),
    ("text", {"text": "{{#a}}"}, "text"),
    ("text", {"text": "x" * 262_145}, "text"),
    ("chat", {"messages": [{"role": "user", "template": "x"}, {"role": "user", "template": "{{"}]}, "messages.1"),
    ("text", {"text": "{{a}}", "variables": {"properties": {"b": {}}}}, "variables.a"),
    ("text", {"text": "x", "variables": {"type": "array"}}, "variables"),
    ("text", {"text": "x", "variables": {"properties": {"a": {"type": "nonsense"}}}}, "variables"),
    ("text", {"text": "x", "variables": {"properties": {"a": {"$ref": "http://169.254.169.254/x"}}}}, "variables"),
    ("text", {"text": "x", "variables": {"properties": {"a": {"$ref": "file:///etc/passwd"}}}}, "variables"),
    ("text", {"text": "x", "response_schema": {"type": 7}}, "response_schema"),
    ("text", {"text": "x", "params": {"temprature": 1}}, "params.temprature"),
    ("text", {"text": "x", "params": {"temperature": 9}}, "params.temperature"),
    ("text", {"text": "x", "params": {"max_tokens": -1}}, "params.max_tokens"),
    ("text", {"text": "x", "params": {"model": "prompt:x"}}, "params.model"),
    ("text", {"text": "x", "params": {"model": 7}}, "params.model"),
    ("text", {"text": "x", "params": {"stream": True}}, "params.stream"),
    ("text", {"text": "x", "tools": [{"type": "function"}]}, "tools.0.function"),
    ("text", {"text": "{{>gone}}"}, "partials.gone"),
    ("text", {"text": "x", "partials": {"p": 1}}, "partials"),
    ("text", {"text": "{{ 1 + 1 }}", "format": "jinja2"}, "text"),
    ("partial", {"text": "x", "params": {"model": "m"}}, "params"),
    ("partial", {"text": "x", "format": "jinja2"}, "format"),
]


async def test_what_cannot_be_saved_names_the_field_and_leaves_nothing(here):
    for kind in ("chat", "text", "partial"):
        await here.prompts.create(SYSTEM, here.project, f"a-{kind}", kind=kind)
    before, leaves = here.rows(), len(here.leaves())
    for kind, body, param in REFUSED:
        wanted = msgspec.convert(body, prompts.Draft)
        with pytest.raises(Invalid) as caught:
            await here.prompts.add_version(SYSTEM, here.project, f"a-{kind}", wanted)
        assert caught.value.param == param, body
        with pytest.raises(Invalid):
            await here.prompts.create(SYSTEM, here.project, "new", kind=kind, draft=wanted)
    assert (here.rows(), len(here.leaves())) == (before, leaves)


async def test_a_doubling_chain_of_references_is_no_bomb(here):
    defs = {f"a{n}": {"anyOf": [{"$ref": f"#/$defs/a{n + 1}"}] * 2} for n in range(40)} | {"a40": {}}
    schema = {"properties": {"x": {"$ref": "#/$defs/a0"}}, "$defs": defs}
    with pytest.raises(Invalid) as caught:
        await here.save("p", "{{x}}", variables=schema)
    assert caught.value.code == "schema_too_large"


async def test_partials_are_pinned_when_a_version_is_saved(here):
    await here.save("tone", "Be kind.", kind="partial")
    await here.save("p", "{{>tone}} {{q}}")
    await here.save("tone", "Be short.", kind="partial")
    assert here.text("p@1", q="?") == "Be kind. ?"
    assert (await here.prompts.version(SYSTEM, here.project, "p", 1)).content.partials == {"tone": 1}
    # The same words take the newest partial now: that is another version.
    assert await here.save("p", "{{>tone}} {{q}}") == 2
    assert here.text("p@2", q="?") == "Be short. ?"
    assert await here.save("p", "{{>tone}} {{q}}", partials={"tone": 1}) == 1
    with pytest.raises(NotFound, match="'tone' has no version 3"):
        await here.save("p", "{{>tone}}", partials={"tone": 3})


async def test_partials_take_variables_of_their_own(here):
    await here.save("greeting", "Dear {{name}},", kind="partial")
    await here.save("p", "{{>greeting}} {{q}}")
    content = (await here.prompts.version(SYSTEM, here.project, "p", 1)).content
    assert sorted(content.variables["required"]) == ["name", "q"]
    assert here.text("p@1", name="Ann", q="hi") == "Dear Ann, hi"
    with pytest.raises(Invalid) as caught:
        await here.save("p", "{{>greeting}}", variables={"properties": {"q": {}}})
    assert caught.value.param == "variables.name"


async def test_circles_are_refused(here):
    await here.save("a", "x", kind="partial")
    with pytest.raises(Invalid, match="contain itself"):
        await here.save("a", "{{>a}}", kind="partial")
    await here.save("b", "{{>a}}", kind="partial")
    await here.save("c", "{{>b}}", kind="partial")
    with pytest.raises(Invalid, match="contain itself") as caught:
        await here.save("a", "y {{>c}}", kind="partial")
    assert caught.value.code == "cyclic_partial"


async def test_only_partials_are_partials_and_eight_deep_at_most(here):
    await here.save("chat", "x")
    with pytest.raises(Invalid, match="not a partial"):
        await here.save("p", "{{>chat}}")
    await here.save("d0", "x", kind="partial")
    for depth in range(1, 8):
        await here.save(f"d{depth}", f"{{{{>d{depth - 1}}}}}", kind="partial")
    await here.save("p", "{{>d7}}")
    assert here.text("p@1") == "x"
    await here.save("d8", "{{>d7}}", kind="partial")
    with pytest.raises(Invalid, match="8 deep"):
        await here.save("p", "{{>d8}}")


async def test_as_many_versions_as_one_may_have(here, monkeypatch):
    monkeypatch.setattr(writing, "MOST_VERSIONS", 2)
    await here.save("p", "1", "2")
    with pytest.raises(LimitReached):
        await here.save("p", "3")
    assert await here.save("p", "1") == 1


async def test_changes_of_what_is_said_about_a_prompt(here):
    await here.save("p", "x")
    found = await here.prompts.show(SYSTEM, here.project, "p")
    changes = prompts.Changes(description="New.", intent="refunds")
    changed = await here.prompts.update(SYSTEM, here.project, "p", changes, version=found.version)
    assert (changed.description, changed.intent, changed.version) == ("New.", "refunds", 2)
    assert here.resolve("p@1").intent == "refunds"
    with pytest.raises(Conflict, match="it is at version 2"):
        await here.prompts.update(SYSTEM, here.project, "p", changes, version=1)
    with pytest.raises(Invalid) as caught:
        await here.prompts.update(SYSTEM, here.project, "p", prompts.Changes(intent="nobodys"))
    assert caught.value.code == "intent_not_found"
    with pytest.raises(Invalid):
        await here.prompts.create(SYSTEM, here.project, "q", intent="nobodys")
    with pytest.raises(Invalid, match="no tag"):
        await here.prompts.update(SYSTEM, here.project, "p", prompts.Changes(tags=("A b",)))


async def test_archived_prompts_are_out_of_use_until_they_are_restored(here):
    await here.save("tone", "Be kind.", kind="partial")
    await here.save("p", "{{>tone}}")
    await here.prompts.archive(SYSTEM, here.project, "p", reason="unused")
    with pytest.raises(NotFound, match="archived"):
        here.resolve("p@1")
    with pytest.raises(Conflict, match="archived"):
        await here.save("p", "y")
    assert [one.name for one in (await here.prompts.list(SYSTEM, here.project))[0]] == ["tone"]
    away = prompts.Filters(archived=True)
    assert [one.name for one in (await here.prompts.list(SYSTEM, here.project, filters=away))[0]] == ["p"]
    await here.prompts.restore(SYSTEM, here.project, "p")
    assert here.text("p@1") == "Be kind."
    await here.prompts.archive(SYSTEM, here.project, "tone")
    # What is pinned goes on; what is new cannot take it.
    assert here.text("p@1") == "Be kind."
    with pytest.raises(Conflict, match="archived"):
        await here.save("q", "{{>tone}} new")


async def test_lists_are_filtered_and_paged(here):
    for number in range(5):
        await here.prompts.create(SYSTEM, here.project, f"team/p{number}", tags=["odd" if number % 2 else "ev_n"])
    await here.prompts.create(SYSTEM, here.project, "other", kind="text", intent="refunds")

    async def names(**filters):
        return [
            one.name for one in (await here.prompts.list(SYSTEM, here.project, filters=prompts.Filters(**filters)))[0]
        ]

    assert await names(prefix="team/") == [f"team/p{number}" for number in range(5)]
    assert await names(tag="odd") == ["team/p1", "team/p3"]
    assert await names(tag="ev_n") == ["team/p0", "team/p2", "team/p4"]
    assert await names(tag="ev%n") == await names(tag="od") == await names(prefix="%") == []
    assert await names(kind="text") == await names(intent="refunds") == ["other"]
    seen, after = [], None
    while True:
        found, after = await here.prompts.list(SYSTEM, here.project, after=after, limit=2)
        seen += [one.name for one in found]
        if after is None:
            break
    assert seen == ["other", *(f"team/p{number}" for number in range(5))]
    with pytest.raises(Invalid):
        await here.prompts.list(SYSTEM, here.project, limit=501)


async def test_diff_tells_text_variables_parameters_tools_and_partials(here):
    tool = {"type": "function", "function": {"name": "find", "parameters": {}}}
    await here.save("tone", "a", kind="partial")
    await here.save("p", "{{>tone}}\nold {{a}}", params={"model": "m", "top_p": 0.5}, tools=[tool])
    await here.save("tone", "b", kind="partial")
    await here.save("p", "{{>tone}}\nnew {{b}}", params={"model": "n"}, response_schema={"type": "object"})
    diff = await here.prompts.diff(SYSTEM, here.project, "p", 1, 2)
    assert "-old {{a}}\n+new {{b}}" in diff.text and " [user]" in diff.text
    assert [(one.name, one.old is None, one.new is None) for one in diff.variables] == [
        ("a", False, True),
        ("b", True, False),
    ]
    assert [(one.name, one.old, one.new) for one in diff.params] == [("model", "m", "n"), ("top_p", 0.5, None)]
    assert [one.name for one in diff.tools] == ["find"]
    assert [(one.name, one.old, one.new) for one in diff.partials] == [("tone", 1, 2)]
    assert '+  "type": "object"' in diff.response_schema
    assert (await here.prompts.diff(SYSTEM, here.project, "p", 2, 2)).same
    with pytest.raises(NotFound, match="no version 3"):
        await here.prompts.diff(SYSTEM, here.project, "p", 1, 3)


async def test_long_texts_are_compared_in_linear_time(here):
    text = "\n".join("ab" * (n % 3) for n in range(60_000))
    await here.save("p", text, text[:-50_000] + "end")
    assert "@@" in (await here.prompts.diff(SYSTEM, here.project, "p", 1, 2)).text


async def test_dependants_of_a_partial_through_others(here):
    await here.save("base", "x", kind="partial")
    await here.save("mid", "{{>base}}", kind="partial")
    await here.save("p", "{{>mid}}", "{{>base}}", "none")
    await here.label("p", "v1.0.0", 1)
    await here.save("q", "{{>base}} q")
    found = await here.prompts.dependants(SYSTEM, here.project, "base")
    told = [(one.prompt, one.number, one.latest, one.labels, one.partial) for one in found.prompts]
    assert told == [
        ("mid", 1, True, (), "base"),
        ("p", 1, False, ("v1.0.0",), "mid"),
        ("q", 1, True, (), "base"),
    ]
    assert found.complete
    pointing = await here.prompts.dependants(SYSTEM, here.project, "p")
    assert [(one.label, one.number) for one in pointing.labels] == [("v1.0.0", 1)]


async def test_the_linter_speaks_when_a_version_is_saved_and_before(here):
    await here.prompts.create(SYSTEM, here.project, "p")
    saved = await here.prompts.add_version(SYSTEM, here.project, "p", draft("{{timestamp}} {{q}}"))
    assert [one.code for one in saved.findings] == ["no-model", "cache-buster"]
    version = await here.prompts.version(SYSTEM, here.project, "p", 1)
    assert version.findings == saved.findings
    before = here.rows()
    assert await here.prompts.lint(SYSTEM, here.project, "chat", draft("{{timestamp}} {{q}}")) == saved.findings
    assert here.rows() == before


async def test_other_projects_do_not_exist(here):
    elsewhere = await here.access.create_project(
        SYSTEM, "side", "Side", organization=(await here.access.list_organizations(SYSTEM))[0].id
    )
    await here.save("p", "secret")
    stranger = await here.key("prompts:read prompts:write labels:move labels:write", elsewhere.id)
    for reference in (None, elsewhere.id):
        with pytest.raises(NotFound, match="no prompt 'p'"):
            await here.prompts.show(stranger, reference, "p")
        assert (await here.prompts.list(stranger, reference))[0] == []
    with pytest.raises(NotFound, match="no project"):
        await here.prompts.show(stranger, here.project, "p")
    with pytest.raises(NotFound):
        here.prompts.snapshot.value.resolve(elsewhere.id, "p@1")
    mine = (await here.prompts.show(SYSTEM, here.project, "p")).id
    with pytest.raises(NotFound):
        await here.prompts.add_version(stranger, None, mine, draft("x"))
    await here.prompts.create(stranger, None, "p", draft=draft("mine"))
    assert here.text("p@1") == "secret"


async def test_permissions_are_asked_for(here):
    await here.save("p", "x")
    reader, nobody = await here.key("prompts:read"), await here.key("chat:call")
    assert (await here.prompts.show(reader, None, "p")).latest == 1
    for work in (
        lambda who: here.prompts.create(who, None, "q"),
        lambda who: here.prompts.add_version(who, None, "p", draft("y")),
        lambda who: here.prompts.update(who, None, "p", prompts.Changes(description="y")),
        lambda who: here.prompts.archive(who, None, "p"),
        lambda who: here.prompts.move_label(who, None, "p", "v1", 1),
        lambda who: here.prompts.clear_label(who, None, "p", "v1"),
        lambda who: here.prompts.declare_label(who, None, "staging"),
    ):
        with pytest.raises(Denied):
            await work(reader)
    for work in (
        lambda: here.prompts.show(nobody, None, "p"),
        lambda: here.prompts.list(nobody, None),
        lambda: here.prompts.version(nobody, None, "p", 1),
        lambda: here.prompts.lint(nobody, None, "chat", draft("x")),
        lambda: here.prompts.labels(nobody, None),
    ):
        with pytest.raises(Denied):
            await work()


async def test_a_partial_shows_nobody_what_they_may_not_see(here):
    await here.save("hr/policy", "secret", kind="partial")
    await here.save("p", "x")
    editor = await here.key("prompts:read prompts:write")
    denied = access.Rule("deny", frozenset({"prompts:read"}), access.Resource(prompt="hr/*"), "principal:a")
    kept_out = msgspec.structs.replace(editor, rules=(denied,))
    for work in (
        lambda who: here.prompts.create(who, None, "q", draft=draft("{{>hr/policy}}")),
        lambda who: here.prompts.add_version(who, None, "p", draft("{{>hr/policy}}")),
        lambda who: here.prompts.lint(who, None, "chat", draft("{{>hr/policy}}")),
    ):
        with pytest.raises(Denied):
            await work(kept_out)
        await work(editor)
    assert (await here.prompts.show(editor, None, "p")).latest == 2


async def test_nobody_takes_a_prompt_out_of_high_stakes_who_may_not_approve(here):
    await here.prompts.create(SYSTEM, here.project, "p", intent="payments")
    await here.prompts.create(SYSTEM, here.project, "q", intent="refunds")
    editor = await here.key("prompts:read prompts:write")
    for intent in ("", "refunds"):
        with pytest.raises(Denied, match="releases:approve"):
            await here.prompts.update(editor, None, "p", prompts.Changes(intent=intent))
    await here.prompts.update(editor, None, "p", prompts.Changes(intent="payments", description="as it was"))
    await here.prompts.update(editor, None, "q", prompts.Changes(intent="payments"))
    approver = await here.key("prompts:read prompts:write releases:approve")
    assert (await here.prompts.update(approver, None, "q", prompts.Changes(intent=""))).intent == ""


async def test_every_change_is_one_leaf_and_what_fails_leaves_none(here):
    before = len(here.leaves())
    writer = await here.key("prompts:read prompts:write labels:write labels:move")
    before = len(here.leaves())
    await here.prompts.create(writer, None, "p", draft=draft("a"))
    await here.prompts.add_version(writer, None, "p", draft("b"), message="better")
    await here.prompts.add_version(writer, None, "p", draft("b"))  # nothing changes
    await here.prompts.update(writer, None, "p", prompts.Changes(description="d"))
    await here.prompts.declare_label(writer, None, "staging")
    await here.prompts.move_label(writer, None, "p", "staging", 2, reason="try")
    await here.prompts.clear_label(writer, None, "p", "staging")
    await here.prompts.archive(writer, None, "p")
    await here.prompts.restore(writer, None, "p")
    with pytest.raises(OstinatoError):
        await here.prompts.move_label(writer, None, "p", "staging", 9)
    leaves = here.leaves()[before:]
    assert [leaf["action"] for leaf in leaves] == [
        "prompts:write",
        "prompts:write",
        "prompts:write",
        "labels:write",
        "labels:move",
        "labels:move",
        "prompts:write",
        "prompts:write",
    ]
    assert {leaf["actor"] for leaf in leaves} == {f"key:{writer.key_id}"}
    assert leaves[1]["resource"] == f"prompt:{here.project}/p"
    assert leaves[4]["facts"] == {"label": "staging", "from": 0, "to": 2, "move": 1}
    assert "better" not in json.dumps(leaves)


async def test_a_log_that_fails_takes_the_change_with_it(here, monkeypatch):
    await here.save("p", "a")
    before = here.rows()

    def fail(*_arguments, **_options):
        raise RuntimeError("no log")

    monkeypatch.setattr(here.log, "append", fail)
    for work in (
        lambda: here.prompts.add_version(SYSTEM, here.project, "p", draft("b")),
        lambda: here.prompts.create(SYSTEM, here.project, "q", draft=draft("b")),
        lambda: here.prompts.move_label(SYSTEM, here.project, "p", "v1", 1),
        lambda: here.prompts.declare_label(SYSTEM, here.project, "staging"),
    ):
        with pytest.raises(RuntimeError):
            await work()
    assert here.rows() == before
    with pytest.raises(NotFound):
        here.resolve("p@2")
