"""What a run learns from: rows read, tokenized, limited in length, split, mixed, and everything
left out accounted for.

The rows lie on the disk (see ``store``); a ``Part`` knows which of them are its own and reads
them as they are needed. Splits and mixtures go by rows: what a template makes of one conversation,
mostly one example, sometimes several, always stays together.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from itertools import groupby
from typing import Any, Literal

import numpy as np

from edgetune.config import DataConfig
from edgetune.data import split
from edgetune.data.conversation import Finding
from edgetune.data.formats import ACCEPTED
from edgetune.data.mixture import Mixture, mix
from edgetune.data.reading import no_usable_rows
from edgetune.data.templates.drafts import MaskOptions
from edgetune.data.templates.rendering import ChatTemplate
from edgetune.data.tokenizer import Tokenizer
from edgetune.data.tokens import cache
from edgetune.data.tokens.part import Part, row_begins, within
from edgetune.data.tokens.store import Store
from edgetune.data.tokens.tokenized import Progress, Setup, Tokenized, tokenize
from edgetune.errors import RequestError

_SHOWN_PROBLEMS = 5


@dataclass
class Dataset:
    """The rows of a run."""

    train: Part
    valid: Part
    mixture: Mixture
    """Which training rows each epoch visits, in which order."""
    findings: list[Finding]
    """What reading and tokenizing have to say, in the order of files and lines."""
    files: list[dict[str, Any]]
    """Every file that was read (``reading.FileSummary``), and its ``use``: train or valid."""
    over: dict[str, np.ndarray]
    """Arrays over the examples above the length limit, of which nothing else may tell if they
    are left out: ``valid`` (whether of a validation source), ``length``, ``trained``, ``lost``
    (trained tokens beyond the limit)."""
    summary: dict[str, Any]
    """What goes into data.json: files, counts, the split, the mixture, findings."""
    key: str
    """Equal for equal files, settings, template and tokenizer."""

    def tokens_per_epoch(self) -> dict[str, int]:
        """``tokens`` and ``trained_tokens`` of the first epoch; others may take other rows."""
        lengths, order = self.train.lengths(), self.mixture.order(0)
        visits = np.bincount(order, minlength=len(self.train))[lengths["row"]]
        return {
            "tokens": int((lengths["length"] * visits).sum()),
            "trained_tokens": int((lengths["trained"] * visits).sum()),
        }


def prepare(
    config: DataConfig,
    seed: int,
    tokenizer: Tokenizer,
    template: ChatTemplate,
    *,
    now: datetime | None = None,
    progress: Progress | None = None,
) -> Dataset:
    """Read, tokenize, split and mix the rows that ``config`` names; ``now`` is the time that the
    template may write.

    A row that cannot be used is left out and has a finding; whether it is fatal is for
    ``refuse`` to say. Raises RequestError for sources that cannot be read, and if no training
    row is left.
    """
    if not config.train:
        raise RequestError("No training data is named.", "Name a file: --data FILE.")
    if config.valid and (config.valid_tasks or config.split_by != "row"):
        raise RequestError(
            "Validation data is named, and a split by task or group is asked for as well.",
            "Leave out data.valid, or data.split_by and data.valid_tasks.",
        )
    setup = Setup(tokenizer, template, MaskOptions(config.train_on, config.train_reasoning), now)
    sources = [tokenize(source, config, setup, progress) for source in config.train]
    more = [tokenize(source, config, setup, progress) for source in config.valid]
    usable = _usable(sources, config)
    train = valid = Part(sources, usable.rows, config.max_length)
    over = usable.over | {"valid": np.zeros(len(usable.over["length"]), dtype=bool)}
    findings = usable.findings
    if config.valid:
        held_out = _usable(more, config)
        valid = Part(more, held_out.rows, config.max_length)
        findings = findings + held_out.findings
        held_over = held_out.over | {"valid": np.ones(len(held_out.over["length"]), dtype=bool)}
        over = {key: np.concatenate([over[key], held_over[key]]) for key in over}
    if not len(train) or not len(valid):
        if config.bad_rows == "refuse":
            refuse(findings, config)
        raise no_usable_rows(findings)
    if not config.valid:
        out = _held_out(sources, usable.rows, config, seed)
        train = Part(sources, usable.rows[~out], config.max_length)
        valid = Part(sources, usable.rows[out], config.max_length)
        if not len(valid) and config.valid_fraction > 0:
            message = "there is no validation, since fewer than two different rows are left"
            findings.append(Finding("note", "no-validation", message))
    mixture = mix(config.mixture, train.codes(), seed)
    uses = [("train", one) for one in sources] + [("valid", one) for one in more]
    files = [summary | {"use": use} for use, one in uses for summary in one.store.summaries]
    summary = {
        "sources": files,
        "revisions": {
            use: [one.source.revision for one in found]
            for use, found in (("train", sources), ("valid", more))
        },
        "template": template.name,
        "max_length": config.max_length,
        "split": _describe_split(config, seed),
        "train": train.figures(),
        "valid": valid.figures(),
        "rows_per_epoch": mixture.rows_per_epoch,
        "shares": {by: mixture.shares(by) for by in ("task", "source")},
        "findings": [asdict(finding) for finding in findings],
    }
    decisive = config.model_dump(exclude={"cache", "bad_rows", "strict"})
    key = cache.key([[one.key for _, one in uses], decisive, seed])
    return Dataset(train, valid, mixture, findings, files, over, summary, key)


def refuse(findings: Sequence[Finding], config: DataConfig) -> None:
    """Raises RequestError for findings that ``config`` does not put up with: errors unless bad
    rows are to be left out, and warnings with ``strict``."""
    errors = [item for item in findings if item.grade == "error"]
    warnings = [item for item in findings if item.grade == "warning"]
    see = "`edgetune data inspect` shows all of them"
    if errors and config.bad_rows == "refuse":
        unknown = any(item.kind == "format" for item in errors)
        raise RequestError(
            listed(errors),
            f"{see}; correct or remove them, or have such rows left out: "
            "--set data.bad_rows=leave_out." + (f" {ACCEPTED}" if unknown else ""),
        )
    if config.strict and (errors or warnings):
        raise RequestError(
            listed([*errors, *warnings]),
            f"{see}; correct or remove them, or train without --strict.",
        )


def listed(findings: Sequence[Finding], most: int = _SHOWN_PROBLEMS) -> str:
    """The first findings with their places in one line, and how many there are more."""
    shown = "; ".join(
        f"{item.where}: {item.message}" if item.where else item.message for item in findings[:most]
    )
    more = len(findings) - most
    return shown + (f"; and {more} more." if more > 0 else ".")


@dataclass
class _Usable:
    rows: np.ndarray
    """The rows to learn from, int64, counted through all sources."""
    findings: list[Finding]
    over: dict[str, np.ndarray]
    """Of the examples that are too long ``length``, ``trained`` and ``lost``."""


def _usable(tokenized: Sequence[Tokenized], config: DataConfig) -> _Usable:
    """The rows with something to learn within the length limit, and what there is to say."""
    chosen, findings = [np.zeros(0, np.int64)], []
    facts: list[tuple[int, int, int]] = []
    begin = 0
    for one in tokenized:
        store = one.store
        usable = store.rows["count"] > 0
        findings += store.findings
        too_long = np.flatnonzero(store.examples["length"] > config.max_length).tolist()
        for row, numbers in groupby(too_long, store.row_of):
            examples = [cut_facts(store.weights(one), config.max_length) for one in numbers]
            facts += examples
            left = config.overlong == "cut" and _teaches(store, row, config.max_length)
            usable[row] = left
            findings.append(overlong(*store.where(row), examples, config, left))
        chosen.append(np.flatnonzero(usable) + begin)
        begin += len(store)
    table = np.array(facts, np.int64).reshape(-1, 3)
    over = {key: table[:, place] for place, key in enumerate(("length", "trained", "lost"))}
    return _Usable(np.concatenate(chosen), findings, over)


def cut_facts(weights: np.ndarray, limit: int) -> tuple[int, int, int]:
    """Of an example its length, its trained tokens, and those of them beyond ``limit``."""
    return len(weights), int(np.count_nonzero(weights)), int(np.count_nonzero(weights[limit:]))


def _teaches(store: Store, row: int, limit: int) -> bool:
    return bool(within(store.row(row), limit))


def overlong(
    file: str,
    line: int,
    examples: Sequence[tuple[int, int, int]],
    config: DataConfig,
    left: bool,
) -> Finding:
    """What there is to say about a row whose examples (see ``cut_facts``) are too long; ``left``:
    whether something is left of it to learn."""
    length = max(length for length, _, _ in examples)
    message = f"{length} tokens are more than max_length = {config.max_length}"
    if config.overlong == "cut":
        trained, lost = (sum(item[place] for item in examples) for place in (1, 2))
        message += f", so it is cut and loses {lost} of {trained} tokens to learn"
        if not left:
            message += ", that is all of them"
    return Finding("warning", "overlong", message, file, line, left_out=not left)


def _held_out(
    tokenized: Sequence[Tokenized], rows: np.ndarray, config: DataConfig, seed: int
) -> np.ndarray:
    """Which of ``rows`` are for validation, bool."""
    begins = row_begins(tokenized)
    owners = np.searchsorted(begins, rows, side="right") - 1
    tasks: list[str] = []
    groups: list[str] = []
    digests = [np.zeros((0, 16), np.uint8)]
    for number, one in enumerate(tokenized):
        own = rows[owners == number] - begins[number]
        table = one.store.rows[own]
        digests.append(one.digests(seed, config.cache)[own])
        if config.valid_tasks or config.split_by == "task":
            tasks += [one.store.tasks[code] for code in table["task"]]
        if config.split_by == "group":
            groups += [one.store.groups[code] for code in table["group"]]
    return split.held_out(
        config.split_by,
        config.valid_fraction,
        seed,
        digests=np.concatenate(digests),
        tasks=tasks,
        groups=groups,
        valid_tasks=config.valid_tasks,
    )


def _describe_split(config: DataConfig, seed: int) -> dict[str, Any]:
    if config.valid:
        return {"by": "files"}
    if config.valid_tasks:
        return {"by": "task", "valid_tasks": config.valid_tasks}
    by: dict[Literal["row", "task", "group"], str] = {
        "row": "hash of content",
        "task": "hash of task",
        "group": "hash of group",
    }
    return {
        "by": by[config.split_by],
        "valid_fraction": config.valid_fraction,
        "seed": seed,
    }
