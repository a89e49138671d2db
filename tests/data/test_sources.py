"""What a source is, which of its files are read, and files that are not what they should be."""

import gzip
import io
import json
import os
import pickle
import sys
import threading
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import pytest

from edgetune import hub
from edgetune.config import SourceConfig
from edgetune.data import sources
from edgetune.data.conversation import Finding
from edgetune.data.sources import FileRead, Row
from edgetune.errors import RequestError

ROWS = [{"a": index, "text": "é" * index} for index in range(20)]
LINES = "".join(json.dumps(row) + "\n" for row in ROWS).encode()


def zstd(data: bytes) -> bytes:
    import zstandard

    return zstandard.ZstdCompressor().compress(data)


def read(file: Path) -> tuple[list[Any], list[Finding]]:
    items = list(sources.read_rows(file))
    assert isinstance(items[-1], FileRead)
    return (
        [item.value for item in items if isinstance(item, Row)],
        [item for item in items if isinstance(item, Finding)],
    )


def write(folder: Path, content: bytes, name: str = "rows.jsonl") -> Path:
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    return file


def parquet_bytes() -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    out = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(ROWS), out)
    return out.getvalue()


@pytest.mark.parametrize("pack", [gzip.compress, zstd])
@pytest.mark.parametrize(
    "content",
    [LINES, json.dumps(ROWS, indent=1).encode(), parquet_bytes()],
    ids=["lines", "list", "parquet"],
)
def test_compressed_files_are_read_whatever_they_are_called(
    tmp_path: Path, pack: Any, content: bytes
) -> None:
    assert read(write(tmp_path, pack(content), "rows.bin")) == (ROWS, [])


def test_a_compressed_table_is_known_by_its_inner_name(tmp_path: Path) -> None:
    assert read(write(tmp_path, gzip.compress(b"text\none\n"), "rows.csv.gz"))[0] == [
        {"text": "one"}
    ]


@pytest.mark.parametrize("pack", [gzip.compress, zstd])
def test_joined_compressed_files_are_read_as_one(tmp_path: Path, pack: Any) -> None:
    half = LINES.index(b"\n", len(LINES) // 2) + 1
    joined = pack(LINES[:half]) + pack(b"") + pack(LINES[half:])
    assert read(write(tmp_path, joined)) == (ROWS, [])


@pytest.mark.parametrize("pack", [gzip.compress, zstd])
def test_compressed_data_that_is_cut_off_gives_its_rows_and_an_error(
    tmp_path: Path, pack: Any
) -> None:
    import random

    letters = random.Random(0).choices("abcdefghijklmnop", k=3_000_000)
    text = "".join(letters)
    lines = [json.dumps({"a": text[start : start + 1000]}) for start in range(0, len(text), 1000)]
    packed = pack("\n".join(lines).encode())
    values, findings = read(write(tmp_path, packed[: len(packed) // 2]))
    assert 500 < len(values) < 2000
    assert [json.dumps(value) for value in values] == lines[: len(values)]
    [finding] = findings
    assert (finding.grade, finding.kind, finding.line) == ("error", "broken", len(values))
    assert "is cut off; what follows line" in finding.message


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"\x1f\x8b\x08\x00garbage that is not deflate", "(gzip) is damaged"),
        (gzip.compress(LINES)[:9], "(gzip) is cut off"),
        (b"\x28\xb5\x2f\xfdgarbage garbage garbage", "(zstd) is damaged"),
        (gzip.compress(gzip.compress(LINES)), "is compressed twice"),
        (b"", "is empty"),
        (b" \n\r\n\t", "is empty"),
        (b"\xef\xbb\xbf\n", "is empty"),
        (gzip.compress(b""), "is empty"),
        (b"[ ]", "holds no rows"),
        (pickle.dumps(ROWS), "is a Python pickle"),
        (b"ARROW1\0\0rest", "is an Arrow file"),
        (b"\xff\xff\xff\xff\x10\0\0\0", "is an Arrow stream"),
        (b"%PDF-1.7\n", "is a PDF"),
        (b"BZh91AY&SY", "bzip2"),
        (b"SQLite format 3\0", "SQLite"),
        ('﻿{"a": 1}'.encode("utf-16-le"), "is text in UTF-16"),
        (b'{"a": 1}\n'.decode().encode("utf-16-be"), "is text in UTF-16"),
        (bytes(range(256)) * 8, "is not text"),
        (b"PAR1 and nothing else", "damaged Parquet"),
        (bytes(257) + b"ustar\0" + bytes(300), "tar archive"),
    ],
)
def test_a_file_that_holds_no_rows_is_refused_by_what_it_is(
    tmp_path: Path, content: bytes, words: str
) -> None:
    file = write(tmp_path, content)
    with pytest.raises(RequestError) as refusal:
        read(file)
    assert str(file) in refusal.value.message
    assert words in refusal.value.message


def test_an_archive_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("rows.jsonl", LINES)
    with pytest.raises(RequestError, match="ZIP archive"):
        read(file)


@pytest.mark.parametrize("layout", ["lines", "list", "gzip", "zstd", "table", "text"])
def test_memory_does_not_grow_with_the_file(tmp_path: Path, layout: str) -> None:
    row = {"instruction": "What is it? " * 40, "output": "That is it. " * 40}
    text = json.dumps(row)
    record = f'"{row["instruction"]}","{row["output"]}"\n'
    if layout == "list":
        data = ("[" + ", ".join([text] * 15_000) + "]").encode()
    elif layout == "table":
        data = ("instruction,output\n" + record * 15_000).encode()
    elif layout == "text":
        data = (row["output"] + "\n\n").encode() * 30_000
    else:
        data = (text + "\n").encode() * 15_000
        data = {"lines": lambda x: x, "gzip": gzip.compress, "zstd": zstd}[layout](data)
    file = write(tmp_path, data, "rows.txt" if layout == "text" else "rows")
    del data
    tracemalloc.start()
    try:
        count = sum(isinstance(item, Row) for item in sources.read_rows(file))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert count == (30_000 if layout == "text" else 15_000)
    assert peak < 8_000_000  # of 15 MB


def test_progress_goes_from_the_first_byte_to_the_last(tmp_path: Path) -> None:
    file = write(tmp_path, LINES * 2000)
    seen: list[int] = []
    for _ in sources.read_rows(file, seen.append):
        pass
    assert seen == sorted(seen)
    assert len(seen) > 2
    assert seen[-1] == file.stat().st_size


def found(path: Path | str, **options: Any) -> tuple[list[str], str]:
    result = sources.find(SourceConfig(path=str(path), **options))
    names = [file.relative_to(path).as_posix() for file in result.files]
    return names, "; ".join(finding.message for finding in result.findings)


def test_a_directory_gives_its_data_files_and_says_what_it_skips(tmp_path: Path) -> None:
    for name in [
        "b.jsonl",
        "a/x.csv.gz",
        "a/y.parquet",
        "LICENSE",
        "README.md",
        "notes.txt",
        "p.png",
    ]:
        write(tmp_path, b"x", name)
    write(tmp_path, b"", "empty.jsonl")
    write(tmp_path, b"x", ".hidden.jsonl")
    write(tmp_path, b"x", ".git/c.jsonl")
    names, notes = found(tmp_path)
    assert names == ["a/x.csv.gz", "a/y.parquet", "b.jsonl"]
    assert "LICENSE, README.md, notes.txt, p.png: no rows, not read" in notes
    assert "empty.jsonl: empty" in notes
    assert "hidden" not in notes
    assert sources.find_files(SourceConfig(path=str(tmp_path))) == [
        tmp_path / name for name in names
    ]


def test_a_directory_of_texts_is_read_as_texts(tmp_path: Path) -> None:
    for name in ["one.txt", "two.md", "README.md"]:
        write(tmp_path, b"x", name)
    assert found(tmp_path)[0] == ["one.txt", "two.md"]


def test_test_rows_of_a_directory_are_not_trained(tmp_path: Path) -> None:
    for name in ["train.jsonl", "test.jsonl", "valid.jsonl"]:
        write(tmp_path, b"x", name)
    names, notes = found(tmp_path)
    assert names == ["train.jsonl"]
    assert "test.jsonl, valid.jsonl: not of the split `train`, not read" in notes
    assert found(tmp_path, split="validation")[0] == ["valid.jsonl"]
    with pytest.raises(RequestError, match="no split `extra`"):
        found(tmp_path, split="extra")


def test_a_directory_without_data_says_what_is_there(tmp_path: Path) -> None:
    write(tmp_path, b"x", "data-00000-of-00001.arrow")
    with pytest.raises(RequestError, match="there is data-00000") as refusal:
        sources.find(SourceConfig(path=str(tmp_path)))
    assert "Parquet" in refusal.value.hint


@pytest.mark.parametrize("path", ["missing.jsonl", "no/such.json", "./a/b", "/no/such", "a/b/c"])
def test_a_path_that_is_not_there_is_not_looked_for_on_the_network(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "resolve_dataset", None)
    with pytest.raises(RequestError, match="There is no file"):
        sources.find(SourceConfig(path=path))


def test_a_local_path_wins_over_a_name_on_the_hub(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []

    def resolve(*request: Any) -> hub.Dataset:
        asked.append(request)
        return hub.Dataset(request[0], "c0ffee", (tmp_path / "x.jsonl",), ("a note",))

    monkeypatch.setattr(hub, "resolve_dataset", resolve)
    monkeypatch.chdir(tmp_path)
    source = SourceConfig(path="owner/name", subset="main", revision="v1")
    result = sources.find(source)
    assert asked == [("owner/name", "v1", "main", "train")]
    assert (result.revision, result.files) == ("c0ffee", (tmp_path / "x.jsonl",))
    assert [finding.message for finding in result.findings] == ["a note"]
    write(tmp_path, LINES, "owner/name/rows.jsonl")
    assert sources.find(source).files == (Path("owner/name/rows.jsonl"),)
    sources.find(SourceConfig(path="hf:owner/name"))
    assert len(asked) == 2


class Input(io.BytesIO):
    @property
    def buffer(self) -> io.BytesIO:
        return self


def test_standard_input_is_kept_by_its_content(monkeypatch: pytest.MonkeyPatch) -> None:
    source = SourceConfig(path="-")
    sources.kept_input.cache_clear()
    monkeypatch.setattr(sys, "stdin", Input(LINES))
    [file] = sources.find_files(source)
    assert read(file) == (ROWS, [])
    assert sources.find_files(source) == [file]  # it can be asked for again
    sources.kept_input.cache_clear()
    monkeypatch.setattr(sys, "stdin", Input(LINES))
    assert sources.find_files(source) == [file]  # the same content, the same file
    assert list(file.parent.iterdir()) == [file]

    sources.kept_input.cache_clear()
    monkeypatch.setattr(sys, "stdin", Input(b""))
    with pytest.raises(RequestError, match="Nothing comes from standard input"):
        sources.find_files(source)
    assert list(file.parent.iterdir()) == [file]


def test_a_pipe_can_be_named_like_a_file(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_bytes, args=(LINES,))
    writer.start()
    source = SourceConfig(path=str(pipe))
    [file] = sources.find_files(source)
    writer.join()
    assert read(file) == (ROWS, [])
    assert sources.find_files(source) == [file]


EXPECTED = {
    "llama_factory/alpaca_en_demo.json": 999,
    "llama_factory/identity.json": 91,
    "llama_factory/glaive_toolcall_en_demo.json": 300,
    "llama_factory/dpo_en_demo.json": 300,
    "llama_factory/kto_en_demo.json": 300,
    "llama_factory/v1_sft_demo.jsonl": 500,
    "llama_factory/reason_tool_use_demo_50.jsonl": 50,
    "rasbt/instruction-data.json": 1100,
    "rasbt/instruction-data-with-preference.json": 1100,
    "gsm8k/train.jsonl": 7473,
    "gsm8k/test.jsonl": 1319,
    "wikisql/train.jsonl": 1000,
    "wikisql/valid.jsonl": 100,
    "wikisql/test.jsonl": 100,
    "self_instruct/seed_tasks.jsonl": 175,
    "sharegpt/dummy_conversation.json": 500,
    "hh_rlhf/test.jsonl.gz": 2312,
}


def test_public_files_have_the_rows_they_should(shared_data: Path) -> None:
    for name, count in EXPECTED.items():
        values, findings = read(shared_data / "instruct" / name)
        assert (len(values), findings) == (count, []), name
        assert all(isinstance(value, dict) for value in values)
    for file in (shared_data / "eval" / "xstest").glob("*.csv"):
        values, findings = read(file)
        assert len(values) == 450
        assert not [finding for finding in findings if finding.grade != "note"]
    files = list((shared_data / "eval" / "ifeval").rglob("*.jsonl"))
    assert len(files) == 7
    assert all(len(read(file)[0]) == 541 for file in files)
