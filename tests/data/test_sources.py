"""Rows come with the line they stand on; damage is named by file, line and column."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgetune.data import sources
from edgetune.errors import RequestError

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**9), 10**9) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


def write(folder: Path, content: str | bytes, name: str = "rows.json") -> Path:
    file = folder / name
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    return file


def lines_and_values(file: Path) -> list[tuple[int, Any]]:
    return [(row.line, row.value) for row in sources.read(file)]


def test_pretty_printed_list_knows_the_line_of_each_row(tmp_path: Path) -> None:
    file = write(tmp_path, '[\n  {"a": 1},\n\n  {\n    "a": 2\n  }, {"a": 3}\n]\n')
    assert lines_and_values(file) == [(2, {"a": 1}), (4, {"a": 2}), (6, {"a": 3})]


def test_json_lines_accept_byte_order_mark_windows_line_ends_and_empty_lines(
    tmp_path: Path,
) -> None:
    file = write(tmp_path, b'\xef\xbb\xbf{"a": 1}\r\n\r\n  \r\n{"a": 2}')
    assert lines_and_values(file) == [(1, {"a": 1}), (4, {"a": 2})]


def test_content_decides_and_not_the_name(tmp_path: Path) -> None:
    assert lines_and_values(write(tmp_path, '{"a": 1}\n{"a": 2}\n', "rows.json"))[1] == (
        2,
        {"a": 2},
    )
    assert lines_and_values(write(tmp_path, '[{"a": 1}]', "rows.jsonl")) == [(1, {"a": 1})]


def test_separators_of_unicode_do_not_count_as_lines(tmp_path: Path) -> None:
    file = write(tmp_path, '{"a": "x\u2028y\x0cz\x85"}\n{"a": 2}\n'.replace("\x0c", "\\f"))
    assert [line for line, _ in lines_and_values(file)] == [1, 2]


@given(st.lists(JSON_VALUES, min_size=1, max_size=5), st.sampled_from([None, 0, 2]), st.booleans())
def test_every_layout_gives_back_the_same_rows(
    tmp_path_factory: pytest.TempPathFactory, rows: list[Any], indent: int | None, escape: bool
) -> None:
    folder = tmp_path_factory.mktemp("rows")
    listed = write(folder, json.dumps(rows, indent=indent, ensure_ascii=escape))
    assert [row.value for row in sources.read(listed)] == rows
    # A first line with a list in it would make the file a list of rows.
    objects = [{"value": row} for row in rows]
    text = "\n".join(json.dumps(row, ensure_ascii=escape) for row in objects)
    assert [row.value for row in sources.read(write(folder, text))] == objects


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ('{"a": 1}\n{"a": tru}\n', "line 2, column 7: broken JSON: expecting value"),
        ('{"a": 1}\n{"a": "cut\n{"a": 3}\n', "line 2, column 7: broken JSON: "),
        ('{"a": 1} {"a": 2}\n', "line 1, column 10: broken JSON: there is more text after the row"),
        ('[\n{"a": 1}\n{"a": 2}]', "line 3, column 1: broken JSON: a comma or `]` is missing"),
        ('[\n{"a": 1},\n{"a": 2}\n', "line 4, column 1: broken JSON: the list of rows is cut off"),
        ('[\n{"a": 1},\n{"a" 2}]', "line 3, column 6: broken JSON: expecting ':' delimiter"),
        ('[{"a": 1}]\n]', "line 2, column 1: broken JSON: there is more text after the list"),
        ("[" * 100_000, "nested too deeply"),
        (
            '{"a": 1}\n{"a": "\xe4"}\n'.encode("latin-1"),
            "line 2: the text is not UTF-8 (byte 0xe4)",
        ),
        (b'\xef\xbb\xbf\n\n"\xff"', "line 3: the text is not UTF-8 (byte 0xff)"),
        ('{\n "data": [{"a": 1}]\n}', "holds one object, not a list of rows (its rows may be"),
        ("", "is empty"),
        (" \n\r\n\t", "is empty"),
        ("[ ]", "empty list"),
        (b"\x1f\x8b\x08\x00\xff\xff", "is compressed"),
    ],
)
def test_damage_is_named(tmp_path: Path, content: str | bytes, expected: str) -> None:
    file = write(tmp_path, content)
    with pytest.raises(RequestError, match=re.escape(expected)) as caught:
        list(sources.read(file))
    assert str(file) in caught.value.message
    assert caught.value.exit_code == 2


def test_missing_file_and_directory_are_request_errors(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="no file"):
        sources.read(tmp_path / "none.json")
    write(tmp_path, "{}", "a.jsonl")
    with pytest.raises(RequestError, match="is a directory") as caught:
        sources.read(tmp_path)
    assert "a.jsonl" in caught.value.hint
