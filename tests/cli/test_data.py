"""`edgetune data inspect` and `data show`: what they print, what they count as fatal."""

import json
from pathlib import Path
from typing import Any

import pytest

from edgetune.cli.main import run

Output = pytest.CaptureFixture[str]

ROWS: list[dict[str, Any]] = [
    {"instruction": "Say fox.", "output": "fox", "task": "say"},
    {"instruction": "Say dog.", "output": "dog 🙂\ndog", "task": "say"},
    {"instruction": "Say fox again.", "output": "fox", "task": "again"},
    {"instruction": "Say it.", "output": "", "task": "say"},
    {"instruction": "What ends it?", "output": "It is </s> mostly."},
]


def write(file: Path, rows: list[dict[str, Any]]) -> Path:
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    file.write_text(text, encoding="utf-8")
    return file


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write(tmp_path / "rows.jsonl", ROWS)


@pytest.fixture
def colour(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")


def shown(arguments: list[str], capsys: Output) -> str:
    assert run(["data", "show", *arguments]) == 0
    out: str = capsys.readouterr().out
    return out


def test_show_marks_trained_tokens_where_there_is_no_colour(
    data: Path, tiny_model: Path, capsys: Output
) -> None:
    out = shown([str(data), "--model", str(tiny_model), "--rows", "9"], capsys)
    assert "<s> Say fox.\n⟦ fox</s>⟧\n" in out
    assert "<s> Say dog.\n⟦ dog 🙂\ndog</s>⟧\n" in out
    assert f"{data}, line 4: left out\nwarning: " in out
    assert "⟦ It is ‹</s>› mostly.</s>⟧" in out


def test_show_says_what_training_leaves_out(
    tmp_path: Path, tiny_model: Path, capsys: Output
) -> None:
    bad = {"prompt": "Say fox.", "completion": "dog", "label": False}
    long = {"prompt": "Say fox.", "completion": "fox " * 40, "label": True}
    data = [str(write(tmp_path / "rows.jsonl", [bad, long])), "--max-length", "12"]
    data += ["--model", str(tiny_model)]
    out = shown(data, capsys)
    assert out.count(": left out\n") == 2
    assert "undesirable" in out and "more than max_length = 12" in out
    assert "⟦ " not in out
    out = shown([*data, "--line", "2", "--set", "data.overlong=cut"], capsys)
    assert ": 12 tokens, " in out and "so it is cut" in out


def test_inspect_counts_undesirable_rows_alike_with_and_without_a_model(
    tmp_path: Path, tiny_model: Path, capsys: Output
) -> None:
    rows = [
        {"prompt": "Say fox.", "completion": "fox", "label": True},
        {"prompt": "Say dog.", "completion": "fox", "label": False},
        {"prompt": "Say fox.", "completion": "fox", "label": False},
    ]
    data = write(tmp_path / "rows.jsonl", rows)
    for about in ([], ["--model", str(tiny_model)]):
        assert run(["data", "inspect", str(data), "--json", *about]) == 0
        report = json.loads(capsys.readouterr().out)
        assert (report["rows"], report["usable"]) == (3, 1)
        found = {(item["kind"], item["line"]) for item in report["findings"]}
        assert {("undesirable", 2), ("undesirable", 3), ("contradiction", 3)} <= found


def test_show_uses_colour_where_there_is_some(
    data: Path, tiny_model: Path, capsys: Output, colour: None
) -> None:
    out = shown([str(data), "--model", str(tiny_model), "-n", "1"], capsys)
    assert "⟦" not in out
    assert "\x1b[32m fox\x1b[0m\x1b[1;32m</s>\x1b[0m" in out


def test_show_as_json_gives_pieces_ids_and_weights(
    data: Path, tiny_model: Path, tmp_path: Path, capsys: Output
) -> None:
    # The directory has no weights; what is needed of it is its tokenizer.
    (tmp_path / "m").mkdir()
    for file in tiny_model.glob("tokenizer*"):
        (tmp_path / "m" / file.name).symlink_to(file)
    arguments = [str(data), "--model", str(tmp_path / "m"), "--rows", "1", "--json"]
    document = json.loads(shown(arguments, capsys))
    assert document["template"] == "plain"
    [row] = document["rows"]
    [example] = row["examples"]
    trained = [piece["text"] for piece in example["pieces"] if piece["trained"]]
    assert trained == [" fox", "</s>"]
    assert len(example["ids"]) == len(example["weights"]) == example["tokens"]
    assert sum(example["weights"]) == example["trained_tokens"]


def test_show_finds_rows_by_number_line_and_task(
    data: Path, tiny_model: Path, capsys: Output
) -> None:
    about = [str(data), "--model", str(tiny_model)]
    assert "line 2 (say)" in shown([*about, "--row", "2", "-n", "1"], capsys)
    out = shown([*about, "--line", "3"], capsys)
    assert "line 3 (again)" in out
    assert "line 4" not in out
    out = shown([*about, "--task", "say"], capsys)
    assert "line 1" in out and "line 2" in out
    assert "line 3" not in out
    for nothing in (["--line", "99"], ["--task", "none"], ["--row", "9"]):
        assert run(["data", "show", *about, *nothing]) == 2


def test_show_can_be_limited_to_rows_with_problems(
    data: Path, tiny_model: Path, capsys: Output
) -> None:
    out = shown([str(data), "--model", str(tiny_model), "--problems"], capsys)
    assert "line 4: left out" in out
    assert "line 1" not in out
    good = write(data.with_name("good.jsonl"), ROWS[:1])
    assert shown([str(good), "--model", str(tiny_model), "--problems"], capsys) == ""


def test_show_says_weights_and_every_example_of_a_row(
    tmp_path: Path, tiny_model: Path, capsys: Output
) -> None:
    messages = [
        {"role": "user", "content": "fox"},
        {"role": "assistant", "content": "dog", "weight": 0.5},
        {"role": "user", "content": "sky"},
        {"role": "assistant", "content": "blue", "weight": 0},
    ]
    data = write(tmp_path / "rows.jsonl", [{"messages": messages}])
    out = shown([str(data), "--model", str(tiny_model)], capsys)
    assert "⟦×0.5  dog</s>⟧" in out
    assert " blue</s>\n" in out


def test_show_token_by_token(data: Path, tiny_model: Path, capsys: Output) -> None:
    out = shown([str(data), "--model", str(tiny_model), "-n", "1", "--tokens"], capsys)
    rows = [line.split() for line in out.splitlines()[4:]]
    assert rows[0] == ["0", "1", "0", "<s>"]
    assert rows[-1][1:] == ["2", "1", "</s>"]
    assert [int(row[0]) for row in rows] == list(range(len(rows)))


def test_show_obeys_the_template_and_what_is_trained(
    data: Path, tiny_model: Path, capsys: Output
) -> None:
    about = [str(data), "--model", str(tiny_model), "-n", "1"]
    out = shown([*about, "--template", "alpaca"], capsys)
    assert "### Instruction:\nSay fox." in out
    out = shown([*about, "--train-on", "everything"], capsys)
    assert "<s>⟦ Say fox.\n fox</s>⟧" in out


def test_columns_and_a_system_message_can_be_given(
    tmp_path: Path, tiny_model: Path, capsys: Output
) -> None:
    data = write(tmp_path / "rows.jsonl", [{"frage": "Say fox.", "antwort": "fox"}])
    arguments = [str(data), "--model", str(tiny_model), "--format", "question"]
    arguments += ["--column", "question=frage", "--column", "answer=antwort"]
    out = shown([*arguments, "--system", "Be brief."], capsys)
    assert "Be brief.\n\nSay fox.\n⟦ fox</s>⟧" in out
    assert run(["data", "show", *arguments, "--column", "frage"]) == 2


def test_no_row_reaches_the_terminal_as_a_command(
    tmp_path: Path, tiny_model: Path, capsys: Output, colour: None
) -> None:
    data = write(tmp_path / "rows.jsonl", [{"prompt": "a\x1b[2Jb", "completion": "\u202ec"}])
    out = shown([str(data), "--model", str(tiny_model)], capsys)
    assert "\x1b[2J" not in out and "\u202e" not in out
    assert "a␛[2Jb" in out and "<U+202E>c" in out


def test_inspect_prints_what_the_data_holds_and_the_bad_rows(
    data: Path, tiny_model: Path, capsys: Output
) -> None:
    assert run(["data", "inspect", str(data), "--model", str(tiny_model)]) == 0
    out = capsys.readouterr().out
    assert "4 of 5 usable" in out
    assert "plain template" in out
    assert "lengths in tokens" in out
    assert "rows.jsonl, line 4: " in out


def test_inspect_needs_no_model(data: Path, capsys: Output) -> None:
    assert run(["data", "inspect", str(data)]) == 0
    out = capsys.readouterr().out
    assert "4 of 5 usable" in out
    assert "lengths in characters" in out


def test_inspect_as_json_is_the_whole_report(data: Path, tiny_model: Path, capsys: Output) -> None:
    arguments = ["data", "inspect", str(data), "--model", str(tiny_model), "--max-length", "30"]
    assert run([*arguments, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["rows"], report["usable"]) == (5, 4)
    assert report["lengths"]["unit"] == "tokens"
    assert report["limit"]["max_length"] == 30
    assert [item["line"] for item in report["findings"] if item["left_out"]] == [4]
    assert report["counts"]["error"] == 0


def test_inspect_reports_errors_and_ends_with_2(tmp_path: Path, capsys: Output) -> None:
    file = tmp_path / "bad.jsonl"
    file.write_text('{"instruction": "a", "output": "b"}\n{"instruction": \n', encoding="utf-8")
    assert run(["data", "inspect", str(file)]) == 2
    captured = capsys.readouterr()
    assert "bad.jsonl, line 2: " in captured.out
    assert captured.err == "edgetune: The data has 1 error.\n"


def test_inspect_says_why_nothing_is_usable(
    tmp_path: Path, tiny_model: Path, capsys: Output
) -> None:
    data = write(tmp_path / "rows.jsonl", [{"instruction": "a", "output": ""}])
    for about in ([], ["--model", str(tiny_model)]):
        assert run(["data", "inspect", str(data), *about]) == 2
        captured = capsys.readouterr()
        assert "0 of 1 usable" in captured.out
        assert "no usable row" in captured.err


def test_with_strict_warnings_count_as_well(data: Path, capsys: Output) -> None:
    assert run(["data", "inspect", str(data), "--strict"]) == 2
    captured = capsys.readouterr()
    assert "4 of 5 usable" in captured.out
    assert "has 2 warnings" in captured.err


def test_inspect_compares_with_validation_rows(data: Path, tmp_path: Path, capsys: Output) -> None:
    valid = write(tmp_path / "valid.jsonl", ROWS[:1])
    assert run(["data", "inspect", str(data), "--valid", str(valid), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    [leak] = [item for item in report["findings"] if item["kind"] == "leak"]
    assert (leak["file"], leak["line"]) == (str(valid), 1)
    assert report["duplicates"]["leaks"] == 1


def test_inspect_takes_its_sources_from_settings(
    data: Path, tmp_path: Path, capsys: Output
) -> None:
    config = tmp_path / "run.yaml"
    config.write_text(f"data: {{train: [{data}]}}\n", encoding="utf-8")
    assert run(["data", "inspect", "--config", str(config)]) == 0
    assert "4 of 5 usable" in capsys.readouterr().out
    assert run(["data", "inspect"]) == 2
    assert "No data is named" in capsys.readouterr().err


def test_a_missing_file_is_named(tmp_path: Path, capsys: Output) -> None:
    assert run(["data", "inspect", str(tmp_path / "nowhere.jsonl")]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "nowhere.jsonl" in captured.err


EXAMPLES = Path(__file__).resolve().parents[2] / "examples" / "data"


def test_the_faulty_example_is_reported_fault_by_fault(capsys: Output) -> None:
    assert run(["data", "inspect", str(EXAMPLES / "faulty.jsonl"), "--json"]) == 2
    report = json.loads(capsys.readouterr().out)
    found = {item["line"]: item["kind"] for item in report["findings"] if item["line"]}
    assert found == {
        2: "broken",
        3: "duplicate",
        4: "empty",
        5: "role",
        6: "ends-with-user",
        7: "placeholder",
        8: "personal",
        9: "secret",
        10: "number-as-text",
        11: "format",
        12: "truncated",
    }


def test_the_other_examples_are_clean(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    monkeypatch.chdir(EXAMPLES.parents[1])
    config = ["--config", "examples/data/run.yaml", "--model", str(tiny_model)]
    assert run(["data", "inspect", *config, "--strict", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["findings"] == []
    shares = {item["source"]: item["share"] for item in report["sources"] if item["share"]}
    assert shares["examples/data/faq.csv"] > shares["examples/data/chat.jsonl"]
    assert [part["rows"] for part in report["tasks"] if part["part"] == "valid"] != []
