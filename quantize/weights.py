"""Read a model directory's safetensors, one tensor at a time.

The safetensors package has no bfloat16 for numpy, and the header has to be compared with the
file's size anyway before anything is read, so the (tiny) format is read here: eight bytes of
header length, a JSON header of ``{name: {dtype, shape, data_offsets}}``, then the data.
"""

import json
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from edgetune.errors import RequestError

# bfloat16 has no numpy type: its bits travel as uint16, the upper half of a float32.
_DTYPES: dict[str, np.dtype[Any]] = {
    "F32": np.dtype("<f4"),
    "F16": np.dtype("<f2"),
    "BF16": np.dtype("<u2"),
}
_HEADER_LIMIT = 100 * 1024 * 1024
_INDEX = "model.safetensors.index.json"


@dataclass(frozen=True)
class Entry:
    """Where a tensor lies; ``offset`` counts bytes from the start of ``file``."""

    file: Path
    dtype: str
    shape: tuple[int, ...]
    offset: int


def _damaged(path: Path, what: str) -> RequestError:
    return RequestError(f"{path} {what}.", "Download or save the model again.")


def read_header(path: Path) -> dict[str, Entry]:
    """The tensors in a safetensors file, checked against the file's size.

    Raises RequestError, naming the file, when it is truncated or no safetensors file.
    """
    size = path.stat().st_size
    with path.open("rb") as handle:
        head = handle.read(8)
        length = int.from_bytes(head, "little")
        if len(head) < 8 or length > min(size - 8, _HEADER_LIMIT):
            raise _damaged(path, "is truncated or not a safetensors file")
        try:
            header: dict[str, Any] = json.loads(handle.read(length))
            tensors = {name: value for name, value in header.items() if name != "__metadata__"}
            entries = {}
            end = 8 + length
            for name, value in tensors.items():
                begin, stop = (8 + length + int(offset) for offset in value["data_offsets"])
                entries[name] = Entry(path, value["dtype"], tuple(value["shape"]), begin)
                dtype = _DTYPES.get(value["dtype"])
                if dtype is not None and stop - begin != prod(value["shape"]) * dtype.itemsize:
                    raise _damaged(path, f"gives {name} a size that does not fit its shape")
                end = max(end, stop)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise _damaged(path, f"has a damaged header ({error})") from error
    if end > size:
        raise _damaged(path, f"is truncated: it has {size} of {end} bytes")
    return entries


class Weights:
    """All tensors of a model directory, sharded or not; nothing is loaded until ``read``."""

    def __init__(self, model_dir: Path) -> None:
        self.model_dir = model_dir
        self.entries: dict[str, Entry] = {}
        for path in self._files():
            if not path.is_file():
                raise RequestError(
                    f"{path} is missing, though {_INDEX} names it.", "Download the model again."
                )
            for name, entry in read_header(path).items():
                if name in self.entries:
                    raise _damaged(path, f"holds {name}, which another file holds as well")
                self.entries[name] = entry

    def _files(self) -> list[Path]:
        index = self.model_dir / _INDEX
        if index.is_file():
            try:
                names = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
            except (ValueError, KeyError, AttributeError) as error:
                raise _damaged(index, f"is damaged ({error})") from error
            return [self.model_dir / name for name in sorted(names)]
        files = sorted(self.model_dir.glob("model*.safetensors"))
        if not files:
            raise RequestError(
                f"{self.model_dir} holds no model*.safetensors.",
                "Give the directory of a model in Hugging Face layout.",
            )
        return files

    def read(self, name: str) -> np.ndarray:
        """The tensor ``name`` as float32 or float16, in the dtype of the file (bfloat16 widened
        to float32, which is exact)."""
        entry = self.entries[name]
        dtype = _DTYPES.get(entry.dtype)
        if dtype is None:
            raise RequestError(
                f"{entry.file}: {name} has the type {entry.dtype}, which cannot be converted.",
                "Convert float32, float16 or bfloat16 weights.",
            )
        count = prod(entry.shape)
        flat: np.ndarray = np.fromfile(entry.file, dtype=dtype, count=count, offset=entry.offset)
        if flat.size != count:
            raise _damaged(entry.file, f"ends within {name}")
        if entry.dtype == "BF16":
            flat = (flat.astype(np.uint32) << 16).view(np.float32)
        return flat.reshape(entry.shape)
