"""JSON comes as rows with the line they stand on; what is broken is named and left out."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgetune.data import sources
from edgetune.data.conversation import Finding
from edgetune.data.readers import rows, streams
from edgetune.data.sources import FileRead, Row
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


def read(file: Path) -> tuple[list[tuple[int, Any]], list[tuple[str, str, int, str]]]:
    """Lines and values of the rows; grade, kind, line and message of the findings."""
    values, findings = [], []
    for item in sources.read_rows(file):
        if isinstance(item, Row):
            values.append((item.line, item.value))
            said = list(item.findings)
        else:
            said = [item] if isinstance(item, Finding) else []
        assert all(finding.file == str(file) for finding in said)
        findings += [(one.grade, one.kind, one.line, one.message) for one in said]
    return values, findings


def test_a_pretty_printed_list_knows_the_line_of_each_row(tmp_path: Path) -> None:
    file = write(tmp_path, '[\n  {"a": 1},\n\n  {\n    "a": 2\n  }, {"a": 3}\n]\n')
    assert read(file) == ([(2, {"a": 1}), (4, {"a": 2}), (6, {"a": 3})], [])


def test_a_byte_order_mark_and_windows_line_ends_are_said_once(tmp_path: Path) -> None:
    file = write(tmp_path, b'\xef\xbb\xbf{"a": 1}\r\n\r\n  \r\n{"a": 2}')
    values, findings = read(file)
    assert values == [(1, {"a": 1}), (4, {"a": 2})]
    assert [(grade, kind, line) for grade, kind, line, _ in findings] == [
        ("note", "bom", 0),
        ("note", "crlf", 0),
    ]


def test_a_byte_order_mark_between_joined_files_does_no_harm(tmp_path: Path) -> None:
    file = write(tmp_path, b'{"a": 1}\n\xef\xbb\xbf{"a": 2}\n')
    values, findings = read(file)
    assert values == [(1, {"a": 1}), (2, {"a": 2})]
    assert [finding[:3] for finding in findings] == [("note", "bom", 2)]


def test_a_few_windows_line_ends_are_not_said_of_all_lines(tmp_path: Path) -> None:
    for text, said in (
        (b'{"a": 1}\r\n{"a": 2}\n', "some of its lines end"),
        (b'{"a": 1}\r\n', "its"),
    ):
        [(_, kind, _, message)] = read(write(tmp_path, text))[1]
        assert kind == "crlf"
        assert message.startswith(said)


@pytest.mark.parametrize(
    "row",
    [
        {"instruction": "I", "instances": [{"input": "in", "output": "out"}]},
        {"prompt": "P", "completion": "C", "examples": [{"a": 1}]},
        {"rows": [{"a": 1}], "question": "Q", "answer": "A"},
    ],
)
@pytest.mark.parametrize("indent", [None, 2])
def test_a_row_with_a_list_of_such_a_name_is_not_unwrapped(
    tmp_path: Path, row: dict[str, Any], indent: int | None
) -> None:
    assert read(write(tmp_path, json.dumps(row, indent=indent))) == ([(1, row)], [])


def test_content_decides_and_not_the_name(tmp_path: Path) -> None:
    assert read(write(tmp_path, '{"a": 1}\n{"a": 2}\n', "rows.csv"))[0][1] == (2, {"a": 2})
    assert read(write(tmp_path, '[{"a": 1}]', "rows.jsonl"))[0] == [(1, {"a": 1})]
    assert read(write(tmp_path, '[\n{"a": 1}\n]', "rows.txt"))[0] == [(2, {"a": 1})]


def test_separators_of_unicode_do_not_count_as_lines(tmp_path: Path) -> None:
    file = write(tmp_path, '{"a": "x\u2028y\\fz\x85"}\n{"a": 2}\n')
    assert [line for line, _ in read(file)[0]] == [1, 2]


@given(st.lists(JSON_VALUES, min_size=1, max_size=5), st.sampled_from([None, 0, 2]), st.booleans())
def test_every_layout_gives_back_the_same_rows(
    tmp_path_factory: pytest.TempPathFactory, rows: list[Any], indent: int | None, escape: bool
) -> None:
    # A NUL and half a character are refused.
    text = json.dumps(rows, indent=indent, ensure_ascii=escape)
    if "\\u0000" in text:
        return
    folder = tmp_path_factory.mktemp("rows")
    assert [value for _, value in read(write(folder, text))[0]] == rows
    # With a second key no object is a table of columns.
    objects = [{"value": row, "n": 1} for row in rows]
    lines = "\n".join(json.dumps(row, ensure_ascii=escape) for row in objects)
    assert [value for _, value in read(write(folder, lines))[0]] == objects
    pretty = "\n".join(json.dumps(row, ensure_ascii=escape, indent=2) for row in objects)
    assert [value for _, value in read(write(folder, pretty))[0]] == objects
    wrapped = json.dumps({"version": "1", "data": objects}, ensure_ascii=escape, indent=indent)
    assert [value for _, value in read(write(folder, wrapped))[0]] == objects


@given(st.lists(JSON_VALUES, min_size=1, max_size=6), st.sampled_from([None, 1]), st.integers(1, 9))
def test_rows_do_not_depend_on_where_a_chunk_ends(
    tmp_path_factory: pytest.TempPathFactory, values: list[Any], indent: int | None, size: int
) -> None:
    text = json.dumps(values, indent=indent, ensure_ascii=False)
    if "\\u0000" in text:
        return
    file = write(tmp_path_factory.mktemp("rows"), text)
    expected = read(file)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(streams, "CHUNK", size)
        patch.setattr(sources, "CHUNK", 64)
        assert read(file) == expected
    assert [value for _, value in expected[0]] == values


def test_a_list_on_every_line_is_a_row_on_every_line(tmp_path: Path) -> None:
    file = write(tmp_path, '[{"role": "user"}]\n[{"role": "user"}, {"role": "assistant"}]\n')
    values, findings = read(file)
    assert [line for line, _ in values] == [1, 2]
    assert values[0][1] == [{"role": "user"}]
    assert findings == []


def test_objects_one_after_the_other_are_rows(tmp_path: Path) -> None:
    file = write(tmp_path, '{\n  "a": {\n    "b": 1}\n}\n{\n  "a": 2\n}\n{"a": 3}\n')
    assert read(file) == ([(1, {"a": {"b": 1}}), (5, {"a": 2}), (8, {"a": 3})], [])


@pytest.mark.parametrize("key", ["data", "train", "rows", "examples"])
@pytest.mark.parametrize("indent", [None, 2])
def test_the_rows_of_an_object_around_a_list_are_read(
    tmp_path: Path, key: str, indent: int | None
) -> None:
    text = json.dumps({"version": {"a": [1]}, key: [{"q": 1}, {"q": 2}], "z": 1}, indent=indent)
    values, findings = read(write(tmp_path, text))
    assert [value for _, value in values] == [{"q": 1}, {"q": 2}]
    [(grade, kind, _, message)] = findings
    assert (grade, kind) == ("note", "wrapped")
    assert f"`{key}`" in message


def test_a_second_list_in_an_object_is_not_dropped_in_silence(tmp_path: Path) -> None:
    text = json.dumps({"train": [{"a": 1}], "test": [{"a": 2}, {"a": 3}]}, indent=1)
    values, findings = read(write(tmp_path, text))
    assert [value for _, value in values] == [{"a": 1}]
    assert findings[-1][:2] == ("warning", "wrapped")
    assert "the 2 rows in the list `test` are not read" in findings[-1][3]


def test_a_single_row_with_a_list_stays_a_row(tmp_path: Path) -> None:
    row = {"messages": [{"role": "user", "content": "hi"}]}
    for indent in (None, 2):
        assert read(write(tmp_path, json.dumps(row, indent=indent)))[0] == [(1, row)]
    # Rows of their own, each with a list of such a name, are no wrapper.
    lines = '{"data": [{"a": 1}]}\n{"data": [{"a": 2}]}\n'
    assert len(read(write(tmp_path, lines))[0]) == 2


@pytest.mark.parametrize(
    "value",
    [
        {"instruction": {"0": "a", "1": "b"}, "output": {"0": "c", "1": "d"}},
        {"0": {"instruction": "a", "output": "b"}, "1": {"instruction": "c", "output": "d"}},
        {"instruction": ["a", "b"], "output": ["c", "d"]},
        {"columns": ["instruction"], "index": [0], "data": [["a"]]},
    ],
)
def test_a_table_of_columns_is_refused_with_the_way_out(tmp_path: Path, value: Any) -> None:
    with pytest.raises(RequestError, match="not rows") as refusal:
        read(write(tmp_path, json.dumps(value)))
    assert "orient='records'" in refusal.value.hint


GOOD = '{"a": 1}'


@pytest.mark.parametrize(
    ("line", "kind", "words"),
    [
        ('{"a": tru}', "broken", "broken JSON in column 7: expecting value"),
        ('{"a": "cut', "broken", "column 7: the text that begins here is not closed"),
        ('{"a": 1', "broken", "the row is cut off"),
        ('{"a": 1} {"a": 2}', "broken", "column 10: there is more text after the row"),
        ('{"a": 1,}', "broken", "there is a comma before `}`"),
        ('{"a": [1, 2, ]}', "broken", "there is a comma before `]`"),
        ("{'a': 1}", "broken", "in single quotes"),
        ('{"a": True}', "broken", "`True` is Python, not JSON"),
        ('{"a": "x\ty"}', "broken", "line break or control character"),
        ('{"a" 1}', "broken", "column 6: expecting ':' delimiter"),
        ("[" * 100_000, "broken", "nested too deeply"),
        ('{"a":' * 150 + "1" + "}" * 150, "broken", "nested deeper than 100 levels"),
        ('{"a": ' + "9" * 5000 + "}", "broken", "number with thousands of digits"),
        ('{"a": "\xe4"}'.encode("latin-1"), "encoding", "not UTF-8 (byte 0xe4)"),
        (b'{"a": "\0"}', "nul", "holds a NUL byte"),
        (r'{"a": "x\u0000y"}', "nul", "holds a NUL character"),
        (r'{"a": ["\ud83d"]}', "encoding", r"half a character (\ud83d)"),
        (r'{"\udc00": 1}', "encoding", r"half a character (\udc00)"),
    ],
)
def test_a_row_that_cannot_be_used_is_named_and_reading_goes_on(
    tmp_path: Path, line: str | bytes, kind: str, words: str
) -> None:
    data = line.encode() if isinstance(line, str) else line
    file = write(tmp_path, GOOD.encode() + b"\n" + data + b"\n" + GOOD.encode(), "rows.jsonl")
    values, findings = read(file)
    assert [number for number, _ in values] == [1, 3]
    [(grade, found, number, message)] = findings
    assert (grade, found, number) == ("error", kind, 2)
    assert words in message

    listed = b"[\n  " + GOOD.encode() + b",\n  " + data + b",\n  " + GOOD.encode() + b"\n]"
    values, findings = read(write(tmp_path, listed))
    assert {number for number, _ in values} >= {2}
    assert (findings[0][0], findings[0][2]) == ("error", 3)
    if "more text" not in words:
        assert findings[0][1] == kind
        assert [number for number, _ in values] == [2, 4]
        assert len(findings) == 1


def test_a_broken_first_line_does_not_hide_the_rows_behind_it(tmp_path: Path) -> None:
    for first in ('{"a": "cut', '{"a": 1,', "garbage", '{"a": '):
        values, findings = read(write(tmp_path, f"{first}\n{GOOD}\n{GOOD}\n", "rows.jsonl"))
        assert [number for number, _ in values] == [2, 3], first
        assert [finding[:3] for finding in findings] == [("error", "broken", 1)]


def test_a_truncated_last_line_is_an_error(tmp_path: Path) -> None:
    values, findings = read(write(tmp_path, GOOD + '\n{"a": "on and', "rows.jsonl"))
    assert len(values) == 1
    assert findings[0][:3] == ("error", "broken", 2)


def test_a_broken_row_of_a_pretty_printed_list_is_left_out_alone(tmp_path: Path) -> None:
    values = [{"a": index, "b": {"c": [index]}} for index in range(5)]
    text = json.dumps(values, indent=2)
    broken = text.replace('"a": 2,', '"a": 2')
    found, findings = read(write(tmp_path, broken))
    assert [value["a"] for _, value in found] == [0, 1, 3, 4]
    lines = broken.split("\n")
    assert all(lines[number - 1] == "  {" for number, _ in found)
    [(grade, kind, line, message)] = findings
    assert (grade, kind) == ("error", "broken")
    assert lines[line - 1] == "  {"
    place = next(number for number, text in enumerate(lines, 1) if text == '    "a": 2') + 1
    assert f"line {place}, column 5: expecting ',' delimiter" in message


def test_where_the_next_row_begins_is_not_guessed(tmp_path: Path) -> None:
    values, findings = read(write(tmp_path, '[{"a": 1}, {"a" 2}, {"a": 3}]'))
    assert values == [(1, {"a": 1})]
    assert "is not clear where the next begins" in findings[-1][3]
    # Without indentation an object within a row looks like a row.
    text = json.dumps([{"a": [{"b": index}]} for index in (1, 2, 3)], indent=0)
    values, findings = read(write(tmp_path, text.replace('"b": 2', '"b" 2')))
    assert [value for _, value in values] == [{"a": [{"b": 1}]}]
    assert "is not clear where the next begins" in findings[-1][3]


@pytest.mark.parametrize(
    ("content", "count", "line", "words"),
    [
        ('[\n{"a": 1}\n{"a": 2}]', 2, 3, "a comma or `]` is missing before this"),
        ('[\n{"a": 1},\n{"a": 2}\n', 2, 4, "the list of rows is cut off"),
        ('[\n{"a": 1},\n{"a": 2},\n]', 2, 4, "a comma before the `]` that ends the list"),
        ('[\n{"a": 1},,\n{"a": 2}]', 2, 2, "a comma too many"),
        ('[{"a": 1}]\n]', 1, 2, "there is more text after the list"),
        ('{"data": [\n{"a": 1},\n{"a": 2}', 2, 3, "the list of rows is cut off"),
        ('{"data": [\n{"a": 1}\n], oh}', 1, 3, "the object around the rows is damaged here"),
    ],
)
def test_faults_between_rows_are_errors_that_lose_no_row(
    tmp_path: Path, content: str, count: int, line: int, words: str
) -> None:
    values, findings = read(write(tmp_path, content))
    assert len(values) == count
    [(grade, kind, place, message)] = [one for one in findings if one[0] != "note"]
    assert (grade, kind, place) == ("error", "broken", line)
    assert words in message


def test_what_json_lets_pass_is_said(tmp_path: Path) -> None:
    text = '{"a": 1, "b": {"c": 1, "c": 2}, "a": 3}\n{"a": NaN, "b": -Infinity, "c": 1e999}\n'
    values, findings = read(write(tmp_path, text, "rows.jsonl"))
    assert values == [(1, {"a": 3, "b": {"c": 2}}), (2, {"a": None, "b": None, "c": None})]
    assert [finding[:3] for finding in findings] == [
        ("warning", "duplicate-key", 1),
        ("warning", "duplicate-key", 1),
        ("warning", "not-a-number", 2),
    ]
    assert "`c`" in findings[0][3]
    assert "`a`" in findings[1][3]


def test_a_file_without_anything_like_rows_is_refused_early(tmp_path: Path) -> None:
    file = write(tmp_path, "Call me Ishmael.\n" * 5000, "rows.jsonl")
    with pytest.raises(RequestError, match="is not JSON Lines: none of its first 100 lines"):
        read(file)


def test_rows_in_another_encoding_are_named_one_by_one(tmp_path: Path) -> None:
    lines = '{"a": "\xe4"}\n'.encode("latin-1") * 150
    values, findings = read(write(tmp_path, lines, "rows.jsonl"))
    assert values == []
    assert [finding[:3] for finding in findings] == [
        ("error", "encoding", number) for number in range(1, 151)
    ]


@pytest.mark.parametrize("layout", ["lines", "list"])
def test_a_long_row_is_read_and_a_longer_one_is_left_out(
    tmp_path: Path, layout: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = json.dumps({"a": "x" * 50_000_000})
    joined = (f"{GOOD}\n{long}\n{GOOD}\n", f"[\n {GOOD},\n {long},\n {GOOD}\n]")[layout == "list"]
    file = write(tmp_path, joined)
    assert [len(str(value)) > 100 for _, value in read(file)[0]] == [False, True, False]
    monkeypatch.setattr(rows, "LONGEST_ROW", 10_000_000)
    values, findings = read(file)
    assert len(values) == 2
    assert [(grade, kind) for grade, kind, _, _ in findings] == [("error", "broken")]
    assert "longer than 9 MB" in findings[0][3]


def test_the_digest_and_size_are_those_of_the_file(tmp_path: Path) -> None:
    import hashlib

    file = write(tmp_path, f"{GOOD}\n" * 3)
    *_, last = sources.read_rows(file)
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    assert last == FileRead(str(file), digest, 3, 27)
