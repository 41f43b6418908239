"""What files come to on a server: the steps, their order, and everything that is refused before the first one."""

from typing import Any

import pytest

from ostinato.core.errors import Conflict, Invalid
from ostinato.prompts import Draft, Label, Prompt, Protection, contents, importing
from ostinato.prompts.files import Collection, Pin, PromptFile, VersionFile
from ostinato.prompts.importing import Plan, Standing

PRODUCTION = Label(project_id="p", name="production", protection=Protection(release_required=True), builtin=True)
STAGING = Label(project_id="p", name="staging")
EMPTY = Standing({}, {}, {"production": PRODUCTION, "staging": STAGING})


def text(name: str, *texts: str, kind: Any = "text", **more: Any) -> PromptFile:
    versions = tuple(
        VersionFile(number=n, draft=Draft(text=one), where=f"{name}/{n:04d}") for n, one in enumerate(texts, 1)
    )
    return PromptFile(name=name, kind=kind, versions=versions, **more)


def draft(name: str, one: Draft, digest: str = "") -> PromptFile:
    return PromptFile(name=name, kind="text", versions=(VersionFile(number=1, draft=one, digest=digest),))


class Server:
    """A server without one: steps are carried out on dictionaries."""

    def __init__(self) -> None:
        self.prompts: dict[str, Prompt] = {}
        self.contents: dict[tuple[str, int], Any] = {}
        self.labels = dict(EMPTY.labels)

    @property
    def standing(self) -> Standing:
        versions: dict[str, dict[int, str]] = {name: {} for name in self.prompts}
        for (name, number), content in self.contents.items():
            versions[name][number] = contents.digest(contents.encode(content))
        return Standing(self.prompts, versions, self.labels)

    def piece(self, name: str, number: int) -> Any:
        return self.contents[name, number]

    def plan(self, collection: Collection, **options: Any) -> Plan:
        return importing.plan(collection, self.standing, self.piece, **options)

    def carry_out(self, plan: Plan) -> None:
        import msgspec

        for step in plan.steps:
            if step.action in ("create", "update"):
                assert step.file is not None
                self.prompts[step.prompt] = Prompt(
                    id=step.prompt, org_id="o", project_id="p", name=step.prompt, kind=step.file.kind,
                    description=step.file.description, tags=step.file.tags, intent=step.file.intent,
                    labels=self.prompts[step.prompt].labels if step.action == "update" else {},
                    created_at=0, created_by="", version=1,
                )  # fmt: skip
            elif step.action == "add":
                assert step.draft is not None
                pins = {name: number for name, number in step.draft.partials.items() if isinstance(number, int)}
                content = contents.build(self.prompts[step.prompt].kind, step.draft, pins, self.piece)
                number = sum(name == step.prompt for name, _ in self.contents) + 1
                assert (number, contents.digest(contents.encode(content))) == (step.number, step.digest)
                self.contents[step.prompt, number] = content
            elif step.action == "declare":
                self.labels[step.label] = Label(project_id="p", name=step.label)
            else:
                prompt = self.prompts[step.prompt]
                labels = {**prompt.labels, step.label: step.number}
                self.prompts[step.prompt] = msgspec.structs.replace(prompt, labels=labels)


def actions(plan: Plan) -> list[tuple[Any, ...]]:
    return [(step.action, step.prompt or step.label, step.number) for step in plan.steps]


def test_all_of_it_and_then_nothing_more():
    server = Server()
    collection = Collection(
        (
            text("a", "x {{>foot}}", "y {{>foot}}"),
            text("foot", "bye {{who}}", "see you", kind="partial"),
        ),
        {"a": {"staging": Pin(2), "production": Pin(1), "v1.0": Pin(1)}},
    )
    plan = server.plan(collection)
    assert actions(plan) == [
        ("create", "a", 0),
        ("create", "foot", 0),
        ("add", "foot", 1),
        ("add", "foot", 2),
        ("add", "a", 1),
        ("add", "a", 2),
        ("move", "a", 2),
        ("move", "a", 1),
    ]
    assert [step.draft.partials for step in plan.steps if step.draft and step.prompt == "a"] == [{"foot": 2}] * 2
    assert plan.left == ("'production' of 'a' stays at nothing: only a release moves it to version 1 (--propose).",)
    server.carry_out(plan)
    again = server.plan(collection)
    assert again.steps == () and again.unchanged == 6
    proposed = server.plan(collection, propose=True)
    assert actions(proposed) == [("propose", "a", 1)]


def test_more_is_added_to_what_is_there():
    server = Server()
    server.carry_out(server.plan(Collection((text("a", "one"),))))
    plan = server.plan(Collection((text("a", "one", "two", description="Greets"),)))
    assert actions(plan) == [("update", "a", 0), ("add", "a", 2)]
    only_new = PromptFile(name="a", kind="text", versions=(VersionFile(number=2, draft=Draft(text="two")),))
    assert actions(server.plan(Collection((only_new,)))) == [("add", "a", 2)]


def test_partials_may_be_those_of_the_server():
    server = Server()
    server.carry_out(server.plan(Collection((text("foot", "bye {{who}}", kind="partial"),))))
    plan = server.plan(Collection((text("a", "hi {{>foot}}"),)))
    assert plan.steps[-1].draft is not None and plan.steps[-1].draft.partials == {"foot": 1}


@pytest.mark.parametrize(
    ("file", "told"),
    [
        (text("a", "changed"), "a/0001: version 1 of 'a' says something else there"),
        (text("a", "one", "one"), "a/0002 says the same as version 1 of 'a'"),
        (
            PromptFile(name="a", kind="text", versions=(VersionFile(number=5, draft=Draft(text="x")),)),
            "next version of 'a' is 2",
        ),
        (PromptFile(name="a", kind="chat"), "of kind text there, and of kind chat here"),
        (text("old", "x"), "'old' is archived"),
    ],
)
def test_what_the_server_has_is_not_written_over(file: PromptFile, told: str):
    import msgspec

    server = Server()
    server.carry_out(server.plan(Collection((text("a", "one"), text("old", "one")))))
    server.prompts["old"] = msgspec.structs.replace(server.prompts["old"], archived_at=1)
    with pytest.raises(Conflict) as caught:
        server.plan(Collection((file,)))
    assert told in caught.value.message


@pytest.mark.parametrize(
    ("files", "told"),
    [
        ((text("a", "{{#open}}"),), "a/0001 (text): Line 1"),
        ((text("a", "hi {{>none}}"),), "a/0001: There is no version 1 of the partial 'none'"),
        ((text("a", "hi {{>b}}"), text("b", "x")), "'b' is no partial but of kind text"),
        (
            (text("p", "{{>q}}", kind="partial"), text("q", "{{>p}}", kind="partial")),
            "These partials take one another: p -> q -> p",
        ),
        ((text("p", "{{>p}}", kind="partial"),), "p -> p"),
        (
            (draft("a", Draft(text="x", partials={"p": 1})),),
            "pins the partial 'p', which it does not take",
        ),
        (
            (draft("a", Draft(text="x", params={"zap": 1})),),
            "(params.zap): There is no parameter 'zap'",
        ),
        (
            (draft("a", Draft(text="x"), digest="0" * 64),),
            "was edited after it had been exported",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_before_anything_is_written(files: tuple[PromptFile, ...], told: str):
    with pytest.raises(Invalid) as caught:
        Server().plan(Collection(files))
    assert told in caught.value.message, caught.value.message


def test_labels_are_declared_where_that_is_wanted():
    collection = Collection((text("a", "one"), text("b", "one")), {"a": {"beta": Pin(1)}, "b": {"beta": Pin(1)}})
    with pytest.raises(Invalid, match="no label 'beta'"):
        Server().plan(collection)
    plan = Server().plan(collection, declare=True)
    assert [step.action for step in plan.steps].count("declare") == 1
    Server().carry_out(plan)


def test_a_label_that_names_a_version_for_good_stays():
    server = Server()
    one = Collection((text("a", "one", "two"),), {"a": {"v1.0": Pin(1)}})
    server.carry_out(server.plan(one))
    with pytest.raises(Conflict, match="for good"):
        server.plan(Collection(one.prompts, {"a": {"v1.0": Pin(2)}}))


def test_versions_from_elsewhere_are_numbered_anew():
    server = Server()
    server.carry_out(server.plan(Collection((text("a", "mine", description="kept"),))))
    versions = tuple(VersionFile(number=n, draft=Draft(text=one)) for n, one in ((2, "x"), (5, "mine"), (9, "y")))
    foreign = Collection((PromptFile(name="a", kind="text", versions=versions),), {"a": {"staging": Pin(9)}})
    plan = server.plan(foreign, foreign=True)
    assert actions(plan) == [("add", "a", 2), ("add", "a", 3), ("move", "a", 3)]
    assert plan.unchanged == 1
    server.carry_out(plan)
    assert server.plan(foreign, foreign=True).steps == ()
