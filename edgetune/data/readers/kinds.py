"""What a file is, told from how it begins."""

import json
import re
from pathlib import PurePath
from typing import Literal

from edgetune.data.readers import csv_rows
from edgetune.errors import RequestError

JSON_NAMES = (".json", ".jsonl", ".ndjson")
TABLE_NAMES = (".csv", ".tsv")
TEXT_NAMES = (".txt", ".md", ".text", ".markdown")
PARQUET_NAMES = (".parquet", ".pq")
DATA_NAMES = (*JSON_NAMES, *TABLE_NAMES, *TEXT_NAMES, *PARQUET_NAMES)
PACKED_NAMES = (".gz", ".gzip", ".zst", ".zstd")

Kind = Literal["json", "table", "text"]

PARQUET = b"PAR1"
# How files begin that hold no rows, or hold them in a way that is not read.
_OTHERS: tuple[tuple[bytes, str, str], ...] = (
    (b"PK\x03\x04", "a ZIP archive, or an Excel workbook", "Unpack it, or save it as CSV."),
    (b"PK\x05\x06", "an empty ZIP archive", ""),
    (b"ARROW1\0", "an Arrow file", "Save it as Parquet or JSON Lines."),
    (b"\xff\xff\xff\xff", "an Arrow stream", "Save it as Parquet (`dataset.to_parquet`)."),
    (b"PARE", "an encrypted Parquet file", "Save it without encryption."),
    (b"\x1f\x8b", "compressed twice", "Unpack it once."),
    (b"\x28\xb5\x2f\xfd", "compressed twice", "Unpack it once."),
    (b"BZh", "compressed with bzip2", "Unpack it, or compress it with gzip or zstd."),
    (b"\xfd7zXZ\0", "compressed with xz", "Unpack it, or compress it with gzip or zstd."),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive", "Unpack it."),
    (b"Rar!\x1a\x07", "a RAR archive", "Unpack it."),
    (b"\x04\x22\x4d\x18", "compressed with LZ4", "Unpack it, or compress it with gzip or zstd."),
    (b"%PDF", "a PDF document", "Extract its text."),
    (b"SQLite format 3\0", "an SQLite database", "Export its rows as CSV or JSON."),
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file", "Save its rows as Parquet or JSON Lines."),
    (b"\x93NUMPY", "a NumPy array", "Save its rows as JSON Lines."),
    (b"ORC", "an ORC file", "Save it as Parquet."),
    (b"Obj\x01", "an Avro file", "Save it as Parquet or JSON Lines."),
    (b"GGUF", "a model in the GGUF format", "Name the data, not the model."),
    (b"\x89PNG\r\n", "a picture", ""),
    (b"\xff\xd8\xff", "a picture", ""),
    (b"GIF8", "a picture", ""),
    (b"\x7fELF", "a program", ""),
)
_PICKLE = re.compile(rb"\x80[\x02-\x05][\x95\x5d\x7d\x63\x8a\x28\x71\x58\x4b\x8c]")
_UTF16 = re.compile(rb"(?:[\t\n\r -~]\0){4}|(?:\0[\t\n\r -~]){4}")
_TEXT_OF_JSON = re.compile(
    r"""\s*(?: \{ \s* (?: ["}'] | \Z ) | \[ \s* (?: [\[{"\]] | \Z ) )""", re.VERBOSE
)


def refuse_others(data: bytes, file: str) -> None:
    """Raises RequestError, saying what it is, for a file that does not begin like text."""
    hint = "Rows are read from JSON, JSON Lines, CSV, TSV, Parquet and plain text."
    for start, what, advice in _OTHERS:
        if data.startswith(start) and not (start == b"ORC" and data[3:4].isalnum()):
            raise RequestError(f"{file} is {what}.", advice or hint)
    if _PICKLE.match(data):
        raise RequestError(
            f"{file} is a Python pickle, which is not opened: it could run any program.",
            "Save its rows as JSON Lines.",
        )
    if data[257:262] == b"ustar":
        raise RequestError(f"{file} is a tar archive.", "Unpack it and name its directory.")
    if data.startswith((b"\xff\xfe", b"\xfe\xff")) or _UTF16.match(data):
        raise RequestError(
            f"{file} is text in UTF-16, not UTF-8.",
            "Save it as UTF-8, e.g. with `iconv -f UTF-16 -t UTF-8`.",
        )
    start = data[:4096]
    odd = sum(byte < 32 and byte not in b"\t\n\r\f\x1b" for byte in start)
    if odd > len(start) * 0.1 and start.lstrip()[:1] not in (b"{", b"["):
        raise RequestError(f"{file} is not text; it is in no known format.", hint)


def kind(text: str, name: str) -> Kind:
    """What a file of this name holds that begins with ``text``: the content decides, and where
    it leaves it open the name."""
    suffix = bare_suffix(name)
    first_line = text.lstrip(" \t\r\n").split("\n", 1)[0]
    if _TEXT_OF_JSON.match(text) and (suffix in JSON_NAMES or suffix not in TEXT_NAMES):
        return "json"
    if suffix in JSON_NAMES or _is_json(first_line):
        return "json"
    if suffix in TABLE_NAMES:
        return "table"
    if suffix in TEXT_NAMES:
        return "text"
    if any(_is_json(line) for line in text[: 1 << 16].split("\n")[:10]):
        return "json"
    return "table" if csv_rows.delimiter(text)[1] else "text"


def bare_suffix(name: str) -> str:
    """The ending of a file's name, small, without that of its compression."""
    path = PurePath(name.lower())
    return PurePath(path.stem).suffix if path.suffix in PACKED_NAMES else path.suffix


def _is_json(line: str) -> bool:
    """Whether a line is an object or a list, or begins one that goes on in the next line."""
    line = line.strip()
    if line in ("[", "{", "[{"):
        return True
    try:
        return line[:1] in ("{", "[") and isinstance(json.loads(line), (dict, list))
    except (ValueError, RecursionError):
        return False
