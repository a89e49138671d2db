"""Bad input: one clear paragraph, the right exit status, nothing written."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgetune.train import checkpoint


def edgetune(*arguments: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "edgetune", *map(str, arguments)],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=120,
        stdin=subprocess.DEVNULL,
        env=os.environ | {"COLUMNS": "80"},
    )


def refused(result: subprocess.CompletedProcess[str], *expected: str, status: int = 2) -> None:
    """Exit status, one paragraph that says all of ``expected``, nothing on stdout."""
    assert result.returncode == status, result.stderr
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
    paragraph = " ".join(result.stderr.split())
    assert paragraph.startswith("edgetune: ")
    assert "\n\n" not in result.stderr.strip()
    for text in expected:
        assert text in paragraph


@pytest.fixture
def here(tmp_path: Path) -> Path:
    folder = tmp_path / "here"
    folder.mkdir()
    return folder


def untouched(here: Path) -> bool:
    return not any(here.iterdir())


def test_a_missing_model_directory(here: Path, rows_file: Path) -> None:
    result = edgetune("train", "--model", "./no/such/model", "--data", rows_file, cwd=here)
    refused(result, "no/such/model")
    assert untouched(here)


def test_a_truncated_weights_file(here: Path, rows_file: Path, tiny_model: Path) -> None:
    model = here.parent / "cut"
    shutil.copytree(tiny_model, model)
    weights = model / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])
    result = edgetune("train", "--model", model, "--data", rows_file, cwd=here)
    refused(result, "model.safetensors")
    assert untouched(here)


def test_a_broken_line_is_named(here: Path, rows_file: Path, tiny_model: Path) -> None:
    lines = rows_file.read_text(encoding="utf-8").splitlines()
    lines[6] = '{"instruction": "Say red", "output": '
    rows_file.write_text("\n".join(lines), encoding="utf-8")
    result = edgetune("train", "--model", tiny_model, "--data", rows_file, cwd=here)
    refused(result, "rows.jsonl", "line 7")
    assert untouched(here)


def test_no_usable_rows(here: Path, rows_file: Path, tiny_model: Path) -> None:
    rows_file.write_text(json.dumps({"instruction": "Say nothing.", "output": ""}))
    result = edgetune("train", "--model", tiny_model, "--data", rows_file, cwd=here)
    refused(result, "rows.jsonl")
    rows_file.write_text("")
    result = edgetune("train", "--model", tiny_model, "--data", rows_file, cwd=here)
    refused(result, "rows.jsonl")
    assert untouched(here)


def test_an_unknown_format_says_what_was_found_and_what_is_accepted(
    here: Path, rows_file: Path, tiny_model: Path
) -> None:
    rows_file.write_text(json.dumps({"frage": "Wie geht es?", "antwort": "Gut."}))
    result = edgetune("train", "--model", tiny_model, "--data", rows_file, cwd=here)
    refused(result, "frage", "antwort", "instruction", "messages")
    assert untouched(here)


def test_an_existing_run_name(here: Path, rows_file: Path, tiny_model: Path) -> None:
    run = here / "runs" / "taken"
    run.mkdir(parents=True)
    (run / "config.yaml").write_text("model: nano\n")
    result = edgetune(
        "train", "--model", tiny_model, "--data", rows_file, "--name", "taken", cwd=here
    )
    refused(result, "taken", "--resume taken")
    assert [file.name for file in run.iterdir()] == ["config.yaml"]


def test_wrong_settings_are_all_named(here: Path, rows_file: Path, tiny_model: Path) -> None:
    result = edgetune(
        "train", "--model", tiny_model, "--data", rows_file, "--set", "train.lerning_rate=1",
        "--set", "train.epochs=-1", cwd=here,
    )  # fmt: skip
    refused(result, "train.lerning_rate", "train.epochs")
    refused(edgetune("train", "--epochs", "many", cwd=here), "--epochs")
    refused(edgetune("train", "--no-such-flag", cwd=here), "--no-such-flag")
    refused(edgetune("no-such-command", cwd=here), "no-such-command")
    assert untouched(here)


def test_exporting_a_run_that_is_not_there_or_not_done(
    here: Path, rows_file: Path, tiny_model: Path
) -> None:
    refused(edgetune("export", "nothing", cwd=here), "nothing")
    run = here / "runs" / "half"
    run.mkdir(parents=True)
    (run / "config.yaml").write_text(f"model: {tiny_model}\n")
    refused(edgetune("export", "half", cwd=here), "half", "--resume half")
    refused(edgetune("export", "half", "--quant", "Q9_Z", cwd=here), "Q9_Z", "Q4_K_M")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of two megabytes."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("making a small file system needs root")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def fill(disk: Path, leave: int) -> Path:
    """Fill the disk but for ``leave`` bytes."""
    filler = disk / "filler"
    free = shutil.disk_usage(disk).free
    filler.write_bytes(b"0" * max(free - leave, 0))
    return filler


def test_a_full_disk_during_a_checkpoint_leaves_the_one_before_valid(
    small_disk: Path, rows_file: Path, tiny_model: Path, here: Path
) -> None:
    arguments = [
        "train", "--model", tiny_model, "--data", rows_file, "--runs-dir", small_disk / "runs",
        "--name", "full", "--rank", "8", "--steps", "400", "--batch-size", "2",
        "--set", "train.save_every=2", "--set", "train.keep_checkpoints=100",
    ]  # fmt: skip
    result = edgetune(*arguments, cwd=here)
    refused_with_progress(result, "disk is full", "checkpoint")
    checkpoints = small_disk / "runs" / "full" / "checkpoints"
    newest, notes = checkpoint.newest(checkpoints)
    assert newest is not None
    assert notes == []
    assert not list(checkpoints.glob(".*"))
    assert not (small_disk / "runs" / "full" / "adapter").exists()


def test_a_full_disk_during_an_export_leaves_no_half_file(
    small_disk: Path, rows_file: Path, tiny_model: Path, here: Path
) -> None:
    runs = small_disk / "runs"
    done = edgetune(
        "train", "--model", tiny_model, "--data", rows_file, "--runs-dir", runs, "--name", "small",
        "--rank", "2", "--steps", "2", cwd=here,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    for leave in (20_000, 300_000):
        filler = fill(small_disk, leave)
        result = edgetune("export", "small", "--quant", "F32", "--runs-dir", runs, cwd=here)
        refused_with_progress(result, "disk is full")
        filler.unlink()
        left = [file.name for file in (runs / "small" / "export").rglob("*")]
        assert not [name for name in left if name.endswith((".gguf", ".tmp"))], left


def refused_with_progress(result: subprocess.CompletedProcess[str], *expected: str) -> None:
    """As ``refused`` for work that had begun: the paragraph comes after the progress lines."""
    assert result.returncode == 1, result.stderr
    assert "Traceback" not in result.stderr
    paragraph = " ".join(result.stderr[result.stderr.rindex("edgetune: ") :].split())
    for text in expected:
        assert text in paragraph


def test_an_unknown_adapter_target(here: Path, rows_file: Path, tiny_model: Path) -> None:
    result = edgetune(
        "train", "--model", tiny_model, "--data", rows_file, "--set", "adapter.targets=[nothing]",
        cwd=here,
    )  # fmt: skip
    refused(result, "no linear layer `nothing`", "self_attn.q_proj")
    assert untouched(here)


@pytest.mark.skipif(sys.platform == "darwin", reason="file names there are always UTF-8")
def test_a_file_name_that_is_not_utf_8(here: Path, rows_file: Path, tiny_model: Path) -> None:
    odd = rows_file.rename(rows_file.with_name("rows\udcff.jsonl"))
    result = edgetune("train", "--model", tiny_model, "--data", odd, cwd=here)
    refused(result, "not UTF-8", "Rename it")
    assert untouched(here)
