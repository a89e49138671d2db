"""What there is to work with: runs, models, GGUF builds and data files on this machine."""

import time
from dataclasses import dataclass
from pathlib import Path

from edgetune import paths, runs
from edgetune.errors import EdgetuneError

_PLAIN_ENDINGS = (".json", ".jsonl", ".ndjson", ".csv", ".tsv", ".parquet")
DATA_ENDINGS = (
    *_PLAIN_ENDINGS,
    *(ending + packed for ending in _PLAIN_ENDINGS for packed in (".gz", ".zst")),
)
"""How files with rows mostly end; others can be typed."""
_NO_DATA = {"package.json", "tsconfig.json", "config.json", "tokenizer.json", "events.jsonl"}
_MOST_FILES = 200
_DEEPEST = 3
_SECONDS_TO_FIRST_PICTURE = 1.0
_SECONDS_BETWEEN_SCANS = 60.0


@dataclass(frozen=True)
class Model:
    """A model that can be tuned or talked to."""

    name: str
    kind: str
    """embedded, directory, hub (pulled from there) or GGUF."""
    path: Path
    bytes: int


@dataclass(frozen=True)
class Overview:
    """Everything the home screen shows."""

    runs: list[runs.Summary]
    models: list[Model]

    @property
    def builds(self) -> list[Model]:
        """The models that can be talked to, newest first."""
        return [model for model in self.models if model.kind == "GGUF"]

    @property
    def bases(self) -> list[Model]:
        """The models that can be tuned."""
        return [model for model in self.models if model.kind != "GGUF"]


class Library:
    """Looks things up; remembers the runs that have not changed since the last time."""

    def __init__(self, runs_dir: Path) -> None:
        self.runs_dir = runs_dir
        self._known: dict[Path, tuple[object, runs.Summary]] = {}
        self._pulled: list[Model] = []
        # The hub's library is slow to load and its cache to read: not for the first picture.
        self._look_for_pulled = time.monotonic() + _SECONDS_TO_FIRST_PICTURE

    def overview(self) -> Overview:
        """All runs, newest first, and all models. Takes milliseconds, more for new long runs."""
        summaries = [self._summary(run) for run in runs.find_all(self.runs_dir)]
        summaries.sort(key=lambda summary: summary.updated, reverse=True)
        if time.monotonic() > self._look_for_pulled:
            self._pulled = _pulled()
            self._look_for_pulled = time.monotonic() + _SECONDS_BETWEEN_SCANS
        return Overview(summaries, [*_bases(summaries), *self._pulled, *_builds(summaries)])

    def _summary(self, run: runs.Run) -> runs.Summary:
        state = (run.process() is not None, _stamp(run.events_file), _stamp(run.export))
        known = self._known.get(run.path)
        if known is not None and known[0] == state:
            return known[1]
        try:
            summary = runs.summarize(run)
        except (EdgetuneError, OSError) as error:
            summary = runs.Summary(
                name=run.name,
                path=run.path,
                model=str(error),
                state="damaged",
                step=0,
                steps=0,
                train_loss=None,
                validation_loss=None,
                exports=[],
                updated=0.0,
            )
        self._known[run.path] = (state, summary)
        return summary


def data_files(used: list[str]) -> list[Path]:
    """Data files to offer: the embedded ones, those used before, those in the working folder."""
    embedded = sorted(paths.NANO_DATA.glob("*.jsonl"))
    embedded.sort(key=lambda file: file.name != "train.jsonl")
    found = dict.fromkeys(embedded)
    found |= dict.fromkeys(Path(name) for name in used if Path(name).is_file())
    found |= dict.fromkeys(_walk(Path.cwd(), _DEEPEST))
    return list(dict.fromkeys(file.resolve() for file in found))[:_MOST_FILES]


def _walk(folder: Path, depth: int) -> list[Path]:
    try:
        entries = sorted(folder.iterdir())
    except OSError:
        return []
    found = [
        entry
        for entry in entries
        if entry.name.endswith(DATA_ENDINGS) and entry.name not in _NO_DATA and entry.is_file()
    ]
    for entry in entries:
        if len(found) >= _MOST_FILES or depth == 0:
            break
        # Runs and models hold JSON as well, but no rows.
        skipped = entry.name.startswith((".", "_")) or (entry / "config.yaml").exists()
        if entry.is_dir() and not skipped and not (entry / "config.json").exists():
            found += _walk(entry, depth - 1)
    return found


def _bases(summaries: list[runs.Summary]) -> list[Model]:
    found = []
    if (paths.NANO_MODEL / "config.json").is_file():
        found.append(Model("nano", "embedded", paths.NANO_MODEL, _weights(paths.NANO_MODEL)))
    for name in dict.fromkeys(s.model for s in summaries if s.state != "damaged"):
        path = Path(name)
        if name != "nano" and (path / "config.json").is_file():
            found.append(Model(name, "directory", path, _weights(path)))
    return found


def _pulled() -> list[Model]:
    from edgetune.hub import list_models

    return [
        Model(model.name, "hub", model.path, model.bytes)
        for model in list_models()
        if not model.embedded
    ]


def _builds(summaries: list[runs.Summary]) -> list[Model]:
    files = [file for summary in summaries for file in reversed(summary.exports)]
    files += sorted(Path.cwd().glob("*.gguf"))
    return [
        Model(file.stem, "GGUF", file, file.stat().st_size)
        for file in dict.fromkeys(files)
        if file.is_file()
    ]


def _weights(path: Path) -> int:
    return sum(file.stat().st_size for file in path.glob("*.safetensors"))


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size
