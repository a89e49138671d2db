"""The report on a run's data (see ``report``), made once for the same data and settings."""

from typing import Any

from edgetune.config import DataConfig
from edgetune.data import report
from edgetune.data.dataset import Dataset
from edgetune.data.token_facts import token_facts
from edgetune.data.tokens import cache
from edgetune.data.tokens.tokenized import Progress


def examine(
    dataset: Dataset,
    config: DataConfig,
    *,
    model: dict[str, Any] | None = None,
    plan: dict[str, Any] | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """What there is to say about the rows of ``dataset``, ready for JSON. ``model`` and ``plan``
    are passed on; they may differ between runs on the same data."""

    def make() -> dict[str, Any]:
        return report.examine(
            dataset.train.conversations(),
            dataset.valid.conversations(),
            facts=token_facts(dataset, config),
            findings=dataset.findings,
            files=dataset.files,
            total=len(dataset.train) + len(dataset.valid),
            progress=progress,
        )

    found = cache.remember(cache.key(["report", dataset.key]), make, config.cache)
    return found | {"model": model, "plan": plan}
