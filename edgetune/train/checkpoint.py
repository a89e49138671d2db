"""A checkpoint: everything a run needs to go on as if it had never stopped, as one directory.

``step-000200/`` holds ``adapter.safetensors``, ``optimizer.safetensors`` and ``state.json``; the
last has the step, the totals and the SHA-256 of the other two, so a damaged checkpoint is
recognized. It is written beside its final name, synced and renamed: it is there whole or not at
all. The order of the data follows from (seed, step), and so does the random state of dropout, so
neither needs storing.
"""

import hashlib
import json
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path

from edgetune import device, paths
from edgetune.arrays import load_arrays, save_arrays

device.prepare()

import mlx.core as mx  # noqa: E402


@dataclass
class State:
    """Where a run stands after ``step`` steps."""

    step: int
    trained_tokens: int
    seconds: float
    """Time spent in training steps, over all parts of the run."""
    best_validation_loss: float | None
    last_validation_step: int
    blas_threads: int
    """Another number of BLAS threads changes the last bits of every sum."""
    versions: dict[str, str]


@dataclass
class Checkpoint:
    """A checkpoint in memory."""

    state: State
    adapter: dict[str, mx.array]
    optimizer: dict[str, mx.array]
    path: Path


def save(
    folder: Path, state: State, adapter: dict[str, mx.array], optimizer: dict[str, mx.array]
) -> Path:
    """Write ``folder/step-NNNNNN``, whole or not at all; returns its path."""
    path = folder / f"step-{state.step:06d}"
    with paths.atomic_directory(path) as temporary:
        save_arrays(temporary / "adapter.safetensors", adapter)
        save_arrays(temporary / "optimizer.safetensors", optimizer)
        document = asdict(state) | {
            "sha256": {file.name: _sha256(file) for file in sorted(temporary.glob("*.safetensors"))}
        }
        (temporary / "state.json").write_text(json.dumps(document, indent=1), encoding="utf-8")
    return path


def newest(folder: Path) -> tuple[Checkpoint | None, list[str]]:
    """The newest checkpoint that is whole, and a note on each newer one that was passed over."""
    notes: list[str] = []
    for path in _by_age(folder):
        try:
            return _load(path), notes
        except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
            notes.append(f"The checkpoint {path} is damaged and was passed over: {error}")
    return None, notes


def prune(folder: Path, keep: int) -> None:
    """Remove all but the ``keep`` newest checkpoints."""
    for path in _by_age(folder)[keep:]:
        shutil.rmtree(path, ignore_errors=True)


def _by_age(folder: Path) -> list[Path]:
    steps = {path: path.name.removeprefix("step-") for path in folder.glob("step-[0-9]*")}
    numbered = [path for path, step in steps.items() if step.isdecimal()]
    return sorted(numbered, key=lambda path: int(steps[path]), reverse=True)


def _load(path: Path) -> Checkpoint:
    document = json.loads((path / "state.json").read_text(encoding="utf-8"))
    for name, digest in document.pop("sha256").items():
        if _sha256(path / name) != digest:
            raise ValueError(f"{name} is not what was saved")
    return Checkpoint(
        state=State(**document),
        adapter=load_arrays(path / "adapter.safetensors"),
        optimizer=load_arrays(path / "optimizer.safetensors"),
        path=path,
    )


def _sha256(file: Path) -> str:
    with file.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
