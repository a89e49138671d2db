"""Sources of rows -> conversations, with everything there is to say about the rows."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from edgetune.config import SourceConfig
from edgetune.data import formats, sources, tasks
from edgetune.data.checks.findings import place
from edgetune.data.conversation import Conversation, Finding
from edgetune.data.parsing.fields import plain_name
from edgetune.data.parsing.recognition import ABOUT
from edgetune.data.readers.rows import FileRead
from edgetune.errors import RequestError

_SHOWN_PROBLEMS = 5
_MOST_RUNS = 20
"""Of a mixed file: how many stretches of rows are named for each format."""


@dataclass
class FileSummary:
    """A file that was read."""

    file: str
    sha256: str
    rows: int = 0
    conversations: int = 0
    formats: dict[str, int] = field(default_factory=dict)
    """Rows of each format."""
    ranges: dict[str, str] = field(default_factory=dict)
    """In a file with rows of several formats: the lines of each, e.g. ``1–5, 9``."""
    ignored_keys: list[str] = field(default_factory=list)
    """Keys of its rows that their format gives no meaning."""
    left_out: int = 0
    """Rows of which nothing became a conversation."""


@dataclass
class Loaded:
    """What sources hold, all in memory."""

    conversations: list[Conversation] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    files: list[FileSummary] = field(default_factory=list)


def read(
    source: SourceConfig, group: str = "", progress: Callable[[str, float], None] | None = None
) -> Iterator[Conversation | Finding | FileSummary]:
    """The conversations of a source in their order, each after the findings about it, and after
    each file what there is to say about it as a whole, and its summary. Streams.

    ``group`` is the key of the rows that names their group. Notes that many rows give alike come
    once for each file, with the line of the first. ``progress`` is told what is done and how
    much of it, 0 to 1. Raises RequestError for a source that cannot be read at all.
    """
    formats.check_request(source)
    found = sources.find(source)
    yield from found.findings
    sizes = [path.stat().st_size for path in found.files]
    columns = _Columns(source)
    for number, path in enumerate(found.files):
        if tasks.is_task_file(path):
            yield from _read_task_file(path, source, group)
        else:
            told = _told(progress, path, sizes, number)
            yield from _read_file(path, source, group, told, columns)
    columns.refuse_missing()


def _told(
    progress: Callable[[str, float], None] | None, path: Path, sizes: Sequence[int], number: int
) -> Callable[[int], None] | None:
    """How ``progress`` learns of the bytes that are read of one of several files."""
    if progress is None:
        return None
    before, whole = sum(sizes[:number]), max(sum(sizes), 1)
    return lambda done: progress(f"reading {path.name}", min((before + done) / whole, 1.0))


def _read_file(
    path: Path,
    source: SourceConfig,
    group: str,
    progress: Callable[[int], None] | None,
    columns: "_Columns",
) -> Iterator[Conversation | Finding | FileSummary]:
    seen = _Seen()
    for item in sources.read_rows(path, progress):
        if isinstance(item, Finding):
            seen.unreadable += item.left_out
            if not seen.holds_back(item):
                yield item
        elif isinstance(item, FileRead):
            yield from seen.findings(item.file)
            yield seen.summary(item)
        else:
            columns.see(item.value)
            row = formats.read_row(item, source, group)
            seen.add(item.line, row)
            for finding in row.findings:
                if not seen.holds_back(finding):
                    yield finding
            yield from row.conversations


def _read_task_file(
    path: Path, source: SourceConfig, group: str
) -> Iterator[Conversation | Finding | FileSummary]:
    counts: Counter[str] = Counter()
    left_out: Counter[str] = Counter()
    for item in tasks.read(path, source, group):
        if isinstance(item, FileRead):
            made = counts[item.file]
            yield FileSummary(
                item.file,
                item.sha256,
                item.rows,
                made,
                {"task file": item.rows} if made else {},
                left_out=left_out[item.file],
            )
            continue
        if isinstance(item, Conversation):
            counts[item.file] += 1
        elif item.left_out:
            left_out[item.file] += 1
        yield item


class _Columns:
    """Which of the columns that a source names none of its rows has had so far."""

    def __init__(self, source: SourceConfig) -> None:
        self._path = source.path
        self._missing = dict(source.columns)
        self._keys: dict[str, None] = {}
        """Those of its first row."""

    def see(self, row: Any) -> None:
        """Take note of the keys of a row."""
        if self._missing and isinstance(row, dict):
            self._keys = self._keys or dict.fromkeys(row)
            self._missing = {name: key for name, key in self._missing.items() if key not in row}

    def refuse_missing(self) -> None:
        """Raises RequestError, once all rows are read, for a column that none of them had."""
        if not self._missing or not self._keys:
            return
        name, key = next(iter(self._missing.items()))
        raise RequestError(
            f"No row of {self._path} has the key `{key}`, which is to stand for `{name}`.",
            f"Its rows have {', '.join(f'`{key}`' for key in self._keys)}.",
        )


class _Seen:
    """What is known of a file's rows so far."""

    def __init__(self) -> None:
        self.unreadable = 0
        """Rows that never got as far as having a format."""
        self.conversations = self.left_out = 0
        self._current: tuple[str, int, int] | None = None
        """The run of rows of one format that is going on: format, first line, last line."""
        self._runs: dict[str, list[str]] = {}
        self._formats: Counter[str] = Counter()
        self._ignored: dict[str, int] = {}
        self._notes: dict[tuple[str, str, str], tuple[Finding, int]] = {}

    def add(self, line: int, row: formats.RowRead) -> None:
        """Count a row that begins in ``line``."""
        self.conversations += len(row.conversations)
        self.left_out += not row.conversations
        for key in row.ignored:
            self._ignored.setdefault(key, line)
        if not row.format:
            return
        self._formats[row.format] += 1
        if self._current and self._current[0] == row.format:
            self._current = (row.format, self._current[1], line)
            return
        if self._current:
            self._end_run()
        self._current = (row.format, line, line)

    def holds_back(self, finding: Finding) -> bool:
        """Whether a finding is a note that is said once, at the end of the file."""
        if finding.grade != "note" or not finding.line:
            return False
        key = finding.file, finding.kind, finding.message
        first, count = self._notes.get(key, (finding, 0))
        self._notes[key] = first, count + 1
        return True

    def findings(self, file: str) -> Iterator[Finding]:
        """What is to be said once about the file."""
        for first, count in self._notes.values():
            rows = "row" if count == 2 else "rows"
            more = f", also in {count - 1} other {rows}" if count > 1 else ""
            yield replace(first, message=first.message + more)
        if noted := {key: line for key, line in self._ignored.items() if not _about(key)}:
            keys = ", ".join(f"`{key}`" for key in sorted(noted))
            text = f"{keys} of its rows {'is' if len(noted) == 1 else 'are'} not used"
            yield Finding("note", "ignored-keys", text, file, min(noted.values()))
        if ranges := self._ranges():
            text = "; ".join(f"{name} in lines {lines}" for name, lines in ranges.items())
            yield Finding("note", "mixed-formats", f"its rows are of several formats: {text}", file)

    def summary(self, file: FileRead) -> FileSummary:
        """The whole file."""
        return FileSummary(
            file.file,
            file.sha256,
            file.rows + self.unreadable,
            self.conversations,
            dict(self._formats.most_common()),
            self._ranges(),
            sorted(self._ignored),
            self.left_out + self.unreadable,
        )

    def _end_run(self) -> None:
        assert self._current is not None
        name, first, last = self._current
        runs = self._runs.setdefault(name, [])
        lines = str(first) if first == last else f"{first}–{last}"
        # Formats that take turns all through a large file must not fill the memory; and a list
        # of rows may stand in one line.
        if len(runs) < _MOST_RUNS:
            runs += [lines] if runs[-1:] != [lines] else []
        elif runs[-1] != "…":
            runs.append("…")
        self._current = None

    def _ranges(self) -> dict[str, str]:
        if self._current:
            self._end_run()
        return {name: ", ".join(runs) for name, runs in self._runs.items() if len(self._runs) > 1}


def _about(key: str) -> bool:
    """Whether a key, perhaps one inside of messages, only says something about its row."""
    return plain_name(key.rsplit(".", 1)[-1]) in ABOUT


def load(
    wanted: Sequence[Path | str | SourceConfig],
    bad_rows: Literal["refuse", "leave_out"] = "refuse",
) -> Loaded:
    """Read sources into memory.

    Raises RequestError that names the first rows with errors, unless ``bad_rows`` says to leave
    them out, and if there is no usable row at all.
    """
    loaded = Loaded()
    for one in wanted:
        source = one if isinstance(one, SourceConfig) else SourceConfig(path=str(one))
        for item in read(source):
            if isinstance(item, Conversation):
                loaded.conversations.append(item)
            elif isinstance(item, Finding):
                loaded.findings.append(item)
            else:
                loaded.files.append(item)
    if bad_rows == "refuse":
        refuse_errors(loaded.findings)
    if not loaded.conversations:
        raise no_usable_rows(loaded.findings)
    return loaded


def refuse_errors(findings: Sequence[Finding]) -> None:
    """Raises RequestError that shows the first errors among the findings, if there are any."""
    errors = [finding for finding in findings if finding.grade == "error"]
    if errors:
        raise RequestError(
            _listed(errors, _SHOWN_PROBLEMS),
            f"Correct or remove {'it' if len(errors) == 1 else 'them'}, or have such rows left "
            f"out: --set data.bad_rows=leave_out. {formats.ACCEPTED}",
        )


def no_usable_rows(findings: Sequence[Finding]) -> RequestError:
    """The error for data of which nothing is left, with the first reasons."""
    reasons = [finding for finding in findings if finding.left_out]
    shown = f" {_listed(reasons, 3)}" if reasons else ""
    return RequestError(f"There is no usable row.{shown}", formats.ACCEPTED)


def _listed(findings: Sequence[Finding], most: int) -> str:
    shown = "; ".join(f"{place(asdict(finding))}: {finding.message}" for finding in findings[:most])
    more = len(findings) - most
    return shown + (f"; and {more} more such rows." if more > 0 else ".")
