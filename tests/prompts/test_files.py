"""Files of prompts: what is written is read back the same, byte for byte; what is wrong is named with file and line."""

import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ostinato.core.errors import Conflict, Invalid
from ostinato.prompts import Draft, Turn, contents, files, folders, toml_text
from ostinato.prompts.files import Collection, Pin, PromptFile, VersionFile

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=60) | st.sampled_from(
    [
        "\n",
        "'''",
        '"""',
        "a'\n'",
        "\r\n",
        "\r",
        '\\"\n',
        "\x00\n\x7f",
        "'''\n\"\"\"",
        "\ufeff",
        "\u2028\n",
        " \n ",
        "\t\n",
        "x\\\ny",
    ]
)
NAMES = st.from_regex(r"[a-z0-9]([a-z0-9._-]{0,8}[a-z0-9])?", fullmatch=True)
LABELS = NAMES | st.just("v1.2.3")
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)
OBJECTS = st.dictionaries(TEXTS, JSON, max_size=4)
TURNS = st.builds(Turn, st.sampled_from(["system", "user", "assistant"]), TEXTS)


@st.composite
def collections(draw: Any) -> Collection:
    prompts: list[PromptFile] = []
    labels: dict[str, dict[str, Pin]] = {}
    for name in sorted(draw(st.sets(st.lists(NAMES, min_size=1, max_size=3).map("/".join), max_size=3))):
        chat = draw(st.booleans())
        versions = tuple(
            VersionFile(
                number=number,
                draft=Draft(
                    format=draw(st.sampled_from(["plain", "jinja2"])),
                    text=None if chat else draw(TEXTS),
                    messages=tuple(draw(st.lists(TURNS, min_size=1, max_size=3))) if chat else None,
                    variables=draw(st.none() | OBJECTS),
                    response_schema=draw(st.none() | OBJECTS),
                    tools=tuple(draw(st.lists(OBJECTS, max_size=2))),
                    params=draw(OBJECTS),
                    partials=draw(st.dictionaries(NAMES, st.integers(1, 99), max_size=2)),
                ),
                message=draw(TEXTS),
                digest=draw(st.sampled_from(["", "ab" * 32])),
            )
            for number in sorted(draw(st.sets(st.integers(1, 99_999), max_size=3)))
        )
        prompts.append(
            PromptFile(
                name=name,
                kind="chat" if chat else "text",
                description=draw(TEXTS),
                tags=tuple(draw(st.lists(TEXTS, max_size=2))),
                intent=draw(NAMES | st.just("")),
                versions=versions,
            )
        )
        if versions:
            pinned = draw(st.dictionaries(LABELS, st.sampled_from(versions), max_size=3))
            labels[name] = {label: Pin(one.number, one.digest) for label, one in sorted(pinned.items())}
    return Collection(tuple(prompts), {name: found for name, found in labels.items() if found})


def without_places(collection: Collection) -> Any:
    import msgspec

    told = msgspec.to_builtins(collection)
    for prompt in told["prompts"]:
        for version in prompt["versions"]:
            version.pop("where")
    return told


@given(collections())
@settings(max_examples=150, deadline=None)
def test_what_is_written_is_read_back_and_written_the_same(collection: Collection):
    try:
        written = files.write(collection)
    except Invalid as error:
        assert "looks like a file" in error.message  # a prompt named a/0001.toml beside one named a
        return
    again = files.read(written)
    assert without_places(again) == without_places(collection)
    assert files.write(again) == written


@given(TEXTS)
@settings(max_examples=300)
def test_texts_are_what_toml_reads(text: str):
    assert tomllib.loads(f"x = {toml_text.text(text)}\ny = 1") == {"x": text, "y": 1}
    assert tomllib.loads(f"{toml_text.key(text)} = 1") == {text: 1}


@given(JSON.filter(lambda value: not toml_text.has_null(value)))
def test_values_keep_their_types(value: Any):
    found = tomllib.loads(f"x = {toml_text.inline(value)}")["x"]
    assert repr(found) == repr(value)


def test_contents_and_digests_survive(tmp_path: Path):
    drafts = [
        Draft(text="Hello {{who}},\nyou said '''{{what}}'''.\r\n", params={"temperature": 1.0, "seed": 1}),
        Draft(
            text="Short {{who}}",
            variables={"type": "object", "properties": {"who": {"type": ["string", "null"], "default": None}}},
            response_schema={"type": "object", "properties": {"a": {"enum": [None, 1, 1.0]}}},
        ),
    ]
    versions: list[VersionFile] = []
    for number, draft in enumerate(drafts, 1):
        content = contents.build("text", draft, {}, pieces)
        digest = contents.digest(contents.encode(content))
        versions.append(VersionFile(number=number, draft=files.draft_of(content), digest=digest))
    collection = Collection((PromptFile(name="a/b", kind="text", versions=tuple(versions)),))
    assert folders.save(collection, tmp_path) == [
        "labels.lock.toml",
        "prompts/a/b/0001.toml",
        "prompts/a/b/0002.toml",
        "prompts/a/b/prompt.toml",
    ]
    assert folders.save(collection, tmp_path) == []
    for version in folders.load(tmp_path).prompts[0].versions:
        content = contents.build("text", version.draft, {}, pieces)
        assert contents.digest(contents.encode(content)) == version.digest


def pieces(name: str, number: int) -> Any:
    raise AssertionError("no partials here")


ABOUT = b'kind = "text"\n'
GOOD = {"prompts/a/prompt.toml": ABOUT, "prompts/a/0001.toml": b'text = "hi"\n'}


@pytest.mark.parametrize(
    ("path", "data", "told"),
    [
        (
            "prompts/a/0002.toml",
            b'text = "x"\ntemprature = 1\n',
            "prompts/a/0002.toml, line 2: there is no 'temprature'",
        ),
        (
            "prompts/a/0002.toml",
            b'[[messages]]\nrole = "user"\ntemplate = "x"\nname = "y"',
            "line 4: there is no 'name'",
        ),
        ("prompts/a/0002.toml", b'text = "x"\n\n[limits]\na = 1', "line 3: there is no 'limits'"),
        ("prompts/a/0002.toml", b"text = 'x\n", "prompts/a/0002.toml is no TOML: "),
        ("prompts/a/0002.toml", b"text = 3", "line 1: Expected `str | null`, got `int`"),
        ("prompts/a/0002.toml", b'text = "x"\nvariables = "{"', "line 2: variables holds no JSON"),
        ("prompts/a/0002.toml", b'text = "x"\nvariables = "[]"', "line 2: Expected `object | null`"),
        (
            "prompts/a/0002.toml",
            b'text = "x"\npartials = {p = "latest"}',
            "the partial 'p' is pinned by its version's number",
        ),
        ("prompts/a/0002.toml", b'text = "x"\nformat = "erb"', "line 2: Invalid enum value 'erb'"),
        ("prompts/a/0002.toml", b"message = 3", "line 1: message is a text"),
        ("prompts/a/0002.toml", b"\xff", "is not UTF-8"),
        ("prompts/a/0002.toml", b"x" * 2_000_000, "at most"),
        ("prompts/a/0000.toml", b'text = "x"', "counted from 1"),
        ("prompts/a/00001.toml", b'text = "x"', "are the same version"),
        ("prompts/a/0001.yaml", b"", "is no file of a prompt"),
        ("prompts/0001.toml", b"", "is no file of a prompt"),
        ("prompts/A/0001.toml", b"", "no name for a prompt"),
        ("prompts/a/../b/0001.toml", b"", "no name for a prompt"),
        ("other.toml", b"", "is no file of a prompt"),
        ("prompts/b/0001.toml", b'text = "x"', "prompts/b/prompt.toml is missing"),
        ("prompts/a/prompt.toml", b'kind = "text"\nowner = "me"', "line 2: there is no 'owner' here. Allowed: kind, "),
        ("prompts/a/prompt.toml", b'kind = "poem"', "Invalid enum value 'poem'"),
        ("prompts/a/prompt.toml", b"", "missing required field `kind`"),
        ("labels.lock.toml", b"[a]\nproduction = 1", "line 2: Expected `object`, got `int`"),
        ("labels.lock.toml", b"a = 1", "'a' is no table of labels"),
        ("labels.lock.toml", b"[a]\nproduction = {version = 2}", "points at version 2, which is not there"),
        ("labels.lock.toml", b"[b]\nproduction = {version = 1}", "there is no folder prompts/b"),
        ("labels.lock.toml", b"[a]\nx = {version = 1, by = 'me'}", "there is no 'by'"),
    ],
)
def test_what_is_wrong_is_named(path: str, data: bytes, told: str):
    files.read(GOOD)
    with pytest.raises(Invalid) as caught:
        files.read({**GOOD, path: data})
    assert told in caught.value.sentence, caught.value.sentence


def test_a_directory_is_read_without_what_is_not_ours(tmp_path: Path):
    for path, data in GOOD.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(data)
    (tmp_path / "README.md").write_text("ours")
    (tmp_path / "prompts/.DS_Store").write_text("theirs")
    (tmp_path / "prompts/.git").mkdir()
    (tmp_path / "prompts/.git/config").write_text("theirs")
    assert [prompt.name for prompt in folders.load(tmp_path).prompts] == ["a"]
    (tmp_path / "prompts/a/notes.txt").write_text("?")
    with pytest.raises(Invalid, match=r"notes\.txt is no file of a prompt"):
        folders.load(tmp_path)
    with pytest.raises(Invalid, match="no folder 'prompts'"):
        folders.load(tmp_path / "prompts")


def test_a_link_out_of_the_directory_is_refused(tmp_path: Path):
    inside = tmp_path / "inside"
    (inside / "prompts/a").mkdir(parents=True)
    (tmp_path / "secret").write_text("text = 'x'")
    (inside / "prompts/a/0001.toml").symlink_to(tmp_path / "secret")
    with pytest.raises(Invalid, match="leads out"):
        folders.load(inside)


def test_nobodys_work_is_written_over(tmp_path: Path):
    def of(text: str, digest: str) -> Collection:
        version = VersionFile(number=1, draft=Draft(text=text, variables={}), digest=digest)
        return Collection((PromptFile(name="a", kind="text", versions=(version,)),))

    folders.save(of("one", "1" * 64), tmp_path)
    with pytest.raises(Conflict, match=r"prompts/a/0001\.toml"):
        folders.save(of("two", "2" * 64), tmp_path)
    mine = tmp_path / "prompts/a/0001.toml"
    mine.write_text('text = "mine"\n')
    with pytest.raises(Conflict):
        folders.save(of("two", "2" * 64), tmp_path)
    assert mine.read_text() == 'text = "mine"\n'
    assert folders.save(of("mine", "3" * 64), tmp_path) == ["prompts/a/0001.toml"]  # now with its digest
