"""Parquet -> rows. A file is read a few rows at a time; a row's line is its number."""

import datetime
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from edgetune.data.conversation import Finding
from edgetune.data.readers.rows import Row, broken, left_out, unusable
from edgetune.errors import RequestError

_AT_ONCE = 256  # rows; they may be long
_PADDED = ("arguments", "parameters", "input_schema", "tools")
"""Keys of objects that need not have the same keys in every row."""


def read(source: Path | BinaryIO, file: str) -> Iterator[Row | Finding]:
    """The rows of a Parquet file. Raises RequestError if it is damaged at its core."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    # The library reports damage by errors of every kind.
    try:
        table = pq.ParquetFile(source)
        names = list(table.schema_arrow.names)
        groups = table.num_row_groups
        plain = all(_is_plain(field.type, pa) for field in table.schema_arrow)
    except Exception as error:
        raise RequestError(
            f"{file} is a damaged Parquet file: {_first_line(error)}.", "Fetch or write it again."
        ) from None
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise RequestError(
            f"{file}: two columns have the name `{twice[0]}`.", "Give every column its own name."
        )
    number = 0
    for group in range(groups):
        try:
            for batch in table.iter_batches(_AT_ONCE, row_groups=[group]):
                for value in _values(batch):
                    number += 1
                    yield _row(value, plain, file, number)
        except Exception as error:
            expected = sum(table.metadata.row_group(index).num_rows for index in range(group + 1))
            message = f"the rows up to row {expected} are damaged: {_first_line(error)}"
            yield broken(message, file, number + 1)
            number = expected


def _values(batch: Any) -> Iterator[Any]:
    try:
        yield from batch.to_pylist()
    except UnicodeDecodeError:  # then one by one, to find out which
        for index in range(batch.num_rows):
            try:
                yield batch.slice(index, 1).to_pylist()[0]
            except UnicodeDecodeError as error:
                yield error


def _row(value: Any, plain: bool, file: str, number: int) -> Row | Finding:
    if isinstance(value, UnicodeDecodeError):
        return left_out("encoding", "the row holds text that is not UTF-8", file, number)
    findings: list[Finding] = []
    if not plain:
        row = {}
        for key, item in value.items():
            said: dict[str, str] = {}
            row[key] = _as_json(item, said)
            if text := said.get("not-a-number"):
                findings.append(Finding("warning", "not-a-number", text, file, number))
            if said.get("binary"):
                text = f"`{key}` holds bytes, not text, which are read as null"
                findings.append(Finding("note", "binary", text, file, number))
        value = row
    value = _unpadded(value)
    problem = unusable(value, file, number)
    return problem or Row(value, file, number, tuple(findings))


def _unpadded(value: Any, within: bool = False) -> Any:
    """A value whose tools and calls lack the keys that are null: where the calls of a column take
    different arguments, Arrow gives each of them those of all."""
    if isinstance(value, list):
        return [_unpadded(item, within) for item in value]
    if isinstance(value, dict):
        return {
            key: _unpadded(item, within or key in _PADDED)
            for key, item in value.items()
            if not within or item is not None
        }
    return value


def _is_plain(kind: Any, pa: Any) -> bool:
    """Whether all values of an Arrow type are what JSON has as well."""
    types = pa.types
    if types.is_struct(kind):
        return all(_is_plain(field.type, pa) for field in kind)
    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        return _is_plain(kind.value_type, pa)
    if types.is_dictionary(kind):
        return _is_plain(kind.value_type, pa)
    checks = (types.is_string, types.is_large_string, types.is_integer, types.is_boolean)
    return any(check(kind) for check in checks) or bool(types.is_null(kind))


def _as_json(value: Any, said: dict[str, str]) -> Any:
    """A value of Python as JSON would have it; what is lost is said by its kind."""
    if value is None or isinstance(value, (str, int)):
        return value
    if isinstance(value, dict):
        return {str(key): _as_json(item, said) for key, item in value.items()}
    if isinstance(value, list):
        if value and all(isinstance(item, tuple) for item in value):  # an Arrow map
            return {str(key): _as_json(item, said) for key, item in value}
        return [_as_json(item, said) for item in value]
    if isinstance(value, float):
        if math.isfinite(value):
            return value
        said["not-a-number"] = f"`{value}` is no JSON number and is read as null"
        return None
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            said["binary"] = "a field that holds bytes, not text, is read as null"
            return None
    if isinstance(value, (datetime.datetime, datetime.date, datetime.time)):
        return value.isoformat()
    return str(value)


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0][:200].rstrip(". ")
