"""Evaluation: every file counts, and what cannot be used is found before the long work."""

import json
from pathlib import Path

import pytest

from edgetune.errors import RequestError
from edgetune.evaluate import evaluate


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
    good, bad = rows(tmp_path / "good.jsonl", "red"), rows(tmp_path / "bad.jsonl", "cat", "</s>")
    said: list[int] = []
    with pytest.raises(RequestError, match=r"bad\.jsonl, line 2: .*</s>"):
        evaluate(str(tiny_model), [good, bad], progress=lambda done, total: said.append(done))
    assert not said
