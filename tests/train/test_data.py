"""What a run is told about its data, and what it does with data that changes or is not good."""

import json
import os
import shutil
import threading
from pathlib import Path
from typing import Any

import pytest

from edgetune import config as settings
from edgetune import events, paths, runs
from edgetune.data import report, sources
from edgetune.data.reading import load
from edgetune.errors import RequestError
from edgetune.train import TrainResult, train

WORDS = ["red", "blue", "green", "one", "two", "three", "dog", "cat"]


def row(question: str, answer: str, **more: Any) -> dict[str, Any]:
    return {"instruction": question, "output": answer, **more}


def rows() -> list[dict[str, Any]]:
    return [row(f"Say {a} and then {b}.", f"{a} {b}", task=a) for a in WORDS for b in WORDS]


def write(file: Path, *items: Any) -> Path:
    lines = [item if isinstance(item, str) else json.dumps(item) for item in items]
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return file


def config(model: Path, *train_on: Any, name: str = "run", **data: Any) -> settings.RunConfig:
    files = [str(item) if isinstance(item, Path) else item for item in train_on]
    return settings.build(
        {
            "name": name,
            "model": str(model),
            "data": {"train": files, "max_length": 64, **data},
            "adapter": {"rank": 4},
            "train": {"steps": 4, "batch_size": 4, "micro_batch_tokens": 2000, "save_every": 2},
        },
        "a test",
    )


def start(given: settings.RunConfig, folder: Path, stop_after: int | None = None) -> TrainResult:
    asked = iter([False] * (stop_after or 99) + [True] * 99)
    return train(given, runs_dir=folder, stop_requested=lambda: next(asked))


def adapter_bytes(run: runs.Run) -> bytes:
    return (run.adapter / "adapters.safetensors").read_bytes()


def test_a_run_keeps_the_report_on_its_data_and_says_so_first(
    tiny_model: Path, tmp_path: Path
) -> None:
    file = write(tmp_path / "rows.jsonl", *rows(), row("Say nothing.", ""), row("Say red.", "red"))
    said: list[events.Event] = []
    given = config(tiny_model, file, max_length=40)
    run = train(given, runs_dir=tmp_path / "runs", on_event=said.append).run
    kept = json.loads(run.report_file.read_text(encoding="utf-8"))
    first = next(event for event in said if event.event != "progress")
    assert isinstance(first, events.DataReport)
    assert (first.file, first.rows, first.counts) == (
        str(run.report_file), 66, kept["counts"],
    )  # fmt: skip
    assert kept["usable"] == first.usable == 65
    assert kept["parts"]["train"]["rows"] + kept["parts"]["valid"]["rows"] == 65
    assert kept["plan"]["steps"] == 4
    assert kept["model"]["max_length"] == 40
    assert {task["task"] for task in kept["tasks"] if task["part"] == "train"} == {*WORDS, ""}
    shares = [task["share"] for task in kept["tasks"]]
    assert sum(shares) == pytest.approx(1)
    [started] = [event for event in said if event.event == "run_started"]
    trained = kept["parts"]["train"]["trained_tokens"]
    assert started.trained_tokens_per_epoch == trained
    recorded = json.loads(run.data_file.read_text(encoding="utf-8"))
    [left_out] = [item for item in recorded["findings"] if item["left_out"]]
    assert (left_out["kind"], left_out["line"], left_out["grade"]) == ("empty", 65, "warning")
    notes = [event.message for event in said if event.event == "note"]
    assert any(note.startswith("1 row is left out") and "line 65" in note for note in notes)


def test_the_report_is_made_once_for_the_same_data(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []
    real = report.examine

    def examine(*arguments: Any, **named: Any) -> dict[str, Any]:
        made.append(1)
        return real(*arguments, **named)

    monkeypatch.setattr(report, "examine", examine)
    file = write(tmp_path / "rows.jsonl", *rows())
    start(config(tiny_model, file), tmp_path / "runs", stop_after=2)
    train(resume="run", runs_dir=tmp_path / "runs")
    start(config(tiny_model, file, name="again"), tmp_path / "runs")
    assert len(made) == 1
    write(file, *rows(), row("Say more.", "more"))
    start(config(tiny_model, file, name="other"), tmp_path / "runs")
    assert len(made) == 2


def test_rows_with_errors_are_refused_before_anything_is_written(
    tiny_model: Path, tmp_path: Path
) -> None:
    file = write(tmp_path / "rows.jsonl", *rows(), '{"instruction": "broken', {"unknown": 1})
    with pytest.raises(RequestError, match=r"rows\.jsonl, line 65: .*; .*line 66: ") as caught:
        start(config(tiny_model, file), tmp_path / "runs")
    assert "data.bad_rows=leave_out" in caught.value.hint
    assert not (tmp_path / "runs").exists()
    run = start(config(tiny_model, file, bad_rows="leave_out"), tmp_path / "runs").run
    recorded = json.loads(run.data_file.read_text(encoding="utf-8"))
    errors = [item["line"] for item in recorded["findings"] if item["grade"] == "error"]
    assert errors == [65, 66]
    assert recorded["train"]["rows"] + recorded["valid"]["rows"] == 64


def test_strict_refuses_what_only_the_report_finds(tiny_model: Path, tmp_path: Path) -> None:
    file = write(tmp_path / "rows.jsonl", *rows(), rows()[0])
    with pytest.raises(RequestError, match=r"line 65: ") as caught:
        start(config(tiny_model, file, strict=True), tmp_path / "runs")
    assert "--strict" in caught.value.hint
    assert not (tmp_path / "runs").exists()
    assert start(config(tiny_model, file), tmp_path / "runs").completed


def test_validation_conversations_are_kept_whole(tiny_model: Path, tmp_path: Path) -> None:
    call = {"type": "function", "function": {"name": "add", "arguments": {"a": 1}}}
    tool = {"type": "function", "function": {"name": "add", "parameters": {"type": "object"}}}
    said = [
        {"role": "user", "content": "What is it?"},
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "content": "2", "name": "add"},
        {"role": "assistant", "content": "two", "reasoning_content": "one and one"},
    ]
    valid = write(tmp_path / "valid.jsonl", {"messages": said, "tools": [tool], "task": "sum"})
    given = config(tiny_model, write(tmp_path / "rows.jsonl", *rows()), max_length=2000)
    given.data.valid = [settings.SourceConfig(path=str(valid))]
    given.data.template = "chatml"
    run = start(given, tmp_path / "runs").run
    [kept] = load([run.validation_sample]).conversations
    [own] = load([valid]).conversations
    assert (kept.messages, kept.tools, kept.task) == (own.messages, own.tools, own.task)


def test_what_came_through_a_pipe_can_be_resumed(tiny_model: Path, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    text = "".join(json.dumps(item) + "\n" for item in rows())
    writer = threading.Thread(target=pipe.write_text, args=(text,))
    writer.start()
    run = start(config(tiny_model, pipe), tmp_path / "runs", stop_after=2).run
    writer.join()
    [source] = run.config().data.train
    assert Path(source.path).read_text(encoding="utf-8") == text
    pipe.unlink()
    assert train(resume="run", runs_dir=tmp_path / "runs").completed


def test_a_resumed_run_goes_on_with_the_revision_of_its_dataset(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {name: tmp_path / f"{name}.jsonl" for name in ("first", "second")}
    write(files["first"], *rows())
    newest = "first"

    def from_hub(source: settings.SourceConfig, name: str) -> sources.Found:
        assert name == "somebody/rows"
        revision = newest if source.revision in (None, "main") else source.revision
        return sources.Found((files[revision],), (), revision)

    monkeypatch.setattr(sources, "_from_hub", from_hub)
    given = config(tiny_model, "somebody/rows")
    run = start(given, tmp_path / "runs", stop_after=2).run
    recorded = json.loads(run.data_file.read_text(encoding="utf-8"))
    assert recorded["revisions"]["train"] == ["first"]
    newest = "second"
    write(files["second"], *rows()[:40])
    assert train(given, resume="run", runs_dir=tmp_path / "runs").completed
    assert [source.revision for source in run.config().data.train] == [None]


def test_resuming_needs_nothing_that_was_kept_for_speed(tiny_model: Path, tmp_path: Path) -> None:
    file = write(tmp_path / "rows.jsonl", *rows())
    whole = start(config(tiny_model, file, name="whole"), tmp_path / "runs").run
    run = start(config(tiny_model, file), tmp_path / "runs", stop_after=2).run
    shutil.rmtree(paths.home() / "cache")
    assert train(resume="run", runs_dir=tmp_path / "runs").completed
    assert adapter_bytes(run) == adapter_bytes(whole)
    free = config(tiny_model, file, name="free", cache=False)
    assert adapter_bytes(start(free, tmp_path / "runs").run) == adapter_bytes(whole)


def test_a_changed_weight_of_a_source_is_another_run(tiny_model: Path, tmp_path: Path) -> None:
    file = write(tmp_path / "rows.jsonl", *rows())
    given = config(tiny_model, {"path": str(file), "weight": 2.0})
    run = start(given, tmp_path / "runs", stop_after=2).run
    text = run.config_file.read_text(encoding="utf-8")
    run.config_file.write_text(text.replace("weight: 2.0", "weight: 1.5"), encoding="utf-8")
    with pytest.raises(RequestError, match=r"data\.train\.weight: \[2\.0\] → \[1\.5\]"):
        train(resume="run", runs_dir=tmp_path / "runs")


def test_tasks_are_named_by_weight_and_a_source_by_its_path(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "rows.jsonl", *rows())
    write(tmp_path / "more.jsonl", *(row(f"Repeat {a}.", f"{a} {a}") for a in WORDS))
    mixture = {"by": "source", "weights": {"more.jsonl": 3}}
    given = config(tiny_model, "rows.jsonl", "more.jsonl", mixture=mixture, valid_fraction=0)
    run = start(given, tmp_path / "runs", stop_after=2).run
    recorded = json.loads(run.data_file.read_text(encoding="utf-8"))
    assert recorded["rows_per_epoch"] == 64 + 3 * 8
    assert recorded["shares"]["source"][str(tmp_path / "more.jsonl")] == pytest.approx(24 / 88)
    monkeypatch.chdir(tmp_path.parent)
    assert train(resume="run", runs_dir=tmp_path / "runs").completed


def test_a_weight_of_a_message_counts_in_the_loss(tiny_model: Path, tmp_path: Path) -> None:
    def said(number: int, weight: float) -> dict[str, Any]:
        return {
            "messages": [
                {"role": "user", "content": f"Say {WORDS[number % 8]} {number}."},
                {"role": "assistant", "content": WORDS[number % 8], "weight": 1},
                {"role": "user", "content": "Again."},
                {"role": "assistant", "content": WORDS[number // 8], "weight": weight},
            ]
        }

    results = {}
    for weight in (0, 0.5, 1):
        file = write(tmp_path / f"{weight}.jsonl", *(said(n, weight) for n in range(32)))
        name = f"weight-{weight}".replace(".", "-")
        given = config(tiny_model, file, name=name)
        results[weight] = start(given, tmp_path / "runs")
    losses = [results[weight].train_loss for weight in (0, 0.5, 1)]
    assert len(set(losses)) == 3
    trained = {
        weight: json.loads(result.run.data_file.read_text(encoding="utf-8"))["train"]
        for weight, result in results.items()
    }
    # A token that counts half is a trained token; one that does not count is none.
    assert trained[0.5]["trained_tokens"] == trained[1]["trained_tokens"]
    assert trained[0]["trained_tokens"] < trained[1]["trained_tokens"]


def test_a_directory_is_a_source(tiny_model: Path, tmp_path: Path) -> None:
    folder = tmp_path / "rows"
    folder.mkdir()
    write(folder / "a.jsonl", *rows()[:40])
    write(folder / "b.jsonl", *rows()[40:])
    run = start(config(tiny_model, folder), tmp_path / "runs", stop_after=2).run
    recorded = json.loads(run.data_file.read_text(encoding="utf-8"))
    assert [Path(item["file"]).name for item in recorded["sources"]] == ["a.jsonl", "b.jsonl"]
    write(folder / "c.jsonl", *rows()[:3])
    with pytest.raises(RequestError, match=r"the data \(.*c\.jsonl\) changed since it began"):
        train(resume="run", runs_dir=tmp_path / "runs")
