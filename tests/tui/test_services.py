"""What the screens rest on: library, run progress, preferences, clipboard."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from edgetune import config as settings
from edgetune import events, hub, runs
from edgetune.tui.services import clipboard, exporter, library, preferences, text
from edgetune.tui.services.progress import RunProgress


def started(first_step: int, time: float) -> events.RunStarted:
    return events.RunStarted(
        time=time,
        run="r",
        model="m",
        first_step=first_step,
        steps=20,
        examples=1,
        validation_examples=0,
        trained_tokens_per_epoch=1,
        trainable_parameters=1,
        device="d",
    )


def step(number: int, time: float) -> events.StepDone:
    return events.StepDone(
        time=time,
        step=number,
        steps=20,
        epoch=1,
        train_loss=1,
        gradient_norm=1,
        learning_rate=1,
        trained_tokens=1,
        trained_tokens_per_second=1,
        peak_memory_bytes=1,
        seconds_left=1,
    )


def test_a_resumed_run_goes_back_to_its_checkpoint() -> None:
    progress = RunProgress()
    for event in (started(1, 1), step(1, 2), step(2, 3), step(3, 4), started(3, 5)):
        progress.apply(event)
    assert progress.step == 2
    progress.apply(step(3, 6))
    assert progress.step == 3
    assert progress.steps == 20


def test_the_best_validation_loss_is_kept() -> None:
    progress = RunProgress()
    for loss in (3.0, 2.0, 2.5):
        progress.apply(events.Validated(step=1, validation_loss=loss, trained_tokens=1, best=False))
    assert (progress.validation_loss, progress.best_loss) == (2.5, 2.0)


def test_runs_models_and_builds_are_found(trained: runs.Run, tiny_model: Path) -> None:
    folder = trained.path.parent
    runs.create("other", settings.RunConfig(name="other", model=str(tiny_model)), folder)
    trained.export.mkdir()
    (trained.export / "old-Q8_0.gguf").write_bytes(b"GGUF")
    (trained.export / "old-Q2_K.gguf.failed").write_bytes(b"GGUF")
    overview = library.Library(folder).overview()
    assert {summary.name for summary in overview.runs} == {"old", "other"}
    assert [model.name for model in overview.builds] == ["old-Q8_0"]
    assert str(tiny_model) in [model.name for model in overview.bases]


def test_pulled_models_are_found_after_the_first_picture(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pulled = hub.LocalModel("some/model", folder, 5, embedded=False)
    monkeypatch.setattr(hub, "list_models", lambda: [pulled])
    shelf = library.Library(folder / "runs")
    assert pulled.name not in [model.name for model in shelf.overview().models]
    monkeypatch.setattr(shelf, "_look_for_pulled", 0.0)
    assert pulled.name in [model.name for model in shelf.overview().models]


def test_an_unchanged_run_is_not_read_again(
    trained: runs.Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    shelf = library.Library(trained.path.parent)
    first = shelf.overview()
    with monkeypatch.context() as patch:
        patch.setattr(runs, "summarize", None)
        assert shelf.overview() == first
    with trained.events_file.open("a") as file:
        ended = events.RunEnded(reason="failed", step=2)
        file.write(events.to_line(ended) + "\n")
    assert shelf.overview().runs[0].state == "failed"


def test_a_damaged_run_is_shown_as_one(trained: runs.Run) -> None:
    trained.config_file.write_text("model: [", encoding="utf-8")
    [summary] = library.Library(trained.path.parent).overview().runs
    assert summary.state == "damaged"
    assert "config.yaml" in summary.model


def test_data_files_of_the_working_folder_are_offered(folder: Path, trained: runs.Run) -> None:
    (folder / "deep" / "er").mkdir(parents=True)
    (folder / "deep" / "er" / "more.json").write_text("[]")
    (folder / ".hidden").mkdir()
    (folder / ".hidden" / "no.json").write_text("[]")
    found = library.data_files([])
    assert folder / "rows.jsonl" in found
    assert folder / "deep" / "er" / "more.json" in found
    assert not any(file.name in ("no.json", "events.jsonl") for file in found)


def test_files_used_before_are_offered_first(folder: Path) -> None:
    used = folder / "elsewhere.jsonl"
    used.write_text("")
    own = [file for file in library.data_files([str(used), "gone.jsonl"]) if folder in file.parents]
    assert own == [used, folder / "rows.jsonl"]


def test_preferences_come_back() -> None:
    kept = preferences.Preferences(theme="textual-light")
    kept.used_data("a")
    kept.used_data("b")
    kept.used_data("a")
    kept.save()
    assert preferences.load() == kept
    assert kept.data == ["a", "b"]


def test_damaged_preferences_are_forgotten() -> None:
    preferences.Preferences(theme="textual-light").save()
    file = Path(os.environ["EDGETUNE_HOME"]) / "tui.json"
    file.write_text("{", encoding="utf-8")
    assert preferences.load() == preferences.Preferences()


def test_copying_tells_who_took_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tool = tmp_path / "xclip"
    tool.write_text(f"#!/bin/sh\n/bin/cat > {tmp_path}/taken\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setattr(sys, "platform", "linux")
    assert clipboard.copy("straße") == "xclip"
    assert (tmp_path / "taken").read_text(encoding="utf-8") == "straße"
    tool.write_text("#!/bin/sh\nexit 1\n")
    assert clipboard.copy("x") is None
    monkeypatch.delenv("DISPLAY")
    assert clipboard.copy("x") is None


def test_a_report_that_is_not_there_or_damaged_has_no_verdicts(trained: runs.Run) -> None:
    assert exporter.verdicts(trained) == []
    trained.export.mkdir()
    (trained.export / "report.json").write_text('{"exports": [{"file"')
    assert exporter.verdicts(trained) == []


def test_figures_read_well() -> None:
    assert [text.size(n) for n in (4096, 5 << 20, 3 << 29)] == ["4 KiB", "5.0 MiB", "1.50 GiB"]
    assert [text.duration(s) for s in (7, 187, 7387)] == ["0:07", "3:07", "2:03:07"]


def test_the_ui_loads_neither_mlx_nor_llama_nor_what_only_other_screens_need() -> None:
    code = """if True:
        import sys
        from edgetune.tui.app import EdgetuneApp
        import edgetune.tui.screens.home
        first = {name.split(".")[0] for name in sys.modules}
        import edgetune.tui.screens.data, edgetune.tui.screens.train
        import edgetune.tui.screens.export, edgetune.tui.screens.chat
        print(*first)
        print(*{name.split(".")[0] for name in sys.modules})
    """
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30
    )
    first, everything = (set(line.split()) for line in done.stdout.splitlines())
    assert not everything & {"mlx", "mlx_lm", "llama_cpp", "transformers", "torch"}
    assert not first & {"plotext", "httpx", "tokenizers", "numpy", "jinja2", "huggingface_hub"}
