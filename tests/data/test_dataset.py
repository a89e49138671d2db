"""The split is stable and leaks nothing; whatever is left out is accounted for."""

import hashlib
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgetune.config import DataConfig
from edgetune.data.conversation import Conversation, Finding, Message, content_digest
from edgetune.data.dataset import Dataset, prepare, refuse
from edgetune.data.mixture import epoch_order
from edgetune.data.split import by_row, stack
from edgetune.data.template import Example
from edgetune.data.templates.builtin import PLAIN, choose_template
from edgetune.data.tokenizer import Tokenizer
from edgetune.data.tokens.part import Part
from edgetune.errors import RequestError


def conversation(number: int) -> Conversation:
    return Conversation((Message("user", f"q{number}"), Message("assistant", f"a{number}")))


def split(rows: Sequence[Conversation], fraction: float, seed: int) -> tuple[list[int], list[int]]:
    out = by_row(stack(content_digest(item, seed) for item in rows), fraction)
    return np.flatnonzero(~out).tolist(), np.flatnonzero(out).tolist()


def write(folder: Path, *rows: dict[str, Any], name: str = "rows.jsonl") -> str:
    file = folder / name
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(file)


def row(number: int, output: str = "", **more: Any) -> dict[str, Any]:
    return {"instruction": f"Say {number}.", "output": output or f"It is {number}.", **more}


def make(tokenizer: Tokenizer, seed: int = 0, **settings: Any) -> Dataset:
    config = DataConfig.model_validate(settings)
    return prepare(config, seed, tokenizer, choose_template(tokenizer, config))


def examples(part: Part) -> list[Example]:
    return list(part.examples())


def kinds(dataset: Dataset) -> list[tuple[str, int, bool]]:
    return [(item.kind, item.line, item.left_out) for item in dataset.findings]


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


def test_the_split_never_changes_between_versions() -> None:
    # Resuming a run needs the rows that it began with.
    rows = [conversation(n) for n in range(40)]
    assert split(rows, 0.1, 0)[1] == [9, 21, 23, 24]
    assert split(rows, 0.1, 3)[1] == [2, 17, 19, 24]


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


def test_the_order_of_an_epoch_never_changes_between_versions(
    spm: Tokenizer, tmp_path: Path
) -> None:
    # Resuming a run needs the order that it began with.
    assert epoch_order(8, 0, 0).tolist() == [3, 2, 1, 6, 0, 7, 4, 5]
    assert not np.array_equal(epoch_order(8, 0, 1), epoch_order(8, 0, 0))
    assert not np.array_equal(epoch_order(8, 1, 0), epoch_order(8, 0, 0))
    file = write(tmp_path, *(row(n) for n in range(30)))
    for seed in (0, 4):
        dataset = make(spm, seed, train=[file])
        for epoch in range(3):
            expected = epoch_order(len(dataset.train), seed, epoch)
            assert np.array_equal(dataset.mixture.order(epoch), expected)


@pytest.mark.parametrize("seed", [0, 7])
def test_rows_are_held_out_by_their_content_and_the_seed(
    spm: Tokenizer, tmp_path: Path, seed: int
) -> None:
    rows = [row(n % 35) for n in range(40)]
    file = write(tmp_path, *rows)
    dataset = make(spm, seed, train=[file], valid_fraction=0.2)
    said = [
        Conversation((Message("user", r["instruction"]), Message("assistant", r["output"])))
        for r in rows
    ]
    train, valid = split(said, 0.2, seed)
    assert [e.line - 1 for e in dataset.train.examples()] == train
    assert [e.line - 1 for e in dataset.valid.examples()] == valid


def test_everything_left_out_is_listed_with_its_reason(spm: Tokenizer, tmp_path: Path) -> None:
    rows = [row(n) for n in range(20)]
    rows[3]["output"] = " "
    rows[5] = row(5, "long " * 200)
    rows[7]["instruction"] = "Refuse this."
    template = tmp_path / "plain.jinja"
    refusal = "{% if 'Refuse' in messages[0].content %}{{ raise_exception('no') }}{% endif %}"
    template.write_text(refusal + PLAIN, encoding="utf-8")
    file = write(tmp_path, *rows)
    dataset = make(spm, train=[file], max_length=200, valid_fraction=0.2, template=str(template))
    summary = dataset.summary
    found = [item for item in summary["findings"] if item["left_out"]]
    assert [(item["line"], item["file"]) for item in found] == [(4, file), (8, file), (6, file)]
    assert [item["kind"] for item in found] == ["empty", "template", "overlong"]
    assert [item["grade"] for item in found] == ["warning"] * 3
    assert found[1]["message"].endswith("refuses the conversation: no")
    assert found[2]["message"].endswith("tokens are more than max_length = 200")
    assert len(dataset.train) + len(dataset.valid) == 17
    assert summary["train"]["rows"] == len(dataset.train)
    assert summary["valid"]["rows"] == len(dataset.valid) > 0
    trained = sum(int(example.trained.sum()) for example in dataset.train.examples())
    assert summary["train"]["trained_tokens"] == trained
    tokens = sum(len(example.ids) for example in dataset.train.examples())
    assert summary["train"]["tokens"] == tokens
    assert dataset.tokens_per_epoch() == {"tokens": tokens, "trained_tokens": trained}
    [source] = summary["sources"]
    assert source["sha256"] == hashlib.sha256(Path(file).read_bytes()).hexdigest()
    assert (source["rows"], source["formats"], source["use"]) == (20, {"alpaca": 20}, "train")
    assert json.loads(json.dumps(summary)) == summary


def test_an_undesirable_answer_is_left_out_and_said(spm: Tokenizer, tmp_path: Path) -> None:
    good, bad = ({"prompt": f"Say {n}.", "completion": f"{n}", "label": n < 5} for n in (1, 9))
    dataset = make(spm, train=[write(tmp_path, good, bad, row(3))], valid_fraction=0)
    assert [example.line for example in dataset.train.examples()] == [1, 3]
    [finding] = [item for item in dataset.findings if item.kind == "undesirable"]
    assert (finding.grade, finding.line, finding.left_out) == ("note", 2, True)


def test_what_had_to_be_adjusted_is_said_once(chatml: Tokenizer, tmp_path: Path) -> None:
    tool = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}

    def said(number: int) -> dict[str, Any]:
        asked = {"role": "user", "content": f"Say {number}."}
        return {"messages": [asked, {"role": "assistant", "content": "yes"}], "tools": [tool]}

    # The template of this tokenizer knows nothing of tools.
    file = write(tmp_path, *(said(n) if n % 2 else row(n) for n in range(7)))
    dataset = make(chatml, train=[file], valid_fraction=0)
    assert len(dataset.train) == 7
    [finding] = [item for item in dataset.findings if item.kind == "adjusted"]
    assert (finding.grade, finding.line, finding.left_out) == ("note", 2, False)
    assert "tools are left out" in finding.message
    assert finding.message.endswith(", also in 2 other rows")


def test_long_rows_are_cut_only_if_asked_and_what_they_lose_is_said(
    spm: Tokenizer, tmp_path: Path
) -> None:
    rows = [row(1), row(2, "word " * 40), {"instruction": "word " * 60, "output": "short"}]
    file = write(tmp_path, *rows)
    whole = make(spm, train=[file], max_length=1000, valid_fraction=0)
    full = examples(whole.train)
    limit = len(full[1].ids) - 20
    assert len(full[2].ids) > limit + len("short") + 5

    left_out = make(spm, train=[file], max_length=limit, valid_fraction=0)
    assert [e.line for e in left_out.train.examples()] == [1]
    assert kinds(left_out) == [("overlong", 2, True), ("overlong", 3, True)]
    lost = np.count_nonzero(full[1].weights[limit:])
    assert left_out.over["length"].tolist() == [len(full[1].ids), len(full[2].ids)]
    assert left_out.over["lost"].tolist() == [lost, int(full[2].trained.sum())]
    assert left_out.over["valid"].tolist() == [False, False]

    cut = make(spm, train=[file], max_length=limit, valid_fraction=0, overlong="cut")
    first, second = cut.train.examples()
    assert np.array_equal(second.ids, full[1].ids[:limit])
    assert np.array_equal(second.weights, full[1].weights[:limit])
    assert np.array_equal(first.ids, full[0].ids)
    assert kinds(cut) == [("overlong", 2, False), ("overlong", 3, True)]
    assert f"loses {lost} of {int(full[1].trained.sum())} tokens" in cut.findings[0].message
    assert cut.summary["train"] == {
        "rows": 2,
        "tokens": len(first.ids) + limit,
        "trained_tokens": int(first.trained.sum() + second.trained.sum()),
        "longest": limit,
    }


def test_conversations_go_with_their_examples(spm: Tokenizer, tmp_path: Path) -> None:
    one = write(tmp_path, *(row(n) for n in range(40)), name="one.jsonl")
    two = write(tmp_path, *(row(n, task="two") for n in range(60, 90)), name="two.jsonl")
    dataset = make(spm, train=[one, two], valid_fraction=0.3)
    for part in (dataset.train, dataset.valid):
        said = list(part.conversations())
        assert [(e.file, e.line) for e in part.examples()] == [(c.file, c.line) for c in said]
        assert {c.task for c in said} == {"", "two"}
    Path(two).write_text(Path(two).read_text().replace("It is", "It was"), encoding="utf-8")
    with pytest.raises(RequestError, match=r"two\.jsonl changed while it was in use"):
        list(dataset.train.conversations())


def test_the_digest_tells_tokens_weights_and_rows_but_not_files(
    spm: Tokenizer, tmp_path: Path
) -> None:
    def digest(*files: list[dict[str, Any]], **settings: Any) -> str:
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        folder.mkdir()
        names = [write(folder, *rows, name=f"{n}.jsonl") for n, rows in enumerate(files)]
        return make(spm, train=names, valid_fraction=0, **settings).train.digest()

    rows = [row(n) for n in range(6)]
    whole = digest(rows)
    assert digest(rows) == whole
    assert digest(rows[:2], rows[2:]) == whole
    assert digest([{**r, "task": "t"} for r in rows]) == whole
    others = [
        digest(rows[:5]),
        digest([*rows[1:], rows[0]]),
        digest([row(1, "other"), *rows[1:]]),
        digest(rows, train_on="everything"),
        digest(rows, template="chatml"),
    ]
    assert len({whole, *others}) == 6


THINKING = (
    "{% for message in messages %}{% if message.role == 'assistant' %}"
    "<|im_start|>assistant\n"
    "{% if loop.last and message.reasoning_content %}"
    "<think>{{ message.reasoning_content }}</think>{% endif %}"
    "{{ message.content }}<|im_end|>\n"
    "{% else %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def test_what_a_template_makes_of_one_row_stays_together(chatml: Tokenizer, tmp_path: Path) -> None:
    def turns(number: int) -> dict[str, Any]:
        said = [
            {"role": "user", "content": f"first {number}"},
            {"role": "assistant", "content": "one", "reasoning_content": "because"},
            {"role": "user", "content": "second"},
            {"role": "assistant", "content": "two", "reasoning_content": "therefore"},
        ]
        return {"messages": said}

    template = tmp_path / "thinking.jinja"
    template.write_text(THINKING, encoding="utf-8")
    file = write(tmp_path, *(turns(n) if n % 2 else row(n) for n in range(20)))
    dataset = make(chatml, train=[file], template=str(template), valid_fraction=0.2)
    for part in (dataset.train, dataset.valid):
        assert len(part) > 1
        for index, found in enumerate(part):
            assert len({example.line for example in found}) == 1
            assert len(found) == (1 if found[0].line % 2 else 2), index
        assert part.figures()["rows"] == len(part)
        assert part.figures()["examples"] == len(examples(part)) > len(part)
    assert sorted(dataset.mixture.order(0)) == list(range(len(dataset.train)))


def test_validation_files_are_used_whole(spm: Tokenizer, tmp_path: Path) -> None:
    train = write(tmp_path, row(1), row(2), row(2), name="train.jsonl")
    valid = write(tmp_path, row(3), row(1), name="valid.jsonl")
    dataset = make(spm, train=[train], valid=[valid])
    assert (len(dataset.train), len(dataset.valid)) == (3, 2)
    assert dataset.summary["split"] == {"by": "files"}
    assert [source["use"] for source in dataset.summary["sources"]] == ["train", "valid"]


def test_whole_tasks_or_groups_are_held_out(spm: Tokenizer, tmp_path: Path) -> None:
    rows = [row(n, task=f"task {n % 5}", origin=f"page {n // 4}") for n in range(60)]
    file = write(tmp_path, *rows)
    by_task = make(spm, train=[file], valid_tasks=["task 2"])
    assert {e.task for e in by_task.valid.examples()} == {"task 2"}
    assert {e.task for e in by_task.train.examples()} == {f"task {n}" for n in (0, 1, 3, 4)}
    by_group = make(spm, train=[file], split_by="group", group="origin", valid_fraction=0.3)
    sides = [
        {(e.line - 1) // 4 for e in part.examples()} for part in (by_group.train, by_group.valid)
    ]
    assert sides[0]
    assert sides[1]
    assert not sides[0] & sides[1]
    with pytest.raises(RequestError, match="task"):
        make(spm, train=[file], valid_tasks=["task 9"])
    with pytest.raises(RequestError, match="Validation data is named"):
        make(spm, train=[file], valid=[file], valid_tasks=["task 2"])


def test_weights_say_how_often_an_epoch_visits_the_rows_of_a_source(
    spm: Tokenizer, tmp_path: Path
) -> None:
    often = write(tmp_path, *(row(n) for n in range(10)), name="often.jsonl")
    rarely = write(tmp_path, *(row(n) for n in range(50, 60)), name="rarely.jsonl")
    sources = [{"path": often, "weight": 2}, {"path": rarely, "weight": 0.5}]
    dataset = make(spm, train=sources, valid_fraction=0)
    assert dataset.mixture.rows_per_epoch == 25
    files = [dataset.train[int(index)][0].file for index in dataset.mixture.order(0)]
    assert Counter(files) == {often: 20, rarely: 5}
    assert dataset.summary["shares"]["source"] == {often: 0.8, rarely: 0.2}
    tokens = sum(len(dataset.train[int(i)][0].ids) for i in dataset.mixture.order(0))
    assert dataset.tokens_per_epoch()["tokens"] == tokens


def test_equal_rows_alone_leave_no_validation_and_say_so(spm: Tokenizer, tmp_path: Path) -> None:
    dataset = make(spm, train=[write(tmp_path, row(1), row(1))])
    assert (len(dataset.train), len(dataset.valid)) == (2, 0)
    assert any(item.kind == "no-validation" for item in dataset.findings)


def test_unused_keys_are_noted(spm: Tokenizer, tmp_path: Path) -> None:
    dataset = make(spm, train=[write(tmp_path, {**row(1), "mystery": "x"}, row(2))])
    [finding] = dataset.findings
    assert finding.kind == "ignored-keys"
    assert "`mystery`" in finding.message


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
    with pytest.raises(RequestError, match="There is no file"):
        make(spm, train=[str(tmp_path / "gone.jsonl")])


def test_errors_are_refused_and_named_unless_bad_rows_may_be_left_out() -> None:
    errors = [Finding("error", "format", f"fault {n}", "f.jsonl", n) for n in range(1, 8)]
    warning = Finding("warning", "empty", "message 2 (assistant) is empty", "f.jsonl", 9)
    note = Finding("note", "bom", "it has a mark", "f.jsonl")
    refuse([warning, note], DataConfig())
    with pytest.raises(RequestError) as caught:
        refuse([warning, *errors, note], DataConfig())
    assert "f.jsonl, line 1: fault 1; " in caught.value.message
    assert caught.value.message.endswith("f.jsonl, line 5: fault 5; and 2 more.")
    assert "edgetune data inspect" in caught.value.hint
    assert "--set data.bad_rows=leave_out" in caught.value.hint
    assert "Accepted are" in caught.value.hint  # since their format is not known
    refuse([*errors, warning], DataConfig(bad_rows="leave_out"))
    with pytest.raises(RequestError, match="line 9: message 2"):
        refuse([warning, note], DataConfig(strict=True))
    with pytest.raises(RequestError, match="fault 1"):
        refuse(errors, DataConfig(strict=True, bad_rows="leave_out"))
    refuse([note], DataConfig(strict=True))


# Prepares a file and reads every row of it as training would, then says how much memory that took.
_CHILD = """
import resource, sys
from pathlib import Path
from edgetune.config import DataConfig
from edgetune.data.templates.builtin import choose_template
from edgetune.data.dataset import prepare
from edgetune.data.tokenizer import Tokenizer

model, file = sys.argv[1:]
tokenizer = Tokenizer.from_directory(Path(model))
config = DataConfig.model_validate({"train": [file], "max_length": 4096})
for attempt in ("made", "kept"):
    dataset = prepare(config, 0, tokenizer, choose_template(tokenizer, config))
    tokens = sum(len(e.ids) for part in (dataset.train, dataset.valid) for e in part.examples())
    assert sum(1 for _ in dataset.valid.conversations()) == len(dataset.valid)
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(tokens, peak * (1 if sys.platform == "darwin" else 1024))
"""


@pytest.mark.slow
def test_memory_does_not_grow_with_the_data(chatml_dir: Path, tmp_path: Path) -> None:
    def measure(megabytes: int) -> tuple[int, int]:
        file = tmp_path / f"{megabytes}.jsonl"
        with file.open("w", encoding="utf-8") as handle:
            number = 0
            while handle.tell() < megabytes << 20:
                number += 1
                answer = f"The answer to question {number} is a long one. " * 10
                handle.write(json.dumps(row(number, answer)) + "\n")
        child = subprocess.run(
            [sys.executable, "-c", _CHILD, str(chatml_dir), str(file)],
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert child.returncode == 0, child.stderr
        tokens, peak = child.stdout.split()
        return int(tokens), int(peak)

    few, small = measure(2)
    many, large = measure(6)
    # 4 MB more of text become 14 MB more of tokens, of which nothing is held.
    assert 4 * (many - few) > 14 << 20
    assert large - small < 7 << 20
