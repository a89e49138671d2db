"""Evaluation: every file counts, and what cannot be used is found before the long work."""

import json
from pathlib import Path

import pytest

from edgetune.data.templates.builtin import PLAIN
from edgetune.data.tokenizer import Tokenizer
from edgetune.errors import RequestError
from edgetune.evaluate import evaluate, template_of
from edgetune.train import train


def rows(file: Path, *answers: str) -> Path:
    file.parent.mkdir(exist_ok=True)
    lines = [json.dumps({"instruction": f"Say {text}.", "output": text}) for text in answers]
    file.write_text("\n".join(lines), encoding="utf-8")
    return file


def test_files_of_the_same_name_are_both_evaluated(tiny_model: Path, tmp_path: Path) -> None:
    one = rows(tmp_path / "a" / "test.jsonl", "red")
    two = rows(tmp_path / "b" / "test.jsonl", "cat")
    other = rows(tmp_path / "a" / "other.jsonl", "dog", "fox")
    [evaluation] = evaluate(str(tiny_model), [one, two, other])
    assert set(evaluation.scores) == {str(one), str(two), "other.jsonl"}
    assert set(evaluation.losses) == set(evaluation.scores)


def test_a_row_that_cannot_be_used_is_named_before_anything_is_answered(
    tiny_model: Path, tmp_path: Path
) -> None:
    good = rows(tmp_path / "good.jsonl", "red")
    call = {"type": "function", "function": {"name": "look", "arguments": {}}}
    calls = {"role": "assistant", "content": "", "tool_calls": [call]}
    asked = {"role": "user", "content": "Look."}
    cases = {
        "bad.jsonl": ({"instruction": "Say cat.", "output": 3, "input": {"a": []}}, "line 2: "),
        "call.jsonl": ({"messages": [asked, calls]}, "line 2: .*a call of a tool"),
        "text.jsonl": ({"text": "running text"}, "line 2: .*does not end with an answer"),
    }
    for name, (row, expected) in cases.items():
        file = rows(tmp_path / name, "cat")
        file.write_text(file.read_text() + "\n" + json.dumps(row), encoding="utf-8")
        said: list[int] = []
        with pytest.raises(RequestError, match=name.replace(".", r"\.") + ".*" + expected):
            evaluate(str(tiny_model), [good, file], progress=lambda done, _: said.append(done))  # noqa: B023
        assert not said


def test_undesirable_answers_are_not_asked_for(tiny_model: Path, tmp_path: Path) -> None:
    file = tmp_path / "kto.jsonl"
    lines = [{"prompt": "Say one.", "completion": "one", "label": good} for good in (True, False)]
    file.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    [evaluation] = evaluate(str(tiny_model), [file])
    assert evaluation.scores["kto.jsonl"].rows == 1


def test_the_template_is_the_one_the_run_was_trained_with(
    tiny_model: Path, rows_file: Path, tmp_path: Path
) -> None:
    template = tmp_path / "my.jinja"
    template.write_text("{# mine #}" + PLAIN, encoding="utf-8")
    data = {"train": [str(rows_file)], "max_length": 64, "template": str(template)}
    given = {"name": "run", "model": str(tiny_model), "data": data, "train": {"steps": 1}}
    run = train(given, runs_dir=tmp_path / "runs").run
    template.unlink()
    tokenizer = Tokenizer.from_directory(tiny_model)
    found = template_of(run, tokenizer)
    assert found.source == "{# mine #}" + PLAIN
    assert found.name == "my.jinja"
    [evaluation] = evaluate(str(run.path), [rows(tmp_path / "one.jsonl", "red")])
    assert evaluation.scores["one.jsonl"].rows == 1
