"""Why a file's predictions are off, where that can be found out by trying.

The order of the query and key rows is the classic fault of a conversion, and it leaves every
other check content. Rows are whole blocks in every type, so they can be reordered in a copy of
the file; if the copy is much closer to the trained model than the file, the reason is proven.
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
from .closeness import compare, limit_of
from .reference import Check, Reference

Ask = Callable[[Path, Reference, Path, list[str]], Outcome]


def _undo(weight: np.ndarray, heads: int) -> np.ndarray:
    """The opposite of ``permute``."""
    split = weight.reshape(heads, -1, 2, *weight.shape[1:])
    return split.swapaxes(1, 2).reshape(weight.shape)


# Right builds stay below a fifth of their limit; many times the limit is no matter of rounding.
_SUSPICIOUS, _STRUCTURAL = 0.2, 3.0
_TRIALS: list[tuple[str, Callable[[np.ndarray, int], np.ndarray]]] = [
    ("the rows of the query and key weights are not permuted", permute),
    ("the rows of the query and key weights are permuted twice", _undo),
]
_HINT = (
    "; no rounding does that: the order or the choice of the weights, the rope factors or the "
    "norms are not the trained model's"
)


def diagnose(check: Check, file: Path, reference: Reference, build: Build, ask: Ask) -> Check:
    """The closeness ``check``, failed and with the reason where one is found.

    Files far from their limit are not looked at; near it a low-bit type could hide the fault.
    """
    limit = limit_of(build.type_weights)
    mean = check.figures.get("kld_mean")
    if mean is None or mean < _SUSPICIOUS * limit.kld:
        return check
    bare = replace(reference, texts=[])
    for reason, reorder in _TRIALS:
        with tempfile.TemporaryDirectory(prefix="edgetune-diagnose-") as name:
            folder = Path(name)
            copy = folder / "copy.gguf"
            shutil.copyfile(file, copy)
            if not _reorder(copy, reorder):
                break
            if ask(copy, bare, folder, []).answer is None:
                continue
            logits = (
                np.load(folder / f"logits_{index}.npy", mmap_mode="r")
                for index in range(len(reference.sequences))
            )
            if compare(zip(reference.log_probs, logits, strict=True)).kld_mean < mean / 2:
                return replace(check, passed=False, detail=f"{reason} ({check.detail})")
    if check.passed or mean < _STRUCTURAL * limit.kld:
        return check
    return replace(check, detail=check.detail + _HINT)


def _reorder(path: Path, reorder: Callable[[np.ndarray, int], np.ndarray]) -> bool:
    """Reorder the query and key rows of ``path`` in place; False where it cannot be done."""
    reader = gguf.GGUFReader(path, "r+")
    architecture = reader.get_field(gguf.Keys.General.ARCHITECTURE)
    if architecture is None:
        return False
    counts = {}
    kinds = {
        "attn_q": gguf.Keys.Attention.HEAD_COUNT,
        "attn_k": gguf.Keys.Attention.HEAD_COUNT_KV,
    }
    for kind, key in kinds.items():
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
