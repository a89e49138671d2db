"""Whatever the bytes of a file: rows, findings or an error of ours, and nothing else."""

import importlib.util
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st


@pytest.fixture(scope="module")
def fuzz() -> ModuleType:
    """The check that the coverage-guided fuzzer runs as well."""
    file = Path(__file__).parents[1] / "fuzz" / "fuzz_rows.py"
    spec = importlib.util.spec_from_file_location("fuzz_rows", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz")


SELECTOR = st.integers(0, 20)
PIECES = st.sampled_from(
    [
        *(b"[", b"]", b"{", b"}", b'"', b",", b":", b"\n", b"\r\n", b"\t", b";", b" ", b"\\"),
        *(b"\0", b"\xff", b"\xef\xbb\xbf", b"\\u0000", b"\\ud800", b"NaN", b"1e999", b"-", b"0"),
        *(b'"messages"', b'"role"', b'"user"', b'"assistant"', b'"content"', b'"from"', b'"gpt"'),
        *(b'"data"', b'"instruction"', b'"output"', b'"text"', b'"a"', b"prompt,completion\n"),
        *(
            b"null",
            b"true",
            b"1.5",
            b"[{",
            b"}]",
            b'{"',
            b'":',
            b'""',
            b'","',
            b"PAR1",
            b"\x1f\x8b",
        ),
    ]
)


@settings(max_examples=200)
@given(SELECTOR, st.lists(PIECES, max_size=40))
def test_pieces_of_formats_in_any_order(
    fuzz: ModuleType, folder: Path, selector: int, pieces: list[bytes]
) -> None:
    fuzz.check(bytes([selector]) + b"".join(pieces), folder)


@settings(max_examples=200)
@given(st.data())
def test_damaged_files(fuzz: ModuleType, folder: Path, data: Any) -> None:
    start = data.draw(st.sampled_from(fuzz.BEGINNINGS))
    content = bytearray(start * data.draw(st.integers(1, 3)))
    content[0] = data.draw(SELECTOR)
    for _ in range(data.draw(st.integers(0, 4))):
        at = data.draw(st.integers(1, len(content)))
        until = data.draw(st.integers(at, min(len(content), at + 8)))
        content[at:until] = data.draw(st.binary(max_size=3) | PIECES)
    fuzz.check(bytes(content), folder)


TEXT = st.text(st.characters(codec="utf-8"), max_size=8)
ROLE = st.sampled_from(["user", "assistant", "system", "tool", "human", "gpt", "", "x"])
VALUE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=4,
)
MESSAGE = st.fixed_dictionaries(
    {},
    optional={
        **dict.fromkeys(["role", "from"], ROLE | VALUE),
        **dict.fromkeys(
            ["content", "value", "tool_calls", "weight", "train", "name"], TEXT | VALUE
        ),
    },
)
KEYS = [
    *("instruction", "input", "output", "prompt", "completion", "question", "answer", "text"),
    *("chosen", "rejected", "label", "instances", "inputs", "targets", "task", "system", "tools"),
]
ROW = st.fixed_dictionaries(
    {},
    optional={
        **dict.fromkeys(["messages", "conversations", "chosen"], st.lists(MESSAGE, max_size=4)),
        **dict.fromkeys(KEYS, TEXT | VALUE),
    },
)


@settings(max_examples=150)
@given(st.lists(ROW, min_size=1, max_size=3), st.sampled_from([None, 1]))
def test_rows_of_any_shape(
    fuzz: ModuleType, folder: Path, rows: list[Any], indent: int | None
) -> None:
    fuzz.check(b"\1" + json.dumps(rows, indent=indent).encode(), folder)


def test_the_beginnings_of_the_fuzzer_are_rows(fuzz: ModuleType, folder: Path) -> None:
    assert [fuzz.check(data, folder) > 0 for data in fuzz.BEGINNINGS].count(True) >= 7
