"""What the report says of tokens, shares and steps is what the run will do."""

import json
from pathlib import Path
from typing import Any

import pytest

from edgetune.config import DataConfig, TrainConfig
from edgetune.data import run_report
from edgetune.data.dataset import Dataset, prepare
from edgetune.data.schedule import forecast, schedule
from edgetune.data.templates.builtin import choose_template
from edgetune.data.token_facts import token_facts
from edgetune.data.tokenizer import Tokenizer


def write(folder: Path, name: str, *rows: dict[str, Any]) -> str:
    file = folder / name
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(file)


def row(number: int, words: int = 1, task: str = "") -> dict[str, Any]:
    answer = " ".join(["word"] * words)
    return {"instruction": f"Say {number}.", "output": f"{number} {answer}", "task": task}


def make(tokenizer: Tokenizer, **settings: Any) -> tuple[Dataset, DataConfig]:
    config = DataConfig.model_validate(settings)
    return prepare(config, 0, tokenizer, choose_template(tokenizer, config)), config


def test_facts_are_those_of_the_examples(spm: Tokenizer, tmp_path: Path) -> None:
    long = [row(90, 60), row(91, 70)]
    file = write(tmp_path, "rows.jsonl", *(row(n, n % 5 + 1) for n in range(30)), *long)
    whole, _ = make(spm, train=[file], max_length=4000, valid_fraction=0)
    lengths = {e.line: len(e.ids) for e in whole.train.examples()}
    trained = {e.line: int(e.trained.sum()) for e in whole.train.examples()}
    limit = max(length for line, length in lengths.items() if line <= 30)
    for overlong in ("leave_out", "cut"):
        dataset, config = make(
            spm, train=[file], max_length=limit, valid_fraction=0.3, overlong=overlong
        )
        facts = token_facts(dataset, config)
        # Rows beyond the limit count with all their tokens, whatever becomes of them.
        assert sorted(facts.length.tolist()) == sorted(lengths.values())
        assert sorted(facts.trained.tolist()) == sorted(trained.values())
        assert (facts.length > limit).sum() == (facts.lost > 0).sum() == 2
        over = facts.lost > 0
        assert facts.lost[over].tolist() == [
            trained[line] - max(0, limit - (lengths[line] - trained[line])) for line in (31, 32)
        ]
        valid = sum(1 for _ in dataset.valid.examples())
        assert facts.valid[~over].sum() <= valid <= facts.valid[~over].sum() + 2
        assert facts.parts["train"] == dataset.summary["train"]
        assert facts.parts["valid"] == dataset.summary["valid"]


def test_shares_and_tokens_of_tasks_and_sources_add_up(spm: Tokenizer, tmp_path: Path) -> None:
    one = write(tmp_path, "one.jsonl", *(row(n, 2, "a" if n % 3 else "b") for n in range(40)))
    two = write(tmp_path, "two.jsonl", *(row(n, 3, "b") for n in range(100, 120)))
    sources = [{"path": one}, {"path": two, "weight": 3}]
    dataset, config = make(spm, train=sources, valid_fraction=0.2)
    found = run_report.examine(dataset, config)
    for by in ("tasks", "sources"):
        for part in ("train", "valid"):
            items = [item for item in found[by] if item["part"] == part]
            for key in ("rows", "tokens", "trained_tokens"):
                assert sum(item[key] for item in items) == found["parts"][part][key]
            share = sum(item["share"] for item in items)
            assert share == pytest.approx(1 if part == "train" else 0)
    [second] = [i for i in found["sources"] if i["source"] == two and i["part"] == "train"]
    visits = 3 * second["rows"]
    assert second["share"] == pytest.approx(visits / dataset.mixture.rows_per_epoch)


def test_the_report_is_kept_for_the_same_data_and_the_plan_is_not(
    spm: Tokenizer, tmp_path: Path
) -> None:
    file = write(tmp_path, "rows.jsonl", *(row(n) for n in range(20)))
    dataset, config = make(spm, train=[file])
    first = run_report.examine(dataset, config, plan={"steps": 3}, model={"name": "m"})
    again = run_report.examine(*make(spm, train=[file]), plan={"steps": 9})
    assert again["plan"] == {"steps": 9}
    assert again | {"plan": None, "model": None} == first | {"plan": None, "model": None}


def test_steps_come_from_epochs_unless_they_are_given(spm: Tokenizer, tmp_path: Path) -> None:
    assert schedule(TrainConfig(epochs=2.5, batch_size=8), 33).steps == 12
    assert schedule(TrainConfig(epochs=0.01, batch_size=8), 33).steps == 1
    given = schedule(TrainConfig(steps=7, batch_size=8), 33)
    assert (given.steps, given.steps_per_epoch, given.validate_every) == (7, 5, 1)
    file = write(tmp_path, "rows.jsonl", *(row(n) for n in range(16)))
    dataset, _ = make(spm, train=[file], valid_fraction=0)
    plan = forecast(TrainConfig(epochs=3, batch_size=8), dataset)
    assert (plan["steps"], plan["steps_per_epoch"], plan["epochs"]) == (6, 2, 3)
    assert plan["trained_tokens"] == 3 * dataset.summary["train"]["trained_tokens"]
    assert plan["tokens"] == 3 * dataset.summary["train"]["tokens"]
