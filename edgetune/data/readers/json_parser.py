"""JSON text -> values, with what is to be said about them."""

import json
import re
from typing import Any

from edgetune.data.conversation import Finding
from edgetune.data.readers import rows
from edgetune.data.readers.rows import Row, unusable

_WHITE = re.compile(r"[ \t\r\n]*")
_ODD_ESCAPE = re.compile(r"\\u(?:0000|[dD][89a-fA-F])")


class Parser:
    """JSON text -> a value, with findings for what json would let pass."""

    def __init__(self, file: str) -> None:
        self.file = file
        self._twice: list[str] = []
        self._odd: list[str] = []
        self._decoder = json.JSONDecoder(
            object_pairs_hook=self._object,
            parse_constant=self._constant,
            parse_float=self._float,
        )

    def parse(self, text: str, position: int = 0) -> tuple[Any, int]:
        """The value at a position, and where it ends. Raises ValueError with its reason, a
        json.JSONDecodeError if the text is no JSON there."""
        self._twice.clear()
        self._odd.clear()
        try:
            return self._decoder.raw_decode(text, position)
        except RecursionError:
            raise ValueError("the row is nested too deeply") from None
        except json.JSONDecodeError:
            raise
        except ValueError:  # Python reads numbers up to a certain length only
            raise ValueError("the row holds a number with thousands of digits") from None

    def row(self, value: Any, text: str, start: int, end: int, line: int) -> Row | Finding:
        """The row of a value that was just parsed from ``text[start:end]``."""
        # Only text with such escapes or many brackets can hold what is looked for.
        if (
            _ODD_ESCAPE.search(text, start, end)
            or text.count("{", start, end) + text.count("[", start, end) > rows.DEEPEST_ROW
        ):
            problem = unusable(value, self.file, line)
            if problem:
                return problem
        if not self._twice and not self._odd:
            return Row(value, self.file, line)
        findings = [
            Finding(
                "warning",
                "duplicate-key",
                f"the key `{key}` stands twice in one object; its last value counts",
                self.file,
                line,
            )
            for key in dict.fromkeys(self._twice)
        ]
        if self._odd:
            message = f"`{self._odd[0]}` is no JSON number and is read as null"
            findings.append(Finding("warning", "not-a-number", message, self.file, line))
        return Row(value, self.file, line, tuple(findings))

    def _object(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        value = dict(pairs)
        if len(value) != len(pairs):
            seen: set[str] = set()
            for key, _ in pairs:
                if key in seen:
                    self._twice.append(shown_key(key))
                seen.add(key)
        return value

    def _constant(self, name: str) -> None:
        self._odd.append(name)

    def _float(self, digits: str) -> float | None:
        value = float(digits)
        if value - value != 0:  # infinite
            self._odd.append(digits[:20])
            return None
        return value


def shown_key(key: str) -> str:
    shown = key.encode("utf-8", "replace").decode()
    return shown if len(shown) <= 60 else shown[:60] + "…"


def explain(error: json.JSONDecodeError) -> str:
    """Why text is not JSON, in words that say what to correct."""
    text, at = error.doc, error.pos
    rest = text[at : at + 200].lstrip(" \t\r\n")
    before = text[max(0, at - 200) : at].rstrip(" \t\r\n")
    if rest.startswith(",") and rest[1:].lstrip(" \t\r\n")[:1] in ("}", "]"):
        return f"there is a comma before `{rest[1:].lstrip()[0]}`"
    if before.endswith(",") and rest[:1] in ("}", "]"):
        return f"there is a comma before `{rest[0]}`"
    if not rest:
        return "the row is cut off"
    if rest.startswith("'"):
        return "a text is in single quotes, as Python writes it; JSON needs double quotes"
    if rest.startswith(("True", "False", "None")):
        word = re.match("[A-Za-z]+", rest)
        return f"`{word[0] if word else rest[:5]}` is Python, not JSON"
    if error.msg.startswith("Unterminated string"):
        return "the text that begins here is not closed"
    if error.msg.startswith("Invalid control character"):
        return "there is a line break or control character inside a text"
    if error.msg.startswith("Extra data"):
        return "there is more text after the row"
    return error.msg[0].lower() + error.msg[1:].removesuffix(" at")


def skip_white(text: str, position: int) -> int:
    white = _WHITE.match(text, position)
    return white.end() if white else position
