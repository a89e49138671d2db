"""Settings from a file, from flags and from ``--set``, in that order."""

from pathlib import Path
from typing import Any

from edgetune import config as settings


def resolve(
    file: Path | None,
    given: dict[str, Any],
    assignments: list[str],
    before: dict[str, Any] | None = None,
) -> settings.RunConfig:
    """The checked settings; ``given`` has those of the flags by their dotted name, and what is
    in ``before`` holds where nothing else is said. Raises RequestError."""
    values = dict(before or {})
    if file is not None:
        values |= settings.read_yaml(file)
    for name, value in given.items():
        settings.set_value(values, name, value)
    for assignment in assignments:
        settings.assign(values, assignment)
    # A limit above the default micro-batch means that one example may fill it.
    data, train = values.get("data") or {}, values.setdefault("train", {})
    length = data.get("max_length") if isinstance(data, dict) else None
    default = settings.TrainConfig().micro_batch_tokens
    if isinstance(length, int) and length > default and isinstance(train, dict):
        train.setdefault("micro_batch_tokens", length)
    return settings.build(values, str(file) if file else "the command line")
