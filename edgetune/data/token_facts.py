"""What a model makes of a run's rows, for the report: lengths in tokens, shares of an epoch."""

from typing import Any

import numpy as np

from edgetune.config import DataConfig
from edgetune.data.dataset import Dataset
from edgetune.data.report import TokenFacts
from edgetune.data.tokens.part import Part


def token_facts(dataset: Dataset, config: DataConfig) -> TokenFacts:
    """What the model makes of the rows, those that are too long for it included."""
    parts = {"train": dataset.train, "valid": dataset.valid}
    lengths = {name: part.lengths() for name, part in parts.items()}
    whole = {name: found["cut"] == 0 for name, found in lengths.items()}
    over = dataset.over

    def joined(key: str) -> np.ndarray:
        return np.concatenate([*(lengths[name][key][whole[name]] for name in parts), over[key]])

    valid = [np.full(int(whole[name].sum()), name == "valid") for name in parts]
    length = joined("length")
    lost = np.zeros(len(length), np.int64)
    lost[len(length) - len(over["lost"]) :] = over["lost"]
    return TokenFacts(
        max_length=config.max_length,
        valid=np.concatenate([*valid, over["valid"]]),
        length=length,
        trained=joined("trained"),
        lost=lost,
        parts={name: part.figures() for name, part in parts.items()},
        tasks=_shares(dataset, lengths, "task"),
        sources=_shares(dataset, lengths, "source"),
    )


def _shares(
    dataset: Dataset, lengths: dict[str, dict[str, np.ndarray]], by: str
) -> list[dict[str, Any]]:
    """Rows, tokens and share of an epoch of each task or source."""
    shares = dataset.mixture.shares(by)
    found = []
    for name, part in (("train", dataset.train), ("valid", dataset.valid)):
        names, of_row = _codes(part, by)
        of_example = of_row[lengths[name]["row"]]
        sums = {
            "rows": np.bincount(of_row, minlength=len(names)),
            "tokens": _summed(of_example, lengths[name]["length"], len(names)),
            "trained_tokens": _summed(of_example, lengths[name]["trained"], len(names)),
        }
        for number in np.argsort(-sums["rows"], kind="stable"):
            if not sums["rows"][number]:
                continue
            share = shares.get(names[number], 0.0) if name == "train" else 0.0
            figures = {key: int(values[number]) for key, values in sums.items()}
            found.append({by: names[number], "part": name, "share": share, **figures})
    return found


def _codes(part: Part, by: str) -> tuple[list[str], np.ndarray]:
    """The names of tasks or sources, each once, and the number of each row's."""
    codes = part.codes()
    names, numbers = (
        (codes.task_names, codes.tasks) if by == "task" else (codes.source_names, codes.sources)
    )
    distinct = list(dict.fromkeys(names))
    return distinct, np.array([distinct.index(name) for name in names], np.int64)[numbers]


def _summed(codes: np.ndarray, values: np.ndarray, size: int) -> np.ndarray:
    return np.bincount(codes, weights=values, minlength=size).astype(np.int64)
