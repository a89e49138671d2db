"""Nothing is lost: a killed run, resumed, ends as one that was never interrupted."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from datetime import datetime, tzinfo
from importlib.metadata import version
from pathlib import Path

import pytest
from safetensors.numpy import load_file

from edgetune import config as settings
from edgetune import events, runs
from edgetune.data.templates.builtin import PLAIN
from edgetune.errors import RequestError
from edgetune.train import checkpoint, loop, train

STEPS = 12


def run_config(model: Path, rows: Path, name: str, dropout: float = 0.1) -> settings.RunConfig:
    return settings.RunConfig(
        name=name,
        model=str(model),
        data=settings.DataConfig(train=[str(rows)], max_length=64),
        adapter=settings.AdapterConfig(rank=4, dropout=dropout),
        train=settings.TrainConfig(
            steps=STEPS, batch_size=4, micro_batch_tokens=128, save_every=4, validate_every=5
        ),
    )


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("rows") / "rows.jsonl"
    words = ["red", "blue", "green", "one", "two", "three", "dog", "cat"]
    lines = [
        json.dumps({"instruction": f"Say {a} and {b}.", "output": f"{a} {b}"})
        for a in words
        for b in words
    ]
    file.write_text("\n".join(lines), encoding="utf-8")
    return file


@pytest.fixture(scope="module")
def uninterrupted(
    tiny_model: Path, rows: Path, tmp_path_factory: pytest.TempPathFactory
) -> runs.Run:
    folder = tmp_path_factory.mktemp("runs")
    return train(run_config(tiny_model, rows, "whole"), runs_dir=folder).run


def adapter_bytes(run: runs.Run) -> bytes:
    return (run.adapter / "adapters.safetensors").read_bytes()


# A child that trains and kills itself with SIGKILL at a chosen moment.
_CHILD = """
import os, signal, sys
from pathlib import Path
from edgetune import config, events, paths
from edgetune.train import train

moment, config_file, runs_dir = sys.argv[1:]

def die():
    os.kill(os.getpid(), signal.SIGKILL)

synced = 0
real = paths.sync_file
def sync_file(path):
    global synced
    real(path)
    synced += "step-" in str(path)
    # Three files to a checkpoint: this is inside the second one, written but not renamed.
    if moment == "inside the second checkpoint" and synced == 5:
        die()
paths.sync_file = sync_file

def on_event(event):
    step = getattr(event, "step", None)
    if moment == "before the first checkpoint" and event.event == "step" and step == 2:
        die()
    if moment == "between two checkpoints" and event.event == "step" and step == 10:
        die()

train(config.build(config.read_yaml(Path(config_file)), "test"), runs_dir=runs_dir,
      on_event=on_event)
"""


@pytest.mark.parametrize(
    ("moment", "saved_step"),
    [
        ("before the first checkpoint", 0),
        ("inside the second checkpoint", 4),
        ("between two checkpoints", 8),
    ],
)
def test_a_killed_run_resumes_to_the_bit_identical_adapter(
    moment: str,
    saved_step: int,
    tiny_model: Path,
    rows: Path,
    uninterrupted: runs.Run,
    tmp_path: Path,
) -> None:
    file = tmp_path / "run.yaml"
    file.write_text(settings.to_yaml(run_config(tiny_model, rows, "killed")), encoding="utf-8")
    child = subprocess.run(
        [sys.executable, "-c", _CHILD, moment, str(file), str(tmp_path / "runs")],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert child.returncode == -signal.SIGKILL, child.stderr
    run = runs.open_run("killed", tmp_path / "runs")
    newest, _ = checkpoint.newest(run.checkpoints)
    assert (newest.state.step if newest else 0) == saved_step
    assert not run.adapter.exists()

    result = train(resume="killed", runs_dir=tmp_path / "runs")

    assert result.completed
    assert adapter_bytes(run) == adapter_bytes(uninterrupted)
    assert not list(run.checkpoints.glob(".*.tmp"))
    seen = {event.step for event in run.events() if event.event == "step"}
    assert seen == set(range(1, STEPS + 1))


def test_stopping_saves_and_resuming_gives_the_same_adapter(
    tiny_model: Path, rows: Path, uninterrupted: runs.Run, tmp_path: Path
) -> None:
    asked = iter([False] * 6 + [True] * 10)
    stopped = train(
        run_config(tiny_model, rows, "stopped"),
        runs_dir=tmp_path,
        stop_requested=lambda: next(asked),
    )
    assert not stopped.completed
    assert stopped.step == 6
    assert runs.summarize(stopped.run).state == "interrupted"
    result = train(resume="stopped", runs_dir=tmp_path)
    assert result.completed
    assert adapter_bytes(result.run) == adapter_bytes(uninterrupted)


def test_ctrl_c_saves_a_checkpoint_and_exits_130(
    tiny_model: Path, rows: Path, tmp_path: Path
) -> None:
    config = run_config(tiny_model, rows, "long")
    config.train.steps = 100_000
    file = tmp_path / "run.yaml"
    file.write_text(settings.to_yaml(config), encoding="utf-8")
    command = [sys.executable, "-m", "edgetune", "train", "--config", str(file)]
    child = subprocess.Popen(
        [*command, "--runs-dir", str(tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
    )
    log = tmp_path / "long" / "events.jsonl"
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not (log.exists() and '"step":3,' in log.read_text()):
        time.sleep(0.05)
    child.send_signal(signal.SIGINT)
    output, errors = child.communicate(timeout=60)
    assert child.returncode == 130, errors
    assert output == ""
    assert "--resume long" in " ".join(errors.split())
    newest, _ = checkpoint.newest(tmp_path / "long" / "checkpoints")
    assert newest is not None
    assert newest.state.step >= 3


def test_a_damaged_newest_checkpoint_is_passed_over_with_a_note(
    tiny_model: Path, rows: Path, uninterrupted: runs.Run, tmp_path: Path
) -> None:
    asked = iter([False] * 9 + [True] * 10)
    config = run_config(tiny_model, rows, "damaged")
    run = train(config, runs_dir=tmp_path, stop_requested=lambda: next(asked)).run
    file = run.checkpoints / "step-000009" / "optimizer.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    notes: list[str] = []
    train(
        resume="damaged",
        runs_dir=tmp_path,
        on_event=lambda event: notes.append(event.message) if event.event == "note" else None,
    )
    assert any("step-000009 is damaged" in note for note in notes)
    assert adapter_bytes(run) == adapter_bytes(uninterrupted)


def test_resuming_with_other_settings_data_or_model_is_refused(
    tiny_model: Path, tmp_path: Path, rows_file: Path
) -> None:
    asked = iter([False] * 3 + [True] * 10)
    config = run_config(tiny_model, rows_file, "changed")
    train(config, runs_dir=tmp_path, stop_requested=lambda: next(asked))

    other = config.model_copy(deep=True)
    other.train.learning_rate = 1e-3
    with pytest.raises(RequestError, match=r"train.learning_rate: 0.0002 → 0.001"):
        train(other, resume="changed", runs_dir=tmp_path)

    text = rows_file.read_text(encoding="utf-8")
    rows_file.write_text(text.replace("red blue", "red pink"), encoding="utf-8")
    with pytest.raises(RequestError, match=r"rows\.jsonl.* changed since"):
        train(resume="changed", runs_dir=tmp_path)


def test_accumulation_and_packing_leave_the_result_alone(
    tiny_model: Path, rows: Path, tmp_path: Path
) -> None:
    adapters = []
    for tokens in (64, 128, 1024):
        config = run_config(tiny_model, rows, f"micro-{tokens}", dropout=0.0)
        config.train.micro_batch_tokens = tokens
        run = train(config, runs_dir=tmp_path).run
        adapters.append(load_file(run.adapter / "adapters.safetensors"))
    for other in adapters[1:]:
        for name, value in adapters[0].items():
            assert abs(value - other[name]).max() < 1e-4


def test_a_template_that_writes_the_date_does_not_keep_a_run_from_going_on_tomorrow(
    tiny_model: Path, rows: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tmp_path / "dated"
    shutil.copytree(tiny_model, model)
    dated = "{{ strftime_now('%d %B %Y') }}\n" + PLAIN.replace("{{ bos_token }}", "")
    (model / "chat_template.jinja").write_text(dated, encoding="utf-8")

    class Tomorrow(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> "Tomorrow":
            return cls.fromtimestamp(time.time() + 86_400)

    whole = train(run_config(model, rows, "whole"), runs_dir=tmp_path).run
    asked = iter([False] * 6 + [True] * 10)
    train(
        run_config(model, rows, "stopped"),
        runs_dir=tmp_path,
        stop_requested=lambda: next(asked),
    )
    monkeypatch.setattr("edgetune.data.templates.rendering.datetime", Tomorrow)
    resumed = train(resume="stopped", runs_dir=tmp_path)
    assert resumed.completed
    assert adapter_bytes(resumed.run) == adapter_bytes(whole)


def test_settings_edited_by_hand_are_refused_and_moved_data_is_not(
    tiny_model: Path, rows_file: Path, uninterrupted: runs.Run, tmp_path: Path
) -> None:
    asked = iter([False] * 3 + [True] * 10)
    config = run_config(tiny_model, rows_file, "edited")
    run = train(config, runs_dir=tmp_path, stop_requested=lambda: next(asked)).run
    text = run.config_file.read_text(encoding="utf-8")

    run.config_file.write_text(text.replace("batch_size: 4", "batch_size: 5"), encoding="utf-8")
    with pytest.raises(RequestError, match=r"train\.batch_size: 4 → 5"):
        train(resume="edited", runs_dir=tmp_path)

    moved = rows_file.rename(tmp_path / "moved.jsonl")
    run.config_file.write_text(text.replace(str(rows_file), str(moved)), encoding="utf-8")
    assert train(resume="edited", runs_dir=tmp_path).completed


def test_a_damaged_record_of_the_data_is_refused(
    tiny_model: Path, rows: Path, tmp_path: Path
) -> None:
    run = train(run_config(tiny_model, rows, "record"), runs_dir=tmp_path).run
    run.data_file.write_text("[]", encoding="utf-8")
    with pytest.raises(RequestError, match=r"data\.json is damaged"):
        train(resume="record", runs_dir=tmp_path)


def test_a_run_killed_before_its_data_was_recorded_goes_on(
    tiny_model: Path, rows: Path, uninterrupted: runs.Run, tmp_path: Path
) -> None:
    run = runs.create("early", run_config(tiny_model, rows, "early"), tmp_path)
    assert train(resume="early", runs_dir=tmp_path).completed
    assert run.data_file.is_file()
    assert adapter_bytes(run) == adapter_bytes(uninterrupted)


def test_the_newest_checkpoint_has_the_highest_number(tmp_path: Path) -> None:
    for name in ("step-999900", "step-1000000", "step-000200 copy"):
        (tmp_path / name).mkdir()
    checkpoint.prune(tmp_path, keep=1)
    assert {path.name for path in tmp_path.iterdir()} == {"step-1000000", "step-000200 copy"}


def test_a_folder_named_without_a_separator_is_found_again_from_elsewhere(
    tiny_model: Path, rows: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tiny_model.parent)
    config = run_config(Path(tiny_model.name), rows, "bare")
    run = train(config, runs_dir=tmp_path).run
    monkeypatch.chdir(tmp_path)
    assert train(resume="bare", runs_dir=tmp_path).completed
    assert run.config().model == str(tiny_model)


def test_another_version_of_a_library_is_noted(
    tiny_model: Path, rows: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = iter([False] * 6 + [True] * 10)
    config = run_config(tiny_model, rows, "versions")
    train(config, runs_dir=tmp_path, stop_requested=lambda: next(asked))
    monkeypatch.setattr(loop, "version", lambda name: "9.9" if name == "mlx" else version(name))
    notes: list[str] = []
    train(
        resume="versions",
        runs_dir=tmp_path,
        on_event=lambda event: notes.append(event.message) if event.event == "note" else None,
    )
    [note] = notes
    assert f"mlx {version('mlx')} (now 9.9)" in note


def test_ending_at_once_is_an_interruption_to_go_on_from(
    tiny_model: Path, rows: Path, uninterrupted: runs.Run, tmp_path: Path
) -> None:
    def end_at_step_6(event: events.Event) -> None:
        if event.event == "step" and event.step == 6:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(run_config(tiny_model, rows, "ended"), runs_dir=tmp_path, on_event=end_at_step_6)
    run = runs.open_run("ended", tmp_path)
    assert runs.summarize(run).state == "interrupted"
    assert train(resume="ended", runs_dir=tmp_path).completed
    assert adapter_bytes(run) == adapter_bytes(uninterrupted)


def test_runs_without_a_name_get_different_ones(
    tiny_model: Path, rows: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "strftime", lambda form: "the-same-second")
    model = tmp_path / "модель"
    model.symlink_to(tiny_model)
    config = run_config(model, rows, "").model_copy(update={"name": None})
    config.train.steps = 1
    names = [train(config, runs_dir=tmp_path / "runs").run.name for _ in range(2)]
    assert names == ["tiny-llama-the-same-second", "tiny-llama-the-same-second-2"]


def test_a_run_is_never_put_in_the_place_of_another(
    tiny_model: Path, rows: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = run_config(tiny_model, rows, "same")
    first = runs.create("same", config, tmp_path)
    first.events_file.touch()
    # The first look comes too early to see the other one.
    looks = iter([lambda *where: None, runs.check_free])
    monkeypatch.setattr(runs, "check_free", lambda *where: next(looks)(*where))
    with pytest.raises(RequestError, match="exists already"):
        runs.create("same", config, tmp_path)
    assert first.events_file.exists()
