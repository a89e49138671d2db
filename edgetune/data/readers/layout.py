"""Which files of a directory or a Hugging Face dataset hold the rows that are asked for.

A dataset says it in the front matter of its README (``configs``), or by its files' names: folders
and files named after a split (train, validation, test), or ``data/NAME-00000-of-00002.parquet``.
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

import yaml

from edgetune.data.readers import kinds
from edgetune.errors import RequestError

READABLE = "Rows are read from JSON, JSON Lines, CSV, TSV, Parquet and plain text (also .gz, .zst)."

_SPLITS = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "val", "dev"),
    "test": ("test", "testing", "eval", "evaluation"),
}
_SPLIT_OF = {word: split for split, words in _SPLITS.items() for word in words}
_SHARD = re.compile(r"-(\d{5})-of-(\d{5})(?=[-.])")
_DATA_SHARD = re.compile(r"(?:.*/)?data/(\w+(?:\.\w+)*)-\d{5}-of-\d{5}[^/]*\Z")
_STRUCTURED = (*kinds.JSON_NAMES, *kinds.TABLE_NAMES, *kinds.PARQUET_NAMES)
# Files that lie beside the rows.
_BESIDE = {
    "readme", "license", "licence", "copying", "notice", "changelog", "citation", "contributing",
    "requirements", "dataset_info", "dataset_infos", "dataset_dict", "state",
}  # fmt: skip
_FRONT_MATTER = re.compile(r"\A\ufeff?---[ \t]*\r?\n(.*?)\r?\n---[ \t]*(?:\r?\n|\Z)", re.DOTALL)


@dataclass
class Choice:
    """The files to be read, in order, and sentences about those that are not."""

    files: list[str]
    notes: list[str] = field(default_factory=list)


def choose_local(
    names: Sequence[str], split: str, folder: str, tasks: Sequence[str] = ()
) -> Choice:
    """The files of a directory, by their paths in it: its task files, and those among ``names``
    that belong to the split. Raises RequestError if none holds rows."""
    if tasks and not any(kinds.bare_suffix(name) in _STRUCTURED for name in names):
        # As with tables, text beside them explains them.
        return Choice(list(tasks), [f"{listed(names)}: no rows, not read"] if names else [])
    data, notes = _readable(names)
    if not data:
        there = f"; there is {listed(names)}" if names else ""
        raise RequestError(f"{folder} holds no file with rows{there}.", READABLE)
    by_split = _by_name(data)
    wanted = _find_split(by_split, split)
    if wanted is not None:
        chosen = by_split[wanted]
    elif not any(by_split) or split == "train":
        # Files that belong to no split, or, in a directory of test files alone, those.
        chosen = by_split.get("") or data
    else:
        raise _no_split(folder, by_split, split)
    rest = [name for name in data if name not in chosen]
    if rest:
        notes.append(f"{listed(rest)}: not of the split `{split}`, not read")
    return Choice([*tasks, *chosen], notes)


def choose_hub(names: Sequence[str], readme: str, subset: str, split: str, dataset: str) -> Choice:
    """The files of a Hugging Face dataset, by their paths in its repository.

    Raises RequestError, listing what there is, without such a subset or split, and if there are
    several subsets and none is named.
    """
    configs = _configs(readme)
    if configs:
        by_split = _of_config(_choose_config(configs, subset, dataset), names)
    else:
        if subset:
            names = _below(names, subset, dataset)
        by_split = _by_name(_readable(names)[0])
        if not any(by_split) and by_split:
            by_split = {"train": by_split[""]}
    if not by_split:
        raise _no_rows(names, dataset)
    wanted = _find_split(by_split, split)
    if wanted is None:
        raise _no_split(f"The dataset `{dataset}`", by_split, split)
    chosen, notes = _one_format(by_split[wanted])
    if not chosen:
        raise _no_rows(by_split[wanted], dataset)
    return Choice(chosen, notes)


def is_complete(names: Sequence[str]) -> bool:
    """Whether of files that are numbered (``-00000-of-00002``) none is missing."""
    found = Counter(
        (name[: match.start()], int(match[2])) for name in names if (match := _SHARD.search(name))
    )
    return all(count >= total for (_, total), count in found.items())


def listed(names: Sequence[str], most: int = 4) -> str:
    """The first of some names, for a sentence."""
    shown = ", ".join(names[:most])
    return f"{shown} and {len(names) - most} more" if len(names) > most else shown


def _readable(names: Sequence[str]) -> tuple[list[str], list[str]]:
    """The files that may hold rows, and a sentence about the others."""
    kept = [name for name in names if PurePosixPath(name).name.split(".")[0].lower() not in _BESIDE]
    data = [name for name in kept if kinds.bare_suffix(name) in _STRUCTURED]
    # Text beside tables explains them; text alone is the data.
    data = data or [name for name in kept if kinds.bare_suffix(name) in kinds.TEXT_NAMES]
    left = [name for name in names if name not in set(data)]
    return data, [f"{listed(left)}: no rows, not read"] if left else []


def _by_name(names: Sequence[str]) -> dict[str, list[str]]:
    """Files by the split that their names say, "" for none."""
    found: dict[str, list[str]] = {}
    for name in names:
        found.setdefault(_split_of(name), []).append(name)
    return found


def _split_of(name: str) -> str:
    shard = _DATA_SHARD.match(name)
    if shard:
        return _SPLIT_OF.get(shard[1], shard[1])
    for part in reversed(PurePosixPath(name).parts):
        for word in re.split(r"[^a-z]+", part.lower()):
            if word in _SPLIT_OF:
                return _SPLIT_OF[word]
    return ""


def _find_split(by_split: dict[str, list[str]], split: str) -> str | None:
    if split in by_split:
        return split
    wanted = _SPLIT_OF.get(split, split)
    return next((name for name in by_split if _SPLIT_OF.get(name, name) == wanted), None)


def _one_format(names: Sequence[str]) -> tuple[list[str], list[str]]:
    """Of files in several formats, which may be the same rows again, those of the commonest."""
    data, _ = _readable(names)
    families = Counter(_family(name) for name in data)
    if len(families) < 2:
        return data, []
    best = families.most_common(1)[0][0]
    rest = [name for name in data if _family(name) != best]
    chosen = [name for name in data if _family(name) == best]
    return chosen, [f"{listed(rest)}: in another format than the other files, not read"]


def _family(name: str) -> str:
    suffix = kinds.bare_suffix(name)
    groups = (kinds.PARQUET_NAMES, kinds.JSON_NAMES, kinds.TABLE_NAMES)
    return next((group[0] for group in groups if suffix in group), suffix)


def _configs(readme: str) -> list[dict[str, Any]]:
    """The ``configs`` in the front matter of a README; [] where there are none."""
    match = _FRONT_MATTER.match(readme)
    try:
        matter = yaml.safe_load(match[1]) if match else None
    except (yaml.YAMLError, ValueError, RecursionError):
        return []
    configs = matter.get("configs") if isinstance(matter, dict) else None
    if not isinstance(configs, list):
        return []
    return [one for one in configs if isinstance(one, dict) and one.get("config_name")]


def _choose_config(configs: list[dict[str, Any]], subset: str, dataset: str) -> dict[str, Any]:
    by_name = {str(config["config_name"]): config for config in configs}
    if subset in by_name:
        return by_name[subset]
    found = ", ".join(f"`{name}`" for name in by_name)
    if subset:
        raise RequestError(f"The dataset `{dataset}` has no subset `{subset}`.", f"It has {found}.")
    preferred = [config for config in configs if config.get("default") is True]
    if preferred or "default" in by_name or len(by_name) == 1:
        return preferred[0] if preferred else by_name.get("default", configs[0])
    raise RequestError(
        f"The dataset `{dataset}` has several subsets: {found}.",
        "Name one of them (`subset` of the source).",
    )


def _of_config(config: dict[str, Any], names: Sequence[str]) -> dict[str, list[str]]:
    """The files of a config by split."""
    folder = str(config.get("data_dir") or "").strip("./")
    if folder:
        names = [name for name in names if name.startswith(folder + "/")]
    files = config.get("data_files")
    if not files:
        by_split = _by_name(_readable(names)[0])
        return {"train": by_split[""]} if list(by_split) == [""] else by_split
    if isinstance(files, dict):
        files = [{"split": split, "path": path} for split, path in files.items()]
    found: dict[str, list[str]] = {}
    for one in files if isinstance(files, list) else [files]:
        split = str(one.get("split") or "train") if isinstance(one, dict) else "train"
        patterns = one.get("path") if isinstance(one, dict) else one
        for pattern in patterns if isinstance(patterns, list) else [patterns]:
            whole = f"{folder}/{pattern}" if folder else str(pattern)
            glob = _glob(whole.removeprefix("./"))
            taken = found.setdefault(split, [])
            taken += [name for name in names if glob.match(name) and name not in taken]
    return found


def _glob(pattern: str) -> re.Pattern[str]:
    """``*`` stands for any text in one folder, ``**`` also over folders."""
    special = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    parts = re.split(r"(\*\*/|\*\*|\*|\?|\[[^\]/]+\])", pattern)
    parts[::2] = map(re.escape, parts[::2])
    text = "".join(special.get(part, part) for part in parts)
    try:
        return re.compile(text + r"\Z")
    except re.error:
        return re.compile(re.escape(pattern) + r"\Z")


def _below(names: Sequence[str], subset: str, dataset: str) -> list[str]:
    """Where no configs are named, a subset is a folder or a file's name."""
    chosen = [
        name
        for name in names
        if subset in PurePosixPath(name).parts[:-1]
        or PurePosixPath(name).name.split(".")[0] == subset
    ]
    if not chosen:
        folders = sorted({name.split("/")[0] for name in names if "/" in name})
        has = f"It has the folders {listed(folders)}." if folders else "It has no subsets."
        raise RequestError(f"The dataset `{dataset}` has no subset `{subset}`.", has)
    return chosen


def _no_rows(names: Sequence[str], dataset: str) -> RequestError:
    if any(name.endswith(".py") for name in names):
        return RequestError(
            f"The dataset `{dataset}` is made by a program, which is not run.",
            "Hugging Face often has it as Parquet too: try the revision `refs/convert/parquet`.",
        )
    return RequestError(
        f"The dataset `{dataset}` holds no file with rows; it has {listed(names) or 'no files'}.",
        READABLE,
    )


def _no_split(where: str, by_split: dict[str, list[str]], split: str) -> RequestError:
    found = ", ".join(f"`{name}`" for name in by_split if name)
    return RequestError(f"{where} has no split `{split}`.", f"It has {found}.")
