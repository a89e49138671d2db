"""Does a quantized file hold the same weights as the full-precision file it was built from?

Predictions alone cannot always tell: at two bits a model may lose as much to rounding as it
would to a small fault. Rounding moves a weight by a known share, though, and rows in the wrong
order or another model's weights are off by more than the weights themselves.
"""

from pathlib import Path

import gguf
import numpy as np

from edgetune.errors import RequestError

from .builds import read_tensors
from .reference import Check

# Root mean square error of a tensor relative to its own root mean square, by the first digit of
# the type or by its name: about three times what rounding normally distributed weights gives.
# Weights in a wrong order are at 1.4.
_ERRORS = {
    "F32": 1e-6,
    "F16": 2e-3,
    "BF16": 1e-2,
    "8": 0.02,
    "6": 0.06,
    "5": 0.12,
    "4": 0.25,
    "3": 0.45,
    "2": 0.75,
}
_ROWS = 64
# What a build may change beside the tensors.
_CHANGING = ("general.file_type", "general.quantization_version", "GGUF.")


def compare_with_source(path: Path, source: Path) -> Check:
    """Compare metadata, and up to 64 rows of every tensor, with the file ``source``."""
    name = "same as source"
    wanted = {tensor.name: tensor for tensor in read_tensors(source)}
    found = {tensor.name: tensor for tensor in read_tensors(path)}
    if wanted.keys() != found.keys():
        other = sorted(wanted.keys() ^ found.keys())
        return Check(name, False, f"the tensors differ: {', '.join(other[:3])}")
    key = _differing_key(path, source)
    if key is not None:
        return Check(name, False, f"the metadata differs: {key}")
    worst, share = "", 0.0
    for tensor_name, tensor in found.items():
        expected = wanted[tensor_name]
        if list(tensor.shape) != list(expected.shape):
            return Check(name, False, f"{tensor_name} has another shape")
        error = _error(tensor, expected)
        kind = tensor.tensor_type.name
        digit = next((letter for letter in kind if letter.isdigit()), "2")
        allowed = max(
            _ERRORS.get(kind) or _ERRORS.get(digit, _ERRORS["2"]),
            _ERRORS[expected.tensor_type.name],
        )
        if not error <= allowed:
            return Check(
                name,
                False,
                f"{tensor_name} is off by {error:.2g} of its size, {kind} allows {allowed:g}",
                {"error": error},
            )
        if error / allowed > share:
            worst, share = tensor_name, error / allowed
    detail = f"all {len(found)} tensors, the farthest ({worst}) at {share:.0%} of its limit"
    return Check(name, True, detail if worst else f"all {len(found)} tensors equal")


def _differing_key(path: Path, source: Path) -> str | None:
    try:
        fields = [gguf.GGUFReader(file).fields for file in (path, source)]
        for key in sorted(fields[0].keys() | fields[1].keys()):
            if key.startswith(_CHANGING):
                continue
            values = [field[key].contents() if key in field else None for field in fields]
            if values[0] != values[1]:
                return key
    except (ValueError, IndexError) as error:
        raise RequestError(f"{path} or {source} is a damaged GGUF file ({error}).") from error
    return None


def _error(tensor: gguf.gguf_reader.ReaderTensor, expected: gguf.gguf_reader.ReaderTensor) -> float:
    rows = tensor.data.reshape(-1, tensor.data.shape[-1])
    # Always the same rows, spread over the tensor without the regularity of heads.
    chosen = np.sort(np.random.default_rng(0).permutation(len(rows))[:_ROWS])
    values = gguf.quants.dequantize(np.ascontiguousarray(rows[chosen]), tensor.tensor_type)
    wanted_rows = expected.data.reshape(-1, expected.data.shape[-1])
    wanted = gguf.quants.dequantize(np.ascontiguousarray(wanted_rows[chosen]), expected.tensor_type)
    difference = values.astype(np.float64) - wanted
    power = float(np.square(wanted, dtype=np.float64).sum())
    lost = float(np.square(difference).sum())
    if power == 0:
        return 0.0 if lost == 0 else float("inf")
    return float(np.sqrt(lost / power))
