"""What a resumed run may not change: its settings, its model, its data.

``data.json`` records them as the run begins; a resume, and an export of the result, compare.
"""

from __future__ import annotations

import hashlib
import json
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgetune import config as settings
from edgetune import runs
from edgetune.errors import RequestError
from edgetune.hub import NANO

if TYPE_CHECKING:
    from edgetune.data.dataset import Dataset


def absolute(config: settings.RunConfig) -> settings.RunConfig:
    """The configuration with existing paths made absolute, so that it runs from any folder, and
    with the file that keeps what came through a pipe in place of `-` and the like."""

    from edgetune.data.sources import find_files
    from edgetune.data.templates.builtin import BUILT_IN

    def full(text: str) -> str:
        path = Path(text).expanduser()
        return str(path.resolve()) if text and path.exists() else text

    def place(source: settings.SourceConfig) -> settings.SourceConfig:
        path = Path(source.path).expanduser()
        if source.path == "-" or (path.exists() and not path.is_file() and not path.is_dir()):
            [kept] = find_files(source)
            return source.model_copy(update={"path": str(kept.resolve())})
        return source.model_copy(update={"path": full(source.path)})

    data = config.data
    train = [place(source) for source in data.train]
    new_names = {old.path: new.path for old, new in zip(data.train, train, strict=True)}
    mixture = data.mixture
    if mixture.by == "source":
        weights = {new_names.get(name, name): weight for name, weight in mixture.weights.items()}
        mixture = mixture.model_copy(update={"weights": weights})
    template = data.template if data.template in ("auto", *BUILT_IN) else full(data.template)
    data = data.model_copy(
        update={
            "train": train,
            "valid": [place(source) for source in data.valid],
            "mixture": mixture,
            "template": template,
        }
    )
    model = config.model if config.model == NANO else full(config.model)
    return config.model_copy(update={"data": data, "model": model})


def pin(data: settings.DataConfig, recorded: dict[str, Any]) -> settings.DataConfig:
    """The settings with the revisions of Hugging Face datasets that a run began with."""

    def pinned(use: str, sources: list[settings.SourceConfig]) -> list[settings.SourceConfig]:
        revisions = recorded.get("revisions", {}).get(use, [])
        return [
            source.model_copy(update={"revision": revision}) if revision else source
            for source, revision in zip(sources, revisions, strict=False)
        ] + sources[len(revisions) :]

    return data.model_copy(
        update={"train": pinned("train", data.train), "valid": pinned("valid", data.valid)}
    )


def record(
    config: settings.RunConfig, model: Path, dataset: Dataset, began: datetime
) -> dict[str, Any]:
    """What ``data.json`` holds of a run that ``began`` then; all that later comparisons need."""
    return {
        "began": began.isoformat(),
        "model": {"path": str(model), "fingerprint": fingerprint(model)},
        "settings": _decisive(config),
        "digest": _digest(dataset),
        **dataset.summary,
    }


def fingerprint(model: Path) -> str:
    """A digest of a model directory: its config, its tokenizer, and of every weight file the
    header, the size and the first and last megabyte (the whole of a large model would take
    minutes to read)."""
    digest = hashlib.blake2b(digest_size=16)
    for file in sorted([*model.glob("*.json"), *model.glob("*.model"), *model.glob("*.jinja")]):
        digest.update(file.name.encode() + file.read_bytes())
    for file in sorted(model.glob("*.safetensors")):
        size = file.stat().st_size
        with file.open("rb") as handle:
            header = int.from_bytes(handle.read(8), "little")
            digest.update(f"{file.name} {size}".encode() + handle.read(header + (1 << 20)))
            handle.seek(max(size - (1 << 20), 0))
            digest.update(handle.read())
    return digest.hexdigest()


def check_base(run: runs.Run, model: Path) -> None:
    """Raises RequestError if the base in ``model`` is no longer the one that the run tuned."""
    recorded = read_record(run)
    if recorded is not None and recorded["model"]["fingerprint"] != fingerprint(model):
        raise RequestError(
            f"The base model in {model} changed since the run {run.name} was trained on it.",
            "Put back the one it was trained on, or train again.",
        )


def _digest(dataset: Dataset) -> str:
    """Of every token and mask that the run sees: any change of the data, the template, the
    tokenizer or the split changes it."""
    return f"{dataset.train.digest()} {dataset.valid.digest()}"


def settings_to_resume(run: runs.Run, asked: settings.RunConfig | None) -> settings.RunConfig:
    """The run's own settings. Raises RequestError if others are ``asked`` for."""
    own = run.config()
    if asked is None:
        return own
    before, after = _flat(own.model_dump()), _flat(absolute(asked).model_dump())
    _refuse_changes(run, before, after | {"name": own.name})
    return own


def _refuse_changes(run: runs.Run, before: dict[str, Any], after: dict[str, Any]) -> None:
    changes = [
        f"{name}: {before[name]!r} → {after.get(name)!r}"
        for name in before
        if before[name] != after.get(name)
    ]
    if changes:
        raise RequestError(
            f"The run {run.name} cannot be resumed with other settings ({'; '.join(changes)}).",
            "Resume it as it was, or start a new run.",
        )


def _decisive(config: settings.RunConfig) -> dict[str, Any]:
    """The settings that a run may not change. Names and places may: what lies there is compared
    by its content. So may what only decides whether to begin, and whether to keep tokens."""
    free = ("name", "model", "data.train", "data.valid", "data.cache", "data.bad_rows")
    flat = {key: value for key, value in _flat(config.model_dump()).items() if key not in free}
    del flat["data.strict"]
    # Weights alone do not show in the tokens of a source.
    return flat | {"data.train.weight": [source.weight for source in config.data.train]}


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, dict) and value:  # an empty one is a value like any other
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = value
    return flat


def read_record(run: runs.Run) -> dict[str, Any] | None:
    """What data.json says of the run as it began; None if it was killed before it was written,
    so that nothing was trained yet."""
    try:
        before: dict[str, Any] = json.loads(run.data_file.read_text(encoding="utf-8"))
        datetime.fromisoformat(before["began"])
        if {"settings", "digest"} <= before.keys() and "fingerprint" in before["model"]:
            return before
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError):
        pass
    raise RequestError(
        f"{run.data_file} is damaged, so it cannot be told whether the data changed.",
        "Start a new run.",
    )


def check_unchanged(run: runs.Run, before: dict[str, Any], facts: dict[str, Any]) -> None:
    """Raises RequestError if ``facts`` (see ``record``) are not those from ``before``."""
    _refuse_changes(run, before["settings"], facts["settings"])
    changed = []
    if before["model"]["fingerprint"] != facts["model"]["fingerprint"]:
        changed.append(f"the model in {facts['model']['path']}")
    if before["digest"] != facts["digest"]:
        files = {source["file"]: source["sha256"] for source in before.get("sources", [])}
        differ = [
            source["file"]
            for source in facts.get("sources", [])
            if files.get(source["file"]) != source["sha256"]
        ]
        changed.append("the data" + (f" ({', '.join(differ)})" if differ else ""))
    if changed:
        raise RequestError(
            f"The run {run.name} cannot be resumed: {' and '.join(changed)} changed since "
            "it began.",
            "Put back what it began with, or start a new run.",
        )
