"""Is this file a whole GGUF model? Asked before llama.cpp sees it.

llama.cpp ends the whole process on some malformed files (duplicate token texts, for one), so the
header is read here first: magic, version, metadata, and whether every tensor's bytes are within
the file. Nothing but the header is read; a large vocabulary takes a tenth of a second.
"""

import struct
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from gguf import GGML_QUANT_SIZES, GGMLQuantizationType

from edgetune.errors import RequestError

_STRING, _ARRAY = 8, 9
_SCALARS = {
    0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?",
    10: "<Q", 11: "<q", 12: "<d",
}  # fmt: skip
_KEPT = ("tokenizer.ggml.tokens", "tokenizer.ggml.token_type")
_CONTROL = (2, 3)  # token types: unknown, control
_BYTE = 6
_MAX_COUNT = 1 << 28  # more entries than any real header holds: the count itself is damaged


@dataclass(frozen=True)
class Header:
    """What a GGUF says about itself; of the arrays, ``metadata`` has only ``_KEPT``."""

    metadata: dict[str, Any]
    tensors: int

    @property
    def architecture(self) -> str:
        return str(self.metadata["general.architecture"])

    @property
    def context_length(self) -> int:
        """Tokens the model was made for; 0 if the file does not say."""
        return int(self.metadata.get(f"{self.architecture}.context_length", 0))

    def control_texts(self) -> list[str]:
        """Texts of the control tokens: they structure a prompt and belong to no message."""
        kinds = self.metadata.get("tokenizer.ggml.token_type") or []
        tokens = self.metadata["tokenizer.ggml.tokens"]
        return [
            token.decode("utf-8", "replace")
            for token, kind in zip(tokens, kinds, strict=False)
            if kind in _CONTROL and token
        ]

    def characters(self) -> frozenset[str] | None:
        """All that this vocabulary can write, if it is a SentencePiece one without byte tokens;
        None where there is no limit. llama.cpp ends the process over any other character."""
        kinds = self.metadata.get("tokenizer.ggml.token_type") or []
        if self.metadata.get("tokenizer.ggml.model") != "llama" or _BYTE in kinds:
            return None
        texts = {
            token.decode("utf-8", "replace") for token in self.metadata["tokenizer.ggml.tokens"]
        }
        single = {text for text in texts if len(text) == 1}
        return frozenset(single | ({" "} if "▁" in single else set()))


class _Cut(Exception):
    """The file ends inside its header, or its header is damaged."""


def read_header(file: Path) -> Header:
    """Read and check the header of ``file``.

    Raises RequestError if there is no such file, if it is no GGUF, is cut short or damaged, or
    holds something other than a language model with its tokenizer.
    """
    try:
        size = file.stat().st_size
        with file.open("rb") as handle:
            if handle.read(4) != b"GGUF":
                raise RequestError(
                    f"{file} is no GGUF file.",
                    "Name a .gguf file, such as `edgetune export` makes, or a run.",
                )
            metadata, sizes = _read(handle)
            start = _aligned(handle.tell(), int(metadata.get("general.alignment", 32)))
    except IsADirectoryError:
        raise RequestError(
            f"{file} is a directory, no GGUF file.", "Name a .gguf file or a run."
        ) from None
    except OSError as error:
        raise RequestError(
            f"The model file {file} cannot be read: {error.strerror}.",
            "Check the path and its permissions.",
        ) from None
    except (_Cut, UnicodeDecodeError, ValueError, TypeError, KeyError) as error:
        raise _damaged(file, f"its header cannot be read ({error})") from None
    missing = max((start + offset + length for offset, length in sizes), default=0) - size
    if missing > 0:
        raise _damaged(file, f"it is cut short: {missing} bytes of its weights are missing")
    _check_model(file, metadata, len(sizes))
    return Header(metadata, len(sizes))


def _check_model(file: Path, metadata: dict[str, Any], tensors: int) -> None:
    kind = metadata.get("general.type", "model")
    if kind != "model":
        raise RequestError(
            f"{file} holds no model but: {kind}.", "Name the GGUF file of a whole model."
        )
    for key in ("general.architecture", "tokenizer.ggml.model", "tokenizer.ggml.tokens"):
        if not metadata.get(key):
            raise _damaged(file, f"its metadata has no {key}")
    if not tensors:
        raise _damaged(file, "it holds no weights")
    tokens = metadata["tokenizer.ggml.tokens"]
    twice = [token for token, count in Counter(tokens).items() if count > 1]
    if twice:
        text = twice[0].decode("utf-8", "replace")
        raise _damaged(file, f"its vocabulary holds the token {text!r} more than once")


def _damaged(file: Path, why: str) -> RequestError:
    return RequestError(f"The model file {file} is damaged: {why}.", "Export or download it again.")


def _aligned(position: int, alignment: int) -> int:
    if alignment <= 0:
        raise _Cut("its alignment is not positive")
    return -(-position // alignment) * alignment


def _read(handle: BinaryIO) -> tuple[dict[str, Any], list[tuple[int, int]]]:
    """Metadata, and (offset, bytes) of every tensor; ``handle`` stands behind the magic."""
    version = _scalar(handle, "<I")
    if version not in (2, 3):
        raise _Cut(f"GGUF version {version} is not known, or the file is big-endian")
    tensors, pairs = _count(handle), _count(handle)
    metadata: dict[str, Any] = {}
    for _ in range(pairs):
        key = _string(handle).decode("utf-8")
        metadata[key] = _value(handle, _scalar(handle, "<I"), keep=key in _KEPT)
    sizes = []
    for _ in range(tensors):
        _string(handle)
        elements = 1
        for _ in range(_scalar(handle, "<I")):
            elements *= _scalar(handle, "<Q")
        block, length = GGML_QUANT_SIZES[GGMLQuantizationType(_scalar(handle, "<I"))]
        sizes.append((_scalar(handle, "<Q"), elements // block * length))
    return metadata, sizes


def _value(handle: BinaryIO, kind: int, keep: bool) -> Any:
    if kind == _STRING:
        return _string(handle).decode("utf-8", "replace")
    if kind != _ARRAY:
        if kind not in _SCALARS:
            raise _Cut(f"value type {kind} is not known")
        return _scalar(handle, _SCALARS[kind])
    entry, count = _scalar(handle, "<I"), _count(handle)
    if entry == _STRING:
        texts = [_string(handle) for _ in range(count)]
        return texts if keep else None
    if entry not in _SCALARS:
        raise _Cut(f"array type {entry} is not known")
    data = _bytes(handle, struct.calcsize(_SCALARS[entry]) * count)
    if not keep:
        return None
    return list(struct.unpack(f"<{count}{_SCALARS[entry][1]}", data))


def _bytes(handle: BinaryIO, length: int) -> bytes:
    data = handle.read(length)
    if len(data) != length:
        raise _Cut("it is cut short")
    return data


def _scalar(handle: BinaryIO, form: str) -> Any:
    return struct.unpack(form, _bytes(handle, struct.calcsize(form)))[0]


def _count(handle: BinaryIO) -> int:
    count = int(_scalar(handle, "<Q"))
    if count > _MAX_COUNT:
        raise _Cut(f"it counts {count} entries")
    return count


def _string(handle: BinaryIO) -> bytes:
    return _bytes(handle, _count(handle))
