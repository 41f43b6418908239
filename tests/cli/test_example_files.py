"""Examples out of files: which column becomes what, and what is said of a file that cannot be read."""

import json
from pathlib import Path
from typing import Any

import pytest

from ostinato.cli import example_files
from ostinato.core.errors import Invalid

CSV = '\ufeffquestion,label,customer\n"Where, is it?",lost,c1\nWhen?,late,c2\n'


def read(path: Path, text: str | bytes, **columns: Any) -> list[dict[str, Any]]:
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return list(example_files.read(path, columns))


def test_columns_become_fields(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    mapped = read(path, CSV, input=("question=text",), reference="label", group="customer", metadata=("customer",))
    assert mapped[0] == {
        "inputs": {"text": "Where, is it?"},
        "reference": "lost",
        "group": "c1",
        "metadata": {"customer": "c1"},
        "source": "a.csv:2",
    }
    rest = read(path, CSV, reference="label")
    assert rest[1]["inputs"] == {"question": "When?", "customer": "c2"}
    tabs = read(tmp_path / "a.tsv", CSV.replace(",", "\t").replace("Where\t", "Where,"), reference="label")
    assert len(tabs) == 2


def test_lines_of_json_are_examples_or_rows(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    whole = {"inputs": {"q": [1, None]}, "reference": {"a": 1}, "passages": [{"id": "p"}], "stratum": "s"}
    exported = {**whole, "source": "b.csv:9", "id": "i", "digest": "d", "split": "dev"}
    gone = {"inputs": {}, "id": "i", "digest": "d", "split": "dev", "erased": True}
    lines = "\n\n".join(json.dumps(one) for one in (whole, exported, gone, {"q": 5, "a": 7.5}))
    first, second, third = read(path, lines, reference=None)
    assert first == {**whole, "source": "a.jsonl:1"}
    assert second == {**whole, "source": "b.csv:9"}
    assert third == {"inputs": {"q": 5, "a": 7.5}, "source": "a.jsonl:7"}


def test_odd_files_are_read_for_what_they_say(tmp_path: Path) -> None:
    marked = read(tmp_path / "a.jsonl", "\ufeff\n".encode() + b'{"q": "A?", "a": "b"}\n\n', reference="a")
    assert marked == [{"inputs": {"q": "A?"}, "reference": "b", "source": "a.jsonl:2"}]
    assert (
        len(read(tmp_path / "b.jsonl", "\ufeff" + '{"q": "A?", "a": "b"}\n{"q": "B?", "a": "c"}', reference="a")) == 2
    )
    late = read(tmp_path / "a.csv", "\n\nquestion,label\n\nWhen?,\nWhere?,here\n\n", reference="label")
    assert [one["reference"] for one in late] == [None, "here"], "an empty cell is an answer that is not known"
    assert late[1]["source"] == "a.csv:6"
    frame = read(tmp_path / "b.csv", ",question,label\n0,When?,late\n1,When?,late\n", reference="label")
    assert frame[0]["inputs"] == frame[1]["inputs"] == {"question": "When?"}, "row numbers are no input"


def test_odd_tables_of_parquet(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    path = tmp_path / "a.parquet"
    parquet.write_table(pyarrow.table({"q": ["a", "b"], "label": [1.5, float("nan")]}), path)
    assert [one["reference"] for one in example_files.read(path, {"reference": "label"})] == [1.5, None]
    parquet.write_table(pyarrow.table({"q": ["a"], "label": [float("-inf")]}), path)
    with pytest.raises(Invalid, match=r"a.parquet:1: the column 'label' is infinite"):
        list(example_files.read(path, {}))
    columns = [pyarrow.array(["a"]), pyarrow.array(["b"]), pyarrow.array(["c"])]
    parquet.write_table(pyarrow.Table.from_arrays(columns, names=["q", "label", "label"]), path)
    with pytest.raises(Invalid, match="two columns are called 'label'"):
        list(example_files.read(path, {}))


def test_parquet_is_read(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    path = tmp_path / "a.parquet"
    parquet.write_table(pyarrow.table({"text": ["a", "b"], "label": [1, 2]}), path)
    found = list(example_files.read(path, {"reference": "label"}))
    assert found[1] == {"inputs": {"text": "b"}, "reference": 2, "source": "a.parquet:2"}
    path.write_bytes(b"no parquet")
    with pytest.raises(Invalid, match="cannot be read as Parquet"):
        list(example_files.read(path, {}))


@pytest.mark.parametrize(
    ("name", "text", "columns", "words"),
    [
        ("a.xls", "x", {}, "cannot be read"),
        ("a.csv", CSV, {"reference": "answer"}, "a.csv:2: there is no column 'answer'"),
        ("a.csv", "a,b\n1\n", {}, "a.csv:2: the row has not as many cells"),
        ("a.csv", "a,b\n1,2,3\n", {}, "not as many cells"),
        ("a.csv", b"a\n\xff\xfe\n", {}, "UTF-8"),
        ("a.csv", "q,label,label\n1,2,3\n", {}, "a.csv:1: two columns are called 'label'"),
        ("a.csv", f"q,label\n1,2\n{'x' * 1_100_000},2\n", {}, "a.csv:3: a cell has more than 1,000,000 characters"),
        ("a.csv", 'q,label\n1,2\n"A "b" c,2\n', {}, "a.csv:3 cannot be read as CSV"),
        ("a.csv", "q\nB\n".encode("utf-16"), {}, "a.csv is not in UTF-8"),
        ("a.jsonl", '{"a": "é"}\n'.encode("latin-1"), {}, "a.jsonl:1 is not in UTF-8"),
        ("a.jsonl", '{"a": 1}\n{"a": "' + "x" * 10_000_000 + '"}\n', {}, "a.jsonl:2: the row takes 10,000,0.. bytes"),
        ("a.jsonl", '{"a": ' + "[" * 100_000 + "]" * 100_000 + "}\n", {}, "a.jsonl:1 is nested too deeply"),
        ("a.jsonl", '{"a": 1}\n[1]\n', {}, "a.jsonl:2 is no JSON object"),
        ("a.jsonl", '{"inputs": {"a": 1}, "label": 2}\n', {}, "no field 'label'"),
    ],
)
def test_what_cannot_be_read_is_told_by_its_line(
    tmp_path: Path, name: str, text: Any, columns: Any, words: str
) -> None:
    with pytest.raises(Invalid, match=words):
        read(tmp_path / name, text, **columns)


def test_parts_fit_into_a_request() -> None:
    some = [{"inputs": {"text": "x" * 3_000}} for _ in range(600)] + [{"inputs": {"n": n}} for n in range(1_200)]
    found = list(example_files.parts(some))
    assert [one for part in found for one in part] == some
    assert all(len(part) <= 500 and len(json.dumps(part)) < 1_000_000 for part in found)
    assert len(found) == 5
