"""A name or a path becomes a whole model on disk, or a dataset's name its files.

``nano`` is the embedded model, a directory is taken as it is, and a Hugging Face name is looked
up in the hub's own cache before the network is asked, so that a model once pulled needs no
network. Whatever comes out was checked: a truncated download is found here, by the name of its
file, and not as a strange error in the middle of a run.
"""

import hashlib
import json
import os
import re
import struct
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from edgetune import paths
from edgetune.errors import EdgetuneError, RequestError, explain_os_error

NANO = "nano"
"""The name of the embedded model."""

INDEX = "model.safetensors.index.json"
"""Which tensor lies in which shard, in a model of several."""

# Repositories carry other formats of the same weights, and code; none of it is fetched.
_WANTED = ["*.json", "model*.safetensors", "tokenizer.model", "*.txt", "*.jinja"]
_UNWANTED = ["*/*"]
_HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+\Z")
_JSON_FILES = ("tokenizer.json", "tokenizer_config.json", "generation_config.json")
_LONGEST_HEADER = 100_000_000  # the format's own limit, in bytes
_COPY_AGAIN = "Copy or pull the model again (`edgetune models pull NAME`)."


class DamagedFile(RequestError):
    """A file of a model that is not what it should be."""

    def __init__(self, file: Path, message: str) -> None:
        super().__init__(message, _COPY_AGAIN)
        self.file = file


class Unreachable(RequestError):
    """Something that is not on this machine, and the network does not give it."""


@dataclass(frozen=True)
class LocalModel:
    """A model on this machine."""

    name: str
    path: Path
    bytes: int
    embedded: bool


def resolve_model(name: str) -> Path:
    """The directory of the model ``name``: ``nano``, a directory, or a Hugging Face name.

    A Hugging Face model that is not in the cache is downloaded. Raises RequestError if there is
    no such model, if it cannot be reached, or if a file of it is missing or damaged.
    """
    if name == NANO:
        check_model(paths.NANO_MODEL)
        return paths.NANO_MODEL
    path = Path(name).expanduser()
    if path.is_dir():
        check_model(path)
        return path
    if path.exists():
        raise RequestError(
            f"{path} is a file, not a model directory.",
            "A model is a directory with config.json, weights and a tokenizer.",
        )
    if not _HUB_NAME.match(name) or name.startswith("."):
        raise RequestError(
            f"There is no model directory {path}.",
            f"Name a directory, `{NANO}` for the embedded model, or a Hugging Face model such "
            "as `HuggingFaceTB/SmolLM2-135M`.",
        )
    return _cached(name) or pull(name)


def pull(name: str) -> Path:
    """Download what is missing of a Hugging Face model and return its directory.

    Raises RequestError if the hub has no such model, asks for a login, cannot be reached, or
    sent something damaged.
    """
    path = _download(name)
    try:
        check_model(path)
    except DamagedFile as damage:
        # The hub's cache trusts a file that it has, so the damaged one must go, link and content.
        damage.file.resolve().unlink(missing_ok=True)
        damage.file.unlink(missing_ok=True)
        try:
            path = _download(name)
        except EdgetuneError:
            raise damage from None
        check_model(path)
    return path


def _download(name: str) -> Path:
    if not _HUB_NAME.match(name):
        raise RequestError(
            f"`{name}` is not a Hugging Face name.",
            "Such a name looks like `HuggingFaceTB/SmolLM2-135M`.",
        )
    with _explained(name, "model"):
        return _snapshot(name)


@contextmanager
def _explained(name: str, what: Literal["model", "dataset"]) -> Iterator[None]:
    """Turns what the hub and the network have to say into errors of ours."""
    hub = _import_hub()
    place = f"datasets/{name}" if what == "dataset" else name
    try:
        yield
    except hub.errors.GatedRepoError:
        raise RequestError(
            f"The {what} `{name}` asks for an agreement first.",
            f"Accept its terms on https://huggingface.co/{place} and log in with `hf auth login`.",
        ) from None
    except hub.errors.RevisionNotFoundError:
        raise RequestError(f"The {what} `{name}` has no such revision.") from None
    except hub.errors.RepositoryNotFoundError:
        raise RequestError(
            f"There is no directory `{name}` here, and no such {what} on Hugging Face, or it is "
            "private.",
            f"Check the spelling; for a private {what} log in with `hf auth login`.",
        ) from None
    except OSError as error:
        raise _unreachable(name, what, error) from None
    except Exception as error:  # the hub's HTTP library has a family of errors of its own
        if not type(error).__module__.startswith(("httpx", "httpcore", "huggingface_hub")):
            raise
        raise _unreachable(name, what, error) from None


def _unreachable(name: str, what: str, error: BaseException) -> EdgetuneError:
    if isinstance(error, OSError) and error.errno is not None and error.filename is not None:
        return explain_os_error(error, f"downloading {name}")
    reason = error.__cause__ or error
    lines = str(reason).strip().splitlines() or [type(reason).__name__]
    first_line = re.sub(r"^\[Errno -?\d+\] ", "", lines[0]).rstrip(". ")
    instead = f"a model directory or `{NANO}`" if what == "model" else "files of your own"
    return Unreachable(
        f"The {what} `{name}` is not on this machine and could not be downloaded: {first_line}.",
        f"Check the network and try again, or use {instead}, which need none.",
    )


def _cached(name: str) -> Path | None:
    """The model from the hub's cache, or None unless it is there and whole."""
    try:
        path = _snapshot(name, local_files_only=True)
        check_model(path)
    except (OSError, RequestError):
        return None
    return path


def _snapshot(name: str, local_files_only: bool = False) -> Path:
    folder = _import_hub().snapshot_download(
        name,
        allow_patterns=_WANTED,
        ignore_patterns=_UNWANTED,
        local_files_only=local_files_only,
    )
    return Path(folder)


@dataclass(frozen=True)
class Dataset:
    """Files of a dataset on this machine."""

    name: str
    revision: str
    """The commit they are of."""
    files: tuple[Path, ...]
    notes: tuple[str, ...]
    """Sentences about what of it is not read."""


def is_name(text: str) -> bool:
    """Whether this can be a name on Hugging Face, ``owner/name``."""
    return _HUB_NAME.match(text) is not None and not text.startswith(".")


def resolve_dataset(
    name: str, revision: str | None = None, subset: str = "", split: str = "train"
) -> Dataset:
    """The files of a Hugging Face dataset that hold the rows of a subset and split.

    What was fetched before for this request is taken as it is, without the network. Raises
    RequestError if there is no such dataset, subset or split, if several subsets are there and
    none is named, or if it cannot be reached.
    """
    if not is_name(name):
        raise RequestError(
            f"`{name}` is not the name of a Hugging Face dataset.",
            "Such a name looks like `tatsu-lab/alpaca`.",
        )
    known = _recorded(name, _dataset_record(name, revision, subset, split))
    if known is not None:
        return known
    try:
        return _fetch_dataset(name, revision, subset, split)
    except Unreachable:
        found = _snapshot_of_dataset(name, revision, subset, split)
        if found is None:
            raise
        return found


def _dataset_record(name: str, revision: str | None, subset: str, split: str) -> Path:
    """Where it is kept what a request came to: the hub's cache knows files, not requests, and
    cannot tell a part of a dataset from all of it."""
    request = json.dumps([name, revision, subset, split])
    digest = hashlib.sha256(request.encode()).hexdigest()[:16]
    return paths.home() / "datasets" / f"{name.replace('/', '--')}-{digest}.json"


def _recorded(name: str, record: Path) -> Dataset | None:
    """What a request came to before, or None unless all of its files are in the hub's cache."""
    hub = _import_hub()
    try:
        known = json.loads(record.read_text(encoding="utf-8"))
        commit, names, notes = known["commit"], known["files"], known["notes"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    found = [
        hub.try_to_load_from_cache(name, file, repo_type="dataset", revision=commit)
        for file in names
    ]
    if not found or not all(isinstance(path, str) and Path(path).is_file() for path in found):
        return None
    return Dataset(name, commit, tuple(map(Path, found)), tuple(notes))


def _snapshot_of_dataset(
    name: str, revision: str | None, subset: str, split: str
) -> Dataset | None:
    """The dataset from files that another program put into the hub's cache, or None if they are
    not there or clearly not all of them."""
    from edgetune.data.readers import layout

    try:
        folder = Path(
            _import_hub().snapshot_download(
                name, repo_type="dataset", revision=revision, local_files_only=True
            )
        )
        names = [file.relative_to(folder).as_posix() for file in sorted(folder.rglob("*"))]
        readme = folder / "README.md"
        text = readme.read_text(encoding="utf-8", errors="replace") if readme.is_file() else ""
        choice = layout.choose_hub(names, text, subset, split, name)
    except (OSError, RequestError):
        return None
    if not layout.is_complete(choice.files):
        return None
    note = "there is no network: the files are those that were in the cache"
    files = tuple(folder / file for file in choice.files)
    return Dataset(name, folder.name, files, (*choice.notes, note))


def _fetch_dataset(name: str, revision: str | None, subset: str, split: str) -> Dataset:
    from edgetune.data.readers import layout

    hub = _import_hub()
    with _explained(name, "dataset"):
        info = hub.HfApi().dataset_info(name, revision=revision)
    commit = info.sha
    names = sorted(file.rfilename for file in info.siblings or ())

    def fetch(file: str) -> Path:
        with _explained(name, "dataset"):
            place = hub.hf_hub_download(name, file, repo_type="dataset", revision=commit)
        return Path(place)

    readme = ""
    if "README.md" in names:
        readme = fetch("README.md").read_text(encoding="utf-8", errors="replace")
    choice = layout.choose_hub(names, readme, subset, split, name)
    files = tuple(fetch(file) for file in choice.files)
    known = json.dumps({"commit": commit, "files": choice.files, "notes": choice.notes})
    for asked in (revision, commit):  # a run that goes on asks for the commit
        paths.write_text(_dataset_record(name, asked, subset, split), known)
    return Dataset(name, commit, files, tuple(choice.notes))


def _import_hub() -> Any:
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    import huggingface_hub
    import huggingface_hub.constants
    import huggingface_hub.errors
    from huggingface_hub.utils import disable_progress_bars

    if not sys.stderr.isatty():
        disable_progress_bars()
    return huggingface_hub


def list_models() -> list[LocalModel]:
    """The embedded model and every whole model in the hub's cache."""
    found = []
    if (paths.NANO_MODEL / "config.json").is_file():
        size = sum(file.stat().st_size for file in paths.NANO_MODEL.iterdir())
        found.append(LocalModel(NANO, paths.NANO_MODEL, size, embedded=True))
    cache = _scan()
    for repo in sorted(cache.repos if cache else (), key=lambda repo: repo.repo_id.lower()):
        path = _cached(repo.repo_id) if repo.repo_type == "model" else None
        if path is not None:
            found.append(LocalModel(repo.repo_id, path, repo.size_on_disk, embedded=False))
    return found


def remove_model(name: str) -> int:
    """Delete a model from the hub's cache, all its versions; returns the bytes freed.

    Raises RequestError if it is not there.
    """
    if name == NANO:
        raise RequestError(f"`{NANO}` is part of edgetune and stays.")
    cache = _scan()
    for repo in cache.repos if cache else ():
        if repo.repo_type == "model" and repo.repo_id == name:
            plan = cache.delete_revisions(*(revision.commit_hash for revision in repo.revisions))
            plan.execute()
            return int(plan.expected_freed_size)
    raise RequestError(
        f"There is no model `{name}` in the Hugging Face cache.",
        "`edgetune models list` shows those that are; a directory of your own is yours to remove.",
    )


def _scan() -> Any:
    """What the hub's cache holds, or None if there is no cache yet."""
    hub = _import_hub()
    try:
        return hub.scan_cache_dir(hub.constants.HF_HUB_CACHE)
    except hub.errors.CacheNotFound:
        return None


def check_model(path: Path) -> None:
    """Raises RequestError, naming the file, unless ``path`` holds a whole model: a readable
    ``config.json``, a tokenizer, and weights that are all there."""
    if not path.is_dir():
        raise RequestError(f"There is no model directory {path}.")
    config = path / "config.json"
    if not config.is_file():
        raise RequestError(
            f"{path} is not a model directory: it has no config.json.",
            "Name the directory that holds config.json, the weights and the tokenizer.",
        )
    _read_object(config)
    if not any((path / name).is_file() for name in ("tokenizer.json", "tokenizer.model")):
        raise RequestError(
            f"The model {path} has no tokenizer (tokenizer.json or tokenizer.model).",
            "Copy the tokenizer files of the original model there.",
        )
    for name in _JSON_FILES:
        if (path / name).is_file():
            _read_object(path / name)
    check_weights(path)


def check_weights(path: Path) -> None:
    """Raises RequestError, naming the file, unless the safetensors weights in ``path`` are
    whole: every shard of the index is there, holds the tensors it should, and is exactly as
    long as its header says."""
    index = path / INDEX
    if not index.is_file():
        files = sorted(path.glob("model*.safetensors"))
        if not files:
            raise RequestError(
                f"The model {path} has no weights in the safetensors format (model.safetensors).",
                "Take a version of the model that has them.",
            )
        for file in files:
            _tensors(file)
        return
    places = _read_object(index).get("weight_map")
    if not isinstance(places, dict) or not places:
        raise DamagedFile(index, f"{index} has no `weight_map`.")
    for shard in sorted(set(map(str, places.values()))):
        file = path / shard
        if not file.is_file():
            raise RequestError(
                f"The weights of the model {path} are incomplete: {shard} is missing.",
                "Pull the model again or copy the file there.",
            )
        absent = {name for name, place in places.items() if place == shard} - _tensors(file)
        if absent:
            raise DamagedFile(file, f"{file} lacks the tensor `{min(absent)}`.")


def _tensors(file: Path) -> set[str]:
    """The names of the tensors in a safetensors file whose length fits its header."""
    size = file.stat().st_size
    with file.open("rb") as handle:
        start = handle.read(8)
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else size
        if 8 + length > size:
            raise DamagedFile(file, f"{file} is cut short inside its header.")
        text = handle.read(min(length, _LONGEST_HEADER))
    try:
        header = json.loads(text)
        header.pop("__metadata__", None)
        ends = [int(tensor["data_offsets"][1]) for tensor in header.values()]
    except (ValueError, TypeError, KeyError, IndexError, AttributeError):
        raise DamagedFile(file, f"{file} is not a safetensors file.") from None
    expected = 8 + length + max(ends, default=0)
    if size < expected:
        raise DamagedFile(file, f"{file} is cut short: it has {size:,} bytes of {expected:,}.")
    if size > expected:
        raise DamagedFile(
            file,
            f"{file} is damaged: it has {size:,} bytes where its header speaks of {expected:,}.",
        )
    return set(header)


def _read_object(file: Path) -> dict[str, Any]:
    try:
        value = json.loads(file.read_text(encoding="utf-8"))
    except UnicodeDecodeError:
        raise DamagedFile(file, f"{file} is not UTF-8 text.") from None
    except json.JSONDecodeError as error:
        raise DamagedFile(
            file, f"{file}, line {error.lineno}, is not valid JSON: {error.msg}."
        ) from None
    if not isinstance(value, dict):
        raise DamagedFile(file, f"{file} must hold a JSON object.")
    return value
