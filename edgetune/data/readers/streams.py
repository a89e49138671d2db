"""A file's bytes in chunks, unpacked if they are compressed, and digested on the way."""

import hashlib
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

from edgetune.data.readers import rows
from edgetune.errors import RequestError, explain_os_error

CHUNK = 1 << 20
GZIP = b"\x1f\x8b"
ZSTD = b"\x28\xb5\x2f\xfd"
# Bytes that are unpacked at once: they can become 30,000 times as many.
_ZSTD_PIECES = (64, 2048)


class Damaged(Exception):
    """The data cannot be read any further, for the reason in its text."""


class Stream:
    """A file that is read once, from its beginning to its end."""

    def __init__(self, path: Path, progress: Callable[[int], None] | None = None) -> None:
        self._path = path
        self._progress = progress
        self._hash = hashlib.sha256()
        self._file: BinaryIO | None = None
        self.bytes = 0
        """Bytes of the file read so far."""
        self.packed = False
        """Whether the file is compressed, which its first chunk shows."""

    def __enter__(self) -> "Stream":
        """Raises RequestError if the file cannot be opened."""
        try:
            self._file = self._path.open("rb")
        except FileNotFoundError:
            raise RequestError(f"There is no file {self._path}.") from None
        except IsADirectoryError:
            raise RequestError(f"{self._path} is a directory, not a file with rows.") from None
        except OSError as error:
            raise self._explained(error) from None
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._file is not None:
            self._file.close()

    def chunks(self) -> Iterator[bytes]:
        """The bytes as they were before any compression. Raises Damaged."""
        raw = self.raw()
        first = next(raw, b"")
        self.packed = first.startswith(GZIP) or is_zstd(first)
        if first.startswith(GZIP):
            return _gunzip(_again(first, raw))
        if self.packed:
            return _unzstd(_again(first, raw))
        return _again(first, raw)

    def raw(self) -> Iterator[bytes]:
        """The bytes as they lie on the disk."""
        assert self._file is not None
        while True:
            try:
                chunk = self._file.read(CHUNK)
            except OSError as error:
                raise self._explained(error) from None
            if not chunk:
                return
            self._hash.update(chunk)
            self.bytes += len(chunk)
            if self._progress is not None:
                self._progress(self.bytes)
            yield chunk

    def sha256(self) -> str:
        """The digest of the whole file; reads what was not read yet."""
        for _ in self.raw():
            pass
        return self._hash.hexdigest()

    def _explained(self, error: OSError) -> RequestError:
        return RequestError(explain_os_error(error, f"reading {self._path}").message)


def is_zstd(data: bytes) -> bool:
    """Whether data begins as a zstd file does, perhaps with a frame that is to be skipped."""
    return data.startswith(ZSTD) or (data[1:4] == b"\x2a\x4d\x18" and 0x50 <= data[0] <= 0x5F)


def _again(first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    if first:
        yield first
    yield from rest


def _gunzip(chunks: Iterator[bytes]) -> Iterator[bytes]:
    unpack = zlib.decompressobj(wbits=31)
    members = 0
    for data in chunks:
        while data:
            if unpack.eof:
                data = data.lstrip(b"\0")  # archives on tape are filled up with zeros
                if not data:
                    break
                members += 1
                unpack = zlib.decompressobj(wbits=31)
            try:
                yield from _inflated(unpack, data)
            except zlib.error:
                if members:
                    raise Damaged(
                        "the compressed data (gzip) is damaged, or something else follows it"
                    ) from None
                raise Damaged("the compressed data (gzip) is damaged") from None
            data = unpack.unused_data
    if not unpack.eof:
        raise Damaged("the compressed data (gzip) is cut off")


def _inflated(unpack: Any, data: bytes) -> Iterator[bytes]:
    # Never much at once: a small file can unpack to more than the memory holds.
    while piece := unpack.decompress(data, CHUNK):
        yield piece
        data = unpack.unconsumed_tail


def _unzstd(chunks: Iterator[bytes]) -> Iterator[bytes]:
    import zstandard

    unpack = zstandard.ZstdDecompressor().decompressobj()
    least, most = _ZSTD_PIECES
    size = least
    for chunk in chunks:
        position = 0
        while position < len(chunk):
            if unpack.eof:  # a file may hold several frames
                unpack = zstandard.ZstdDecompressor().decompressobj()
            piece = chunk[position : position + size]
            try:
                data = unpack.decompress(piece)
            except zstandard.ZstdError:
                raise Damaged("the compressed data (zstd) is damaged") from None
            position += len(piece) - len(unpack.unused_data)
            size = max(size // 2, least) if len(data) > CHUNK else min(size * 2, most)
            if data:
                yield data
    if not unpack.eof:
        raise Damaged("the compressed data (zstd) is cut off")


def lines(chunks: Iterable[bytes]) -> Iterator[bytes | None]:
    """The lines of chunked text without their line feed; None for one over ``LONGEST_ROW``."""
    parts: list[bytes] = []
    size = 0
    for chunk in chunks:
        first, *others = chunk.split(b"\n")
        size += len(first)
        if size <= rows.LONGEST_ROW:
            parts.append(first)
        else:
            parts = []
        if others:
            yield b"".join(parts) if size <= rows.LONGEST_ROW else None
            last = others.pop()
            yield from others
            parts, size = [last], len(last)
    if size:
        yield b"".join(parts) if size <= rows.LONGEST_ROW else None
