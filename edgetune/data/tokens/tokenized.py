"""Sources -> tokenized rows on disk, from the cache where it has them.

What is kept follows from the bytes of the files, how they are read, the template, the mask and
the tokenizer, and from nothing else: length limit, split and mixture are applied to it later.
The files are hashed on every run, whatever their size and time say.
"""

import hashlib
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from functools import cache as once
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from edgetune.config import DataConfig, SourceConfig
from edgetune.data import reading, sources
from edgetune.data.checks.labels import contradictions
from edgetune.data.conversation import Conversation, Finding, Grade, content_digest
from edgetune.data.task_file import files_behind
from edgetune.data.template import Example, RowProblem, to_examples
from edgetune.data.templates.drafts import MaskOptions
from edgetune.data.templates.rendering import ChatTemplate
from edgetune.data.tokenizer import Tokenizer
from edgetune.data.tokens import cache
from edgetune.data.tokens.store import Store, Writer
from edgetune.errors import EdgetuneError, RequestError, explain_os_error

Progress = Callable[[str, float], None]
"""Called with what is being done and which share of it is done, 0 to 1."""

_CHUNK = 256
# Rows that are in memory at once.


@dataclass(frozen=True)
class Setup:
    """What turns conversations into tokens."""

    tokenizer: Tokenizer
    template: ChatTemplate
    masks: MaskOptions
    now: datetime | None = None
    """The time that the template may write."""


@dataclass(frozen=True)
class Tokenized:
    """A source as tokens, and how to read it once more."""

    source: SourceConfig
    """With the revision that was found, where it is a Hugging Face dataset."""
    group: str
    store: Store
    key: str
    """Equal for equal content, settings, template and tokenizer."""

    def conversations(self) -> Iterator[Conversation]:
        """The conversations that the rows of ``store`` were made from, in their order, read from
        the files once more.

        Raises RequestError where these are no longer what they were.
        """
        digests = self.store.rows["digest"]
        count = 0
        for item in reading.read(self.source, self.group):
            if isinstance(item, Conversation):
                if count == len(digests) or content_digest(item) != digests[count].tobytes():
                    break
                count += 1
                yield item
        else:
            if count == len(digests):
                return
        raise RequestError(f"{self.source.path} changed while it was in use.", "Start again.")

    def digests(self, seed: int, keep: bool) -> np.ndarray:
        """``content_digest`` of every row, keyed by ``seed``: uint8 (rows, 16)."""
        if seed == 0:  # the usual one, which the store has
            kept = np.ascontiguousarray(self.store.rows["digest"])
            return kept.view(np.uint8).reshape(-1, 16)

        def make(folder: Path) -> None:
            data = b"".join(content_digest(item, seed) for item in self.conversations())
            seal = hashlib.blake2b(data, digest_size=16).digest()
            (folder / "digests.bin").write_bytes(data + seal)

        def load(folder: Path) -> np.ndarray:
            try:
                data = (folder / "digests.bin").read_bytes()
            except OSError as error:
                raise explain_os_error(error, "reading kept digests") from error
            if hashlib.blake2b(data[:-16], digest_size=16).digest() != data[-16:]:
                raise EdgetuneError(f"The digests in {folder} are damaged.")
            return np.frombuffer(data[:-16], np.uint8).reshape(-1, 16)

        return cache.obtain(cache.key(["digests", self.key, seed]), make, load, keep)


def tokenize(
    source: SourceConfig, config: DataConfig, setup: Setup, progress: Progress | None = None
) -> Tokenized:
    """The rows of ``source`` as tokens.

    Raises RequestError for a source that cannot be read, or that changes meanwhile.
    """
    say = progress or (lambda stage, done: None)
    found = sources.find(source)
    if found.revision:
        source = source.model_copy(update={"revision": found.revision})
    behind = [one for file in found.files for one in files_behind(file)]
    files = [(str(file), hash_file(file)) for file in behind]
    notes = [finding.message for finding in found.findings]
    name = cache.key(_facts(source, files, notes, config, setup))

    def make(folder: Path) -> None:
        label = f"tokenizing {Path(source.path).name}"
        _write(folder, source, dict(files), config.group, setup, lambda _, done: say(label, done))

    try:
        # A tokenizer that came from no files cannot be told from another one.
        store = cache.obtain(name, make, Store, config.cache and bool(setup.tokenizer.files))
    except OSError as error:
        raise explain_os_error(error, "keeping the tokenized rows") from error
    return Tokenized(source, config.group, store, name)


def hash_file(file: Path) -> str:
    """SHA-256 of a file's bytes. Raises RequestError if it cannot be read."""
    try:
        with file.open("rb") as handle:
            return hashlib.file_digest(handle, "sha256").hexdigest()
    except OSError as error:
        raise RequestError(explain_os_error(error, f"reading {file}").message) from None


def _write(
    folder: Path,
    source: SourceConfig,
    expected: dict[str, str],
    group: str,
    setup: Setup,
    progress: Progress,
) -> None:
    writer = Writer(folder)
    findings: list[Finding] = []
    summaries: list[dict[str, Any]] = []
    adjusted: dict[tuple[str, str], list[int]] = {}

    def conversations() -> Iterator[Conversation]:
        for item in contradictions(reading.read(source, group, progress)):
            if isinstance(item, Conversation):
                yield item
            elif isinstance(item, Finding):
                findings.append(item)
            else:
                if expected.get(item.file) != item.sha256:
                    raise RequestError(f"{item.file} changed while it was read.", "Try again.")
                summaries.append(asdict(item))

    stream = conversations()
    while chunk := list(islice(stream, _CHUNK)):
        wanted = [item for item in chunk if item.label is not False]
        results = to_examples(wanted, setup.tokenizer, setup.template, setup.masks)
        for conversation in chunk:
            result = None if conversation.label is False else next(results)
            judged = judge(conversation, result)
            if isinstance(judged, Finding):
                findings.append(judged)
                writer.add(conversation, [])
                continue
            writer.add(conversation, judged)
            for note in dict.fromkeys(note for example in judged for note in example.notes):
                adjusted.setdefault((conversation.file, note), []).append(conversation.line)
    # What many rows have in common is said once for each file.
    for (file, note), lines in adjusted.items():
        rows = "row" if len(lines) == 2 else "rows"
        more = f", also in {len(lines) - 1} other {rows}" if len(lines) > 1 else ""
        findings.append(Finding("note", "adjusted", note + more, file, lines[0]))
    writer.close(_in_order(findings, [summary["file"] for summary in summaries]), summaries)


def judge(
    conversation: Conversation, result: list[Example] | RowProblem | None
) -> list[Example] | Finding:
    """The examples of a row that teach something, or why it is left out; without ``result`` it
    was not asked for any."""
    if result is None:
        message = "its answer is marked as an undesirable one, which is not learned"
        return _left_out(conversation, "note", "undesirable", message)
    if isinstance(result, RowProblem):
        return _left_out(conversation, "warning", "template", result.reason)
    examples = [example for example in result if example.weights.any()]
    if not examples:
        message = "none of its tokens is to be learned"
        return _left_out(conversation, "warning", "no-answer", message)
    return examples


def _left_out(conversation: Conversation, grade: Grade, kind: str, message: str) -> Finding:
    return Finding(grade, kind, message, conversation.file, conversation.line, left_out=True)


def _in_order(findings: Sequence[Finding], files: Sequence[str]) -> list[Finding]:
    places = {file: number for number, file in enumerate(files)}
    return sorted(findings, key=lambda item: (places.get(item.file, len(places)), item.line))


def _facts(
    source: SourceConfig,
    files: Sequence[tuple[str, str]],
    notes: Sequence[str],
    config: DataConfig,
    setup: Setup,
) -> dict[str, Any]:
    """All that tokens, masks and findings follow from."""
    tokenizer, template = setup.tokenizer, setup.template
    return {
        "program": _program(),
        "files": files,
        "notes": notes,
        "source": {
            name: getattr(source, name)
            for name in type(source).model_fields
            if name not in ("weight", "revision")
        },
        "group": config.group,
        "template": [template.source, template.name, template.bos, template.eos],
        "dates": _dates(template.source, setup.now),
        "masks": asdict(setup.masks),
        "tokenizer": [
            tokenizer.bos,
            tokenizer.eos,
            sorted(tokenizer.special_ids),
            sorted(tokenizer.eos_ids),
            [(file.name, hash_file(file)) for file in tokenizer.files],
        ],
    }


def _dates(source: str, now: datetime | None) -> list[str]:
    """What a template that writes the date has written, as far as can be told."""
    if "strftime_now" not in source:
        return []
    now = now or datetime.now()
    forms = re.findall(r"""strftime_now\(\s*(["'])(.*?)\1\s*\)""", source)
    if len(forms) < source.count("strftime_now"):
        return [now.isoformat()]
    return [now.strftime(form) for _, form in forms]


@once
def _program() -> list[str]:
    """What reads and tokenizes: its own code, so that no change of it can be forgotten, and the
    libraries below."""
    digest = hashlib.sha256()
    for file in sorted(Path(__file__).parents[1].rglob("*.py")):
        digest.update(file.name.encode() + file.read_bytes())
    return [digest.hexdigest(), version("tokenizers"), version("jinja2")]
