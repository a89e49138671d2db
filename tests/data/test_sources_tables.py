"""Tables (CSV, TSV, Parquet) and plain text come as rows that know their place."""

import csv
import datetime
import io
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgetune.data import sources
from edgetune.data.conversation import Finding
from edgetune.data.readers import rows
from edgetune.data.sources import Row
from edgetune.errors import RequestError


def write(folder: Path, content: str | bytes, name: str = "rows.csv") -> Path:
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
        findings += [(one.grade, one.kind, one.line, one.message) for one in said]
    return values, findings


def test_records_over_several_lines_know_their_first_one(tmp_path: Path) -> None:
    file = write(tmp_path, 'q,a\n"one\n\ntwo",1\n\nthree,"4 ""x"""\n')
    assert read(file) == (
        [(2, {"q": "one\n\ntwo", "a": "1"}), (6, {"q": "three", "a": '4 "x"'})],
        [],
    )


@pytest.mark.parametrize("mark", [",", ";", "\t"])
@pytest.mark.parametrize("name", ["rows.csv", "rows.tsv", "rows"])
def test_the_delimiter_is_found(tmp_path: Path, mark: str, name: str) -> None:
    text = mark.join(["question", "answer", "id"]) + "\n" + mark.join(["What, is; it?", "b", "1"])
    text = text.replace("What, is; it?", '"What, is; it?"')
    values, _ = read(write(tmp_path, text, name))
    assert values == [(2, {"question": "What, is; it?", "answer": "b", "id": "1"})]


def test_windows_line_ends_do_not_get_into_fields(tmp_path: Path) -> None:
    values, findings = read(write(tmp_path, b'\xef\xbb\xbfq,a\r\n"x\r\ny",1\r\nz,2\r\n'))
    assert values == [(2, {"q": "x\ny", "a": "1"}), (4, {"q": "z", "a": "2"})]
    assert [kind for _, kind, _, _ in findings] == ["bom", "crlf"]


@given(
    st.lists(
        st.tuples(
            st.text(st.characters(exclude_characters="\0\r", codec="utf-8")), st.text('a,;\t"\n ')
        ),
        min_size=1,
        max_size=5,
    ),
    st.sampled_from([",", ";", "\t"]),
)
def test_what_the_csv_module_writes_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, records: list[tuple[str, str]], mark: str
) -> None:
    out = io.StringIO()
    writer = csv.writer(out, delimiter=mark, quoting=csv.QUOTE_ALL, lineterminator="\n")
    writer.writerows([("question", "answer"), *records])
    values, findings = read(write(tmp_path_factory.mktemp("rows"), out.getvalue()))
    assert [(row["question"], row["answer"]) for _, row in values] == records
    assert findings == []
    lines = out.getvalue().split("\n")
    assert all(lines[number - 1].startswith('"') for number, _ in values)


@pytest.mark.parametrize(
    ("record", "kind", "words"),
    [
        (b"only", "broken", "the row has 1 fields, the header 2"),
        (b"a,b,c", "broken", "the row has 3 fields, the header 2"),
        (b'"a" b,c', "broken", "after a closing quote there is something else than `,`"),
        (b"a\rb,c", "broken", "a carriage return inside a field without quotes"),
        (b"\xe4,b", "encoding", "not UTF-8 (byte 0xe4)"),
        (b'"x\n\xe4",b', "encoding", "not UTF-8 (byte 0xe4 in line 4)"),
        (b"a\0,b", "nul", "NUL byte"),
    ],
)
def test_a_record_that_cannot_be_used_is_named_and_reading_goes_on(
    tmp_path: Path, record: bytes, kind: str, words: str
) -> None:
    values, findings = read(write(tmp_path, b"q,a\n1,2\n" + record + b"\n3,4\n"))
    assert [row["q"] for _, row in values] == ["1", "3"]
    [(grade, found, line, message)] = findings
    assert (grade, found, line) == ("error", kind, 3)
    assert words in message


def test_a_quote_that_never_closes_costs_one_row(tmp_path: Path) -> None:
    body = "".join(f"q{index},a{index}\n" for index in range(50))
    values, findings = read(write(tmp_path, f'q,a\nx,y\nz,"open\n{body}'))
    assert [line for line, _ in values] == [2, *range(4, 54)]
    [(grade, kind, line, message)] = findings
    assert (grade, kind, line) == ("error", "broken", 3)
    assert "is never closed" in message


def test_many_open_quotes_take_no_more_than_linear_time(tmp_path: Path) -> None:
    # Every record would reach to the end of the file.
    file = write(tmp_path, "q,a\n" + 'a","b\n' * 100_000)
    start = time.monotonic()
    _, findings = read(file)
    assert time.monotonic() - start < 20
    assert any("are lost with it" in message for *_, message in findings)


def test_a_field_over_the_csv_modules_limit_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write(tmp_path, f"q,a\n1,{'x' * 3_000_000}\n2,y\n")
    assert [len(row["a"]) for _, row in read(file)[0]] == [3_000_000, 1]
    monkeypatch.setattr(rows, "LONGEST_ROW", 2 << 20)
    values, findings = read(file)
    assert [line for line, _ in values] == [3]
    assert findings[0][:3] == ("error", "broken", 2)
    assert "longer than 2 MB" in findings[0][3]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("What is 2+2?,4\nWhat is 3+3?,6\n", "has no header: its first line holds `What is 2+2?`"),
        ("1,2\n3,4\n", "has no header"),
        ("q,a,q\n1,2,3\n", "line 1: two columns have the name `q`"),
        (b"\xe4,b\n1,2\n", "line 1: the text is not UTF-8"),
        ('"q,a\n1,2\n', "line 1: broken table: a quote that opens in this row is never closed"),
        ("q,a\n", "holds no rows"),
    ],
)
def test_a_table_without_usable_names_is_refused(
    tmp_path: Path, content: str | bytes, words: str
) -> None:
    with pytest.raises(RequestError) as refusal:
        read(write(tmp_path, content))
    assert words in refusal.value.message


def test_a_column_of_row_numbers_without_a_name_is_left_out(tmp_path: Path) -> None:
    values, findings = read(write(tmp_path, ",q,a\n0,x,y\n"))
    assert values == [(2, {"q": "x", "a": "y"})]
    assert findings == [("note", "unnamed-column", 1, "column 1 has no name and is left out")]


def test_paragraphs_of_plain_text_are_rows(tmp_path: Path) -> None:
    file = write(tmp_path, "\n one, two\nthree\n \n\nfour\n\n\n", "text.txt")
    assert read(file) == ([(2, {"text": " one, two\nthree"}), (6, {"text": "four"})], [])


def test_a_paragraph_that_is_no_text_is_left_out(tmp_path: Path) -> None:
    values, findings = read(write(tmp_path, b"one\n\ntwo\n\xfftwo\n\nthree\0\n\nfour", "a.md"))
    assert [line for line, _ in values] == [1, 8]
    assert [finding[:3] for finding in findings] == [
        ("error", "encoding", 3),
        ("error", "nul", 6),
    ]


def test_prose_without_an_ending_is_no_table(tmp_path: Path) -> None:
    file = write(tmp_path, "Dear all, this is it.\nYours, me\n", "letter")
    assert read(file)[0] == [(1, {"text": "Dear all, this is it.\nYours, me"})]


def parquet(folder: Path, columns: dict[str, Any], **options: Any) -> Path:
    import pyarrow as pa
    import pyarrow.parquet as pq

    file = folder / "rows.parquet"
    pq.write_table(pa.table(columns), file, **options)
    return file


def test_rows_of_parquet_are_numbered_over_its_groups(tmp_path: Path) -> None:
    chat = [[{"role": "user", "content": str(index)}] for index in range(700)]
    file = parquet(tmp_path, {"messages": chat, "id": list(range(700))}, row_group_size=300)
    values, findings = read(file)
    assert [line for line, _ in values] == list(range(1, 701))
    assert values[650] == (651, {"messages": chat[650], "id": 650})
    assert findings == []
    # The name does not matter.
    assert len(read(file.rename(tmp_path / "rows.json"))[0]) == 700


def test_values_that_json_lacks_become_what_it_has(tmp_path: Path) -> None:
    import pyarrow as pa

    columns = {
        "when": [datetime.datetime(2024, 5, 6, 7, 8), None],
        "bytes": [b"caf\xc3\xa9", b"\xff\xfe"],
        "number": [0.5, float("nan")],
        "map": pa.array([[("a", 1)], []], pa.map_(pa.string(), pa.int64())),
    }
    values, findings = read(parquet(tmp_path, columns))
    assert values[0][1] == {
        "when": "2024-05-06T07:08:00",
        "bytes": "café",
        "number": 0.5,
        "map": {"a": 1},
    }
    assert values[1][1]["bytes"] is None
    assert values[1][1]["number"] is None
    assert sorted(finding[:3] for finding in findings) == [
        ("note", "binary", 2),
        ("warning", "not-a-number", 2),
    ]


def test_calls_in_parquet_have_only_their_own_arguments(tmp_path: Path) -> None:
    calls = [{"name": "f", "arguments": {"a": 1}}, {"name": "g", "arguments": {"b": {"c": "x"}}}]
    messages = [[{"role": "assistant", "content": None, "tool_calls": [call]}] for call in calls]
    values, findings = read(parquet(tmp_path, {"messages": messages}))
    assert findings == []
    assert [value["messages"] for _, value in values] == messages


def test_text_in_parquet_that_is_not_utf8_is_left_out(tmp_path: Path) -> None:
    import pyarrow as pa

    bad = pa.array([b"one", b"\xff", b"three"]).view(pa.string())
    values, findings = read(parquet(tmp_path, {"text": bad, "nul": ["a", "b", "c\0"]}))
    assert [line for line, _ in values] == [1]
    assert [finding[:3] for finding in findings] == [
        ("error", "encoding", 2),
        ("error", "nul", 3),
    ]


def test_damaged_parquet_is_an_error_and_no_traceback(tmp_path: Path) -> None:
    file = parquet(tmp_path, {"text": [str(index) * 50 for index in range(2000)]})
    data = file.read_bytes()
    file.write_bytes(data[:-100])
    with pytest.raises(RequestError, match="damaged Parquet file"):
        read(file)
    middle = len(data) // 3
    file.write_bytes(data[:middle] + bytes(200) + data[middle + 200 :])
    _, findings = read(file)
    assert findings
    assert findings[0][:2] == ("error", "broken")
