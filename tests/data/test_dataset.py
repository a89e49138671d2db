"""The split is stable and leaks nothing; whatever is left out is accounted for."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgetune.config import DataConfig
from edgetune.data.dataset import Dataset, content_digest, epoch_order, prepare, split
from edgetune.data.formats import Conversation, Message
from edgetune.data.template import choose_template
from edgetune.data.tokenizer import Tokenizer
from edgetune.errors import RequestError


def conversation(number: int) -> Conversation:
    return Conversation((Message("user", f"q{number}"), Message("assistant", f"a{number}")))


def write(folder: Path, *rows: dict[str, Any], name: str = "rows.jsonl") -> str:
    file = folder / name
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(file)


def row(number: int, output: str = "") -> dict[str, Any]:
    return {"instruction": f"Say {number}.", "output": output or f"It is {number}."}


def make(tokenizer: Tokenizer, seed: int = 0, **settings: Any) -> Dataset:
    template = choose_template(tokenizer, "auto")
    return prepare(DataConfig(**settings), seed, tokenizer, template)


@given(
    st.lists(st.integers(0, 40), max_size=60),
    st.floats(0, 1, exclude_max=True),
    st.integers(0, 9),
)
def test_split_keeps_every_row_once_and_equal_rows_together(
    numbers: list[int], fraction: float, seed: int
) -> None:
    train, valid = split([conversation(n) for n in numbers], fraction, seed)
    assert sorted(train + valid) == list(range(len(numbers)))
    assert train == sorted(train)
    assert not {numbers[i] for i in train} & {numbers[i] for i in valid}
    if fraction == 0 or len(set(numbers)) < 2:
        assert not valid
    else:
        assert train
        assert valid


def test_split_takes_about_the_fraction_and_depends_on_the_seed() -> None:
    rows = [conversation(n) for n in range(4000)]
    sizes = [len(split(rows, 0.05, seed)[1]) for seed in range(3)]
    assert all(140 < size < 260 for size in sizes)
    assert split(rows, 0.05, 0) == split(rows, 0.05, 0)
    assert split(rows, 0.05, 0)[1] != split(rows, 0.05, 1)[1]


def test_rows_added_later_move_none_of_the_others() -> None:
    rows = [conversation(n) for n in range(500)]
    before = set(split(rows[:400], 0.1, 3)[1])
    after = set(split(rows, 0.1, 3)[1])
    assert {i for i in after if i < 400} == before


def test_where_a_row_stands_does_not_matter_but_who_says_it_does() -> None:
    same = Conversation(conversation(1).messages, task="t", file="f", line=9)
    assert content_digest(same) == content_digest(conversation(1))
    joined = Conversation((Message("user", "q1a1"),))
    assert content_digest(joined) != content_digest(conversation(1))
    assert content_digest(same, seed=1) != content_digest(same)


@given(st.integers(1, 300), st.integers(0, 2**32), st.integers(0, 20))
def test_an_epoch_visits_every_example_once(n: int, seed: int, epoch: int) -> None:
    order = epoch_order(n, seed, epoch)
    assert sorted(order.tolist()) == list(range(n))
    assert (order == epoch_order(n, seed, epoch)).all()


def test_the_order_of_an_epoch_never_changes_between_versions() -> None:
    # Resuming a run needs the order that it began with.
    assert epoch_order(8, 0, 0).tolist() == [3, 2, 1, 6, 0, 7, 4, 5]
    assert not np.array_equal(epoch_order(8, 0, 1), epoch_order(8, 0, 0))
    assert not np.array_equal(epoch_order(8, 1, 0), epoch_order(8, 0, 0))


def test_everything_left_out_is_listed_with_its_reason(spm: Tokenizer, tmp_path: Path) -> None:
    rows = [row(n) for n in range(20)]
    rows[3]["output"] = " "
    rows[5] = row(5, "long " * 200)
    rows[7] = row(7, "an </s> end")
    file = write(tmp_path, *rows)
    dataset = make(spm, train=[file], max_length=200, valid_fraction=0.2)
    summary = dataset.summary
    assert [(drop["line"], drop["file"]) for drop in summary["drops"]] == [
        (4, file),
        (6, file),
        (8, file),
    ]
    reasons = [drop["reason"] for drop in summary["drops"]]
    assert reasons[0] == "message 2 (assistant) is empty"
    assert reasons[1].endswith("tokens are more than max_length = 200")
    assert "`</s>`, a control token" in reasons[2]
    assert len(dataset.train) + len(dataset.valid) == 17
    assert summary["train"]["rows"] == len(dataset.train)
    assert summary["valid"]["rows"] == len(dataset.valid) > 0
    trained = sum(int(example.trained.sum()) for example in dataset.train)
    assert summary["train"]["trained_tokens"] == trained
    [source] = summary["sources"]
    assert source["sha256"] == hashlib.sha256(Path(file).read_bytes()).hexdigest()
    assert (source["rows"], source["format"], source["use"]) == (20, "alpaca", "train")
    assert json.loads(json.dumps(summary)) == summary | {
        "sources": [{**source, "ignored_keys": list(source["ignored_keys"])}]
    }


def test_validation_conversations_go_with_their_examples(spm: Tokenizer, tmp_path: Path) -> None:
    file = write(tmp_path, *(row(n) for n in range(40)))
    dataset = make(spm, train=[file], valid_fraction=0.3)
    assert [e.line for e in dataset.valid] == [c.line for c in dataset.valid_conversations]


def test_validation_files_are_used_whole_and_leaks_are_noted(
    spm: Tokenizer, tmp_path: Path
) -> None:
    train = write(tmp_path, row(1), row(2), row(2), name="train.jsonl")
    valid = write(tmp_path, row(3), row(1), name="valid.jsonl")
    dataset = make(spm, train=[train], valid=[valid])
    assert (len(dataset.train), len(dataset.valid)) == (3, 2)
    assert dataset.summary["split"] == {"by": "files"}
    assert [source["use"] for source in dataset.summary["sources"]] == ["train", "valid"]
    repeated, leaked = dataset.summary["notes"]
    assert "1 repeat another one" in repeated
    assert f"first in {valid}, line 2" in leaked


def test_equal_rows_alone_leave_no_validation_and_say_so(spm: Tokenizer, tmp_path: Path) -> None:
    dataset = make(spm, train=[write(tmp_path, row(1), row(1))])
    assert (len(dataset.train), len(dataset.valid)) == (2, 0)
    assert any("no validation" in note for note in dataset.summary["notes"])


def test_unused_keys_are_noted(spm: Tokenizer, tmp_path: Path) -> None:
    dataset = make(spm, train=[write(tmp_path, {**row(1), "chosen": "x"}, row(2))])
    assert any("`chosen`" in note for note in dataset.summary["notes"])


def test_two_rows_are_enough_for_a_split(spm: Tokenizer, tmp_path: Path) -> None:
    file = write(tmp_path, row(1), row(2))
    for seed in range(5):
        dataset = make(spm, seed, train=[file], valid_fraction=0.01)
        assert (len(dataset.train), len(dataset.valid)) == (1, 1)


def test_data_of_which_nothing_is_left_is_refused(spm: Tokenizer, tmp_path: Path) -> None:
    file = write(tmp_path, row(1), row(2))
    with pytest.raises(RequestError, match=r"no usable row\. .*line 1: \d+ tokens are more"):
        make(spm, train=[file], max_length=8)
    with pytest.raises(RequestError, match="no usable row"):
        make(spm, train=[file], valid=[write(tmp_path, row(3, "x" * 3000), name="v.jsonl")])
    with pytest.raises(RequestError, match="No training data"):
        make(spm)
