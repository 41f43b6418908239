"""Outcomes as spreadsheets and help desks write them."""

from pathlib import Path

import pytest

from ostinato.cli import kpis
from ostinato.core.errors import Invalid


def read(path: Path, text: str) -> list[tuple[list[int], list[dict[str, str]]]]:
    path.write_bytes(text.encode())
    return list(kpis._parts(path))


@pytest.mark.parametrize("mark", [",", ";", "\t"])
@pytest.mark.parametrize("begins", ["", "\ufeff"])
def test_columns_are_found_whatever_stands_between_them(tmp_path: Path, mark: str, begins: str) -> None:
    lines = ("Session", "TYPE", " value "), ("a, b; c", "csat", "5"), ("t-2", "resolved", "")
    text = begins + "\r\n".join(mark.join(f'"{one}"' for one in line) for line in lines)
    ((numbers, told),) = read(tmp_path / "told.csv", text)
    assert told == [{"session": "a, b; c", "type": "csat", "value": "5"}, {"session": "t-2", "type": "resolved"}]
    assert numbers == [2, 3]


def test_a_cell_of_two_lines_keeps_the_count_of_lines(tmp_path: Path) -> None:
    ((numbers, told),) = read(tmp_path / "told.csv", 'session,type\n"a\nb",resolved\nc,resolved\n')
    assert [one["session"] for one in told] == ["a\nb", "c"] and numbers == [3, 4]


@pytest.mark.parametrize("text", ["", "session\n", "session,type,mood\na,csat,5\n", "a;b\n1;2\n"])
def test_a_file_of_something_else_is_refused_whole(tmp_path: Path, text: str) -> None:
    with pytest.raises(Invalid, match="column"):
        read(tmp_path / "told.csv", text)


def test_bytes_that_are_no_text_say_how_to_save_them(tmp_path: Path) -> None:
    path = tmp_path / "told.csv"
    path.write_bytes(b"session,type\n\xe9t\xe9,resolved\n")
    with pytest.raises(Invalid) as refused:
        list(kpis._parts(path))
    assert "UTF-8" in refused.value.hint
