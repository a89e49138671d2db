"""A full-precision GGUF -> the builds that people run: Q8_0, Q6_K … Q2_K.

llama.cpp quantizes, in a child process. The K types work on rows of 256 weights; where a
matrix's rows do not divide, llama.cpp takes a type with rows of 32 instead (Q4_K -> Q5_0,
Q6_K -> Q8_0 …), which makes the file larger than its name says. A build therefore reports what
every tensor became and its real bits per weight.
"""

import re
import shutil
import tempfile
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import gguf
from gguf import GGMLQuantizationType, LlamaFileType

from edgetune.errors import EdgetuneError, RequestError, explain_os_error
from edgetune.paths import atomic_file

from . import child
from .convert import FileType

TYPES: dict[str, LlamaFileType] = {
    "Q8_0": LlamaFileType.MOSTLY_Q8_0,
    "Q6_K": LlamaFileType.MOSTLY_Q6_K,
    "Q5_K_M": LlamaFileType.MOSTLY_Q5_K_M,
    "Q5_K_S": LlamaFileType.MOSTLY_Q5_K_S,
    "Q4_K_M": LlamaFileType.MOSTLY_Q4_K_M,
    "Q4_K_S": LlamaFileType.MOSTLY_Q4_K_S,
    "Q3_K_L": LlamaFileType.MOSTLY_Q3_K_L,
    "Q3_K_M": LlamaFileType.MOSTLY_Q3_K_M,
    "Q3_K_S": LlamaFileType.MOSTLY_Q3_K_S,
    "Q2_K": LlamaFileType.MOSTLY_Q2_K,
}
"""The quantized builds there are, from large to small."""

FULL_PRECISION: dict[str, FileType] = {"F32": "f32", "F16": "f16", "BF16": "bf16"}
"""The builds that ``convert`` makes, and what it calls them."""

_STATED = {int(kind): name for name, kind in TYPES.items()} | {
    int(LlamaFileType.ALL_F32): "F32",
    int(LlamaFileType.MOSTLY_F16): "F16",
    int(LlamaFileType.MOSTLY_BF16): "BF16",
}
_PLAIN = {GGMLQuantizationType[name] for name in FULL_PRECISION}
# What a build of a type may consist of without anything having fallen back.
_EXPECTED = {
    "Q8_0": {"Q8_0"},
    "Q6_K": {"Q6_K"},
    "Q5_K": {"Q5_K", "Q6_K"},
    "Q4_K": {"Q4_K", "Q5_K", "Q6_K"},
    "Q3_K": {"Q3_K", "Q4_K", "Q5_K", "Q6_K"},
    "Q2_K": {"Q2_K", "Q3_K", "Q4_K", "Q6_K"},
}
# What llama.cpp puts in place of what; the others replace the build's own type.
_REPLACED = {"Q5_0": "Q4_K", "Q5_1": "Q5_K", "Q8_0": "Q6_K"}


@dataclass(frozen=True)
class Build:
    """A quantized GGUF: its size, and what its tensors became."""

    file: Path
    type: str
    bytes: int
    bits_per_weight: float
    tensor_types: dict[str, int]
    """How many tensors have each type, e.g. {"Q4_K": 20, "Q6_K": 5, "F32": 9}."""
    fallbacks: list[str]
    """Which tensors have another type than the build's, because their rows do not divide."""
    type_weights: dict[str, int]
    """How many weights each type holds."""


def type_name(name: str) -> str:
    """The name of a build type as in TYPES; RequestError listing them for an unknown one."""
    upper = name.upper()
    if upper not in TYPES:
        raise RequestError(f"Unknown build type {name!r}.", f"Choose from {', '.join(TYPES)}.")
    return upper


def build(source: Path, output: Path, type: str) -> Build:
    """Quantize the GGUF ``source`` (F32, F16 or BF16) to ``output``.

    Raises RequestError for an unknown type or a source that is quantized already, EdgetuneError
    when quantizing fails; ``output`` is then what it was before.
    """
    name = type_name(type)
    tensors = read_tensors(source)
    if any(tensor.tensor_type not in _PLAIN for tensor in tensors):
        raise RequestError(
            f"{source} is quantized already.", "Build from an F32, F16 or BF16 file."
        )
    # For rows that do not even divide by 32 llama.cpp stops with an error when it is asked for
    # Q8_0 (only K types have a fallback there): such tensors are told to stay F16 from the start.
    overrides = [
        (f"^{re.escape(tensor.name)}$", int(GGMLQuantizationType.F16))
        for tensor in tensors
        if len(tensor.shape) > 1 and int(tensor.shape[0]) % 32
    ]
    try:
        with atomic_file(output) as temporary, tempfile.TemporaryDirectory() as folder:
            outcome = child.run(
                "edgetune.quantize.requantize",
                {
                    "source": str(source),
                    "output": str(temporary),
                    "file_type": int(TYPES[name]),
                    "overrides": overrides,
                },
                Path(folder),
            )
            if outcome.answer is None:
                raise _failure(source, temporary, name, outcome.failure)
            result = describe(temporary, name)
    except OSError as error:
        raise explain_os_error(error, f"building {name}") from error
    return replace(result, file=output)


def _failure(source: Path, temporary: Path, name: str, why: str) -> EdgetuneError:
    # llama.cpp reports a full disk as a stream error without a reason.
    if shutil.disk_usage(temporary.parent).free < source.stat().st_size // 8:
        return EdgetuneError(
            f"The disk is full: building {name} from {source} failed.",
            "Nothing was left half-written. Free some space and run the command again.",
        )
    return EdgetuneError(f"Building {name} from {source} failed: {why}.")


def read_tensors(path: Path) -> list[gguf.gguf_reader.ReaderTensor]:
    """The tensors of a GGUF; RequestError, naming the file, when it is none."""
    try:
        return list(gguf.GGUFReader(path).tensors)
    except FileNotFoundError:
        raise RequestError(f"{path} is missing.") from None
    except (ValueError, KeyError, IndexError, OverflowError) as error:
        raise RequestError(
            f"{path} is no GGUF file or a damaged one ({error}).", "Export it again."
        ) from error


def describe(path: Path, name: str | None = None) -> Build:
    """What a GGUF consists of. ``name`` is its build type (default: what its metadata says)."""
    tensors = read_tensors(path)
    if name is None:
        name = _stated_type(path)
    types = Counter(tensor.tensor_type.name for tensor in tensors)
    type_weights: Counter[str] = Counter()
    for tensor in tensors:
        type_weights[tensor.tensor_type.name] += int(tensor.n_elements)
    size = sum(int(tensor.n_bytes) for tensor in tensors)
    return Build(
        file=path,
        type=name,
        bytes=path.stat().st_size,
        bits_per_weight=8 * size / max(type_weights.total(), 1),
        tensor_types=dict(types.most_common()),
        fallbacks=_fallbacks(tensors, name),
        type_weights=dict(type_weights),
    )


def _stated_type(path: Path) -> str:
    field = gguf.GGUFReader(path).get_field(gguf.Keys.General.FILE_TYPE)
    stated = field.contents() if field is not None else None
    return _STATED.get(stated, "unknown") if isinstance(stated, int) else "unknown"


def _fallbacks(tensors: list[gguf.gguf_reader.ReaderTensor], name: str) -> list[str]:
    expected = _EXPECTED.get(name.removesuffix("_S").removesuffix("_M").removesuffix("_L"))
    if expected is None:
        return []
    groups: dict[tuple[str, int, str], int] = {}
    for tensor in tensors:
        kind = tensor.tensor_type.name
        if len(tensor.shape) > 1 and kind not in expected:
            role = re.sub(r"^blk\.\d+\.", "", tensor.name).removesuffix(".weight")
            key = (role, int(tensor.shape[0]), kind)
            groups[key] = groups.get(key, 0) + 1
    return [
        f"{role} ({count} {'tensor' if count == 1 else 'tensors'}, rows of {row}): "
        f"{kind} instead of {_REPLACED.get(kind, name)}"
        for (role, row, kind), count in groups.items()
    ]
