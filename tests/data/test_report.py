"""What is said about data before training, as figures, in colour and as JSON."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgetune.cli.main import run
from edgetune.data.formats import Conversation, Message
from edgetune.data.preview import preview
from edgetune.data.report import inspect
from edgetune.data.template import choose_template
from edgetune.data.tokenizer import Tokenizer

ROWS: list[dict[str, Any]] = [
    {"instruction": "Say fox.", "output": "fox", "task": "say"},
    {"instruction": "Say dog.", "output": "dog 🙂\ndog", "task": "say"},
    {"instruction": "Say fox.", "output": "fox", "task": "again"},
    {"instruction": "Say it.", "output": "", "task": "say"},
    {"instruction": "End it.", "output": "</s>", "extra": 1},
]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    file = tmp_path / "rows.json"
    file.write_text(json.dumps(ROWS, indent=1), encoding="utf-8")
    return file


def test_report_counts_rows_tasks_repeats_and_drops(data: Path) -> None:
    report, conversations = inspect([data])
    assert (report["rows"], report["usable"], len(conversations)) == (5, 4, 4)
    assert report["tasks"] == {"say": 2, "again": 1, "": 1}
    [repeat] = report["repeats"]
    assert (repeat["line"], repeat["same_as"]["line"]) == (12, 2)
    assert [drop["line"] for drop in report["drops"]] == [17]
    assert report["answer_characters"] == {"median": 3, "p90": 9, "p99": 9, "max": 9}
    assert report["answers_per_row"]["max"] == 1


@given(st.text().filter(str.strip), st.text().filter(str.strip))
def test_pieces_are_the_whole_text_each_character_once(
    spm: Tokenizer, question: str, answer: str
) -> None:
    item = Conversation((Message("user", question), Message("assistant", answer)))
    template = choose_template(spm, "auto")
    example, pieces = preview(item, spm, template)
    assert "".join(piece.text for piece in pieces) == template.render(item.messages)
    trained = "".join(piece.text for piece in pieces if piece.trained)
    assert trained == f" {answer.strip()}</s>"
    assert [piece.text for piece in pieces if piece.special] == ["<s>", "</s>"]
    assert example.trained.any()


def test_inspect_prints_figures_and_bad_rows(
    data: Path, tiny_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["data", "inspect", str(data), "--model", str(tiny_model)]) == 0
    out = capsys.readouterr().out
    assert "4 of 5" in out
    assert "trainable rows     3 (max_length 1024)" in out
    assert "keys not used      extra" in out
    assert "2 rows are left out" in out
    assert f"{data}, line 17: message 2 (assistant) is empty" in out
    assert "holds `</s>`, a control token" in out


def test_inspect_as_json_lists_everything(
    data: Path, tiny_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["data", "inspect", str(data), "--model", str(tiny_model), "--max-length", "30"]
    assert run([*arguments, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["usable"] == 4
    model = report["model"]
    assert model["template"] == "plain"
    assert model["rows"] + len(model["drops"]) == 4
    assert model["trained_tokens"] < model["tokens"]
    assert model["longest"] <= 30


def test_show_marks_trained_tokens_where_there_is_no_colour(
    data: Path, tiny_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["data", "show", str(data), "--model", str(tiny_model), "--rows", "9"]) == 0
    out = capsys.readouterr().out
    assert "<s>Say fox.\n⟦ fox</s>⟧\n" in out
    assert "<s>Say dog.\n⟦ dog 🙂\ndog</s>⟧\n" in out
    assert "left out, since message 2 (assistant) holds `</s>`" in out


def test_show_uses_colour_where_there_is_some(
    data: Path,
    tiny_model: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    assert run(["data", "show", str(data), "--model", str(tiny_model), "-n", "1"]) == 0
    out = capsys.readouterr().out
    assert "⟦" not in out
    assert "\x1b[32m fox\x1b[0m" in out


def test_show_as_json_gives_the_pieces(
    data: Path, chatml_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["data", "show", str(data), "--model", str(chatml_dir), "--rows", "1", "--json"]
    # The directory has no weights; what is needed of it is its tokenizer.
    assert run(arguments) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["template"] == "model"
    pieces = document["rows"][0]["pieces"]
    assert [piece["text"] for piece in pieces if piece["trained"]] == ["fox", "<|im_end|>"]


def test_wrong_data_ends_with_status_2_and_one_paragraph(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "bad.jsonl"
    file.write_text('{"instruction": "a", "output": "b"}\n{"instruction": \n')
    assert run(["data", "inspect", str(file)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("edgetune: ")
    assert f"{file}, line 2, column 17" in captured.err
