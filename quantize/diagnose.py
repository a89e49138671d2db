"""Why a file's predictions are off, where that can be found out by trying.

The order of the query and key rows is the classic fault of a conversion, and it leaves every
other check content. Rows are whole blocks in every type, so they can be reordered in a copy of
the file; if the copy then predicts as the trained model does, the reason is proven.
"""

import shutil
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import gguf
import numpy as np

from .architectures import permute
from .builds import Build
from .child import Outcome
from .closeness import compare, holds, limit_of
from .reference import Check, Reference

Ask = Callable[[Path, Reference, Path, list[str]], Outcome]

_TRIALS: list[tuple[str, Callable[[np.ndarray, int], np.ndarray]]] = [
    ("the rows of the query and key weights are not permuted", permute),
    ("the rows of the query and key weights are permuted twice", lambda w, n: _undo(w, n)),
]
_HINT = (
    "; no rounding does that: the order or the choice of the weights, the rope factors or the "
    "norms are not the trained model's"
)


def explain(check: Check, file: Path, reference: Reference, build: Build, ask: Ask) -> Check:
    """The failed closeness ``check`` with its reason added, if one is found."""
    limit = limit_of(build.type_weights)
    mean = check.figures.get("kld_mean")
    if mean is None or mean < 3 * limit.kld:
        return check
    for reason, reorder in _TRIALS:
        with tempfile.TemporaryDirectory(prefix="edgetune-diagnose-") as name:
            folder = Path(name)
            copy = folder / "copy.gguf"
            shutil.copyfile(file, copy)
            if not _reorder(copy, reorder):
                break
            # One sequence tells enough.
            first = next(i for i, p in enumerate(reference.positions) if len(p))
            part = replace(
                reference,
                texts=[],
                sequences=[reference.sequences[first]],
                positions=[reference.positions[first]],
                log_probs=[reference.log_probs[first]],
            )
            if ask(copy, part, folder, []).answer is None:
                continue
            logits = np.load(folder / "logits_0.npy", mmap_mode="r")
            if holds(compare([(part.log_probs[0], logits)]), limit):
                return replace(check, detail=f"{reason} ({check.detail})")
    return replace(check, detail=check.detail + _HINT)


def _undo(weight: np.ndarray, heads: int) -> np.ndarray:
    split = weight.reshape(heads, -1, 2, *weight.shape[1:])
    return split.swapaxes(1, 2).reshape(weight.shape)


def _reorder(path: Path, reorder: Callable[[np.ndarray, int], np.ndarray]) -> bool:
    """Reorder the query and key rows of ``path`` in place; False where it cannot be done."""
    reader = gguf.GGUFReader(path, "r+")
    architecture = reader.get_field(gguf.Keys.General.ARCHITECTURE)
    if architecture is None:
        return False
    counts = {}
    for kind, key in (("attn_q", gguf.Keys.Attention.HEAD_COUNT),) + (
        ("attn_k", gguf.Keys.Attention.HEAD_COUNT_KV),
    ):
        field = reader.get_field(key.format(arch=architecture.contents()))
        if field is None:
            return False
        counts[kind] = int(field.contents())
    for tensor in reader.tensors:
        heads = counts.get(tensor.name.split(".")[-2])
        if heads is not None:
            tensor.data[:] = reorder(np.array(tensor.data), heads)
    reader.data.flush()
    return True
