"""Which rows are held out for validation: by row, by whole task or by whole group.

What decides is a hash keyed by the seed (BLAKE2b): of a row's content, of its task's name or of
its group's value. The hashes lie evenly in [0, 1), and those below the wanted fraction are held
out. So equal rows never part when rows are split, and rows added later move none of the others,
unless so few are there that the lowest hash has to be held out whatever it is.

Everything here works on digests and numbers, never on whole conversations.
"""

from collections.abc import Iterable, Sequence
from typing import Literal

import numpy as np

from edgetune.data.conversation import Digest
from edgetune.errors import RequestError

By = Literal["row", "task", "group"]

_SHOWN = 20


def stack(digests: Iterable[bytes]) -> np.ndarray:
    """Digests of 16 bytes as one array, uint8 (rows, 16)."""
    return np.frombuffer(b"".join(digests), dtype=np.uint8).reshape(-1, 16)


def places(digests: np.ndarray) -> np.ndarray:
    """Where digests, uint8 (rows, 16), lie in [0, 1): float64 (rows,)."""
    first = np.ascontiguousarray(digests[:, :8]).view("<u8")[:, 0]
    # A float holds 53 bits exactly; more could be rounded up to 1.
    return (first >> np.uint64(11)) / 2.0**53


def held_out(
    by: By,
    fraction: float,
    seed: int,
    *,
    digests: np.ndarray,
    tasks: Sequence[str] = (),
    groups: Sequence[str] = (),
    valid_tasks: Sequence[str] = (),
) -> np.ndarray:
    """Which rows are for validation, bool (rows,).

    ``digests``: each row's ``content_digest(conversation, seed)``, uint8 (rows, 16). ``tasks``
    and ``groups``: each row's, "" where it has none; they are needed when they decide.
    ``valid_tasks`` names the tasks to hold out and overrides ``by`` and ``fraction``.
    Raises RequestError where there is nothing to go by.
    """
    if valid_tasks:
        if by == "group":
            raise RequestError(
                "Rows cannot be split by group and by named tasks at once.",
                "Leave out either the group or the tasks for validation.",
            )
        return by_named_tasks(tasks, valid_tasks)
    if by == "task":
        return by_task(tasks, fraction, seed)
    if by == "group":
        return by_group(digests, groups, fraction, seed)
    return by_row(digests, fraction)


def by_row(digests: np.ndarray, fraction: float) -> np.ndarray:
    """About ``fraction`` of the distinct contents.

    With a ``fraction`` above 0 and two different contents both sides get at least one.
    """
    return _below(places(digests), fraction)


def by_task(tasks: Sequence[str], fraction: float, seed: int) -> np.ndarray:
    """About ``fraction`` of the tasks, whole: at least one and never everything.

    Rows without a task stay for training. Raises RequestError if nothing would be left for it.
    """
    names = sorted({task for task in tasks if task})
    if fraction <= 0:
        return np.zeros(len(tasks), dtype=bool)
    if not names:
        raise RequestError(
            "The rows cannot be split by task, since none of them names its task.",
            "Give the rows a `task`, name one per source, or split by row.",
        )
    with_none = len(names) < len(set(tasks))
    if len(names) == 1 and not with_none:
        raise RequestError(
            f"The rows cannot be split by task: all are of one, `{names[0]}`.",
            "Add rows of other tasks, or split by row.",
        )
    lies = places(stack(_name_digest("task", name, seed) for name in names))
    out = _below(lies, fraction) if len(names) > 1 else np.ones(1, dtype=bool)
    chosen = {name for name, held in zip(names, out, strict=True) if held}
    return np.array([task in chosen for task in tasks], dtype=bool)


def by_named_tasks(tasks: Sequence[str], valid_tasks: Sequence[str]) -> np.ndarray:
    """The rows of the named tasks.

    Raises RequestError for a task that no row has, and if no row were left for training.
    """
    known = sorted({task for task in tasks if task})
    if missing := sorted(set(valid_tasks) - set(known)):
        names = ", ".join(f"`{name}`" for name in missing)
        listed = ", ".join(f"`{name}`" for name in known[:_SHOWN])
        more = f" and {len(known) - _SHOWN} more" if len(known) > _SHOWN else ""
        raise RequestError(
            f"No row is of the task {names} that is to be held out.",
            f"The tasks are {listed}{more}." if known else "No row names a task.",
        )
    chosen = set(valid_tasks)
    valid = np.array([task in chosen for task in tasks], dtype=bool)
    if valid.all():
        raise RequestError(
            "All rows are of tasks that are to be held out, so none is left to train on.",
            "Name fewer tasks for validation.",
        )
    return valid


def by_group(digests: np.ndarray, groups: Sequence[str], fraction: float, seed: int) -> np.ndarray:
    """About ``fraction`` of the groups, whole; a row without a group goes by its content.

    With a ``fraction`` above 0 and two different groups both sides get at least one.
    Raises RequestError if no row has a group.
    """
    if fraction > 0 and not any(groups):
        raise RequestError(
            "The rows cannot be split by group, since none of them has one.",
            "Name the key that holds it, or split by row.",
        )
    lies = places(digests)
    names = sorted({group for group in groups if group})
    numbers = {name: number for number, name in enumerate(names)}
    if names:
        of_groups = places(stack(_name_digest("group", name, seed) for name in names))
        which = np.array([numbers.get(group, -1) for group in groups], dtype=np.int64)
        lies = np.where(which < 0, lies, of_groups[which])
    return _below(lies, fraction)


def leaks(digests: np.ndarray, valid: np.ndarray) -> list[tuple[int, int]]:
    """Validation rows whose content stands among the training rows as well: (row, training row).

    ``digests``: uint8 (rows, 16), any seed; ``valid``: bool (rows,). There are none after a split
    by row. A split by task or group keeps tasks and groups whole, so the same content in two of
    them can stand on both sides: it is reported, and stays where it is.
    """
    keys = np.ascontiguousarray(digests).view("V16")[:, 0]
    train_rows = np.flatnonzero(~valid)
    valid_rows = np.flatnonzero(valid)
    if not len(train_rows) or not len(valid_rows):
        return []
    # As plain bytes, since numpy does not order raw ones; only validation rows are held twice.
    wanted: dict[bytes, int] = {}
    inside = {keys[row].tobytes() for row in valid_rows}
    for row in train_rows:
        key = keys[row].tobytes()
        if key in inside:
            wanted.setdefault(key, int(row))
    return [(int(row), wanted[key]) for row in valid_rows if (key := keys[row].tobytes()) in wanted]


def _name_digest(kind: str, name: str, seed: int) -> bytes:
    digest = Digest(seed)
    digest.add(kind)
    digest.add(name)
    return digest.value()


def _below(lies: np.ndarray, fraction: float) -> np.ndarray:
    """Which places lie below ``fraction``: never none and never all of two different ones."""
    if fraction <= 0 or not len(lies) or lies.min() == lies.max():
        return np.zeros(len(lies), dtype=bool)
    border = min(max(fraction, np.nextafter(lies.min(), 1)), lies.max())
    return lies < border
