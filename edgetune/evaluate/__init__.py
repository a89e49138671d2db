"""How good a model is: its answers to held-out instructions, and its loss on them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgetune import hub, paths, runs
from edgetune.errors import RequestError

if TYPE_CHECKING:
    from edgetune.data.formats import Conversation

Progress = Callable[[int, int], None]
"""Called with (done, total)."""


@dataclass(frozen=True)
class Graded:
    """One answer beside the one that was expected."""

    prompt: str
    expected: str
    answer: str
    correct: bool
    """The answer, stripped, is the expected text, and the model ended it by itself."""
    task: str


@dataclass(frozen=True)
class Score:
    """Exact match over a set of rows."""

    graded: list[Graded] = field(repr=False)

    @property
    def rows(self) -> int:
        return len(self.graded)

    @property
    def exact_match(self) -> float:
        """Share of correct answers, 0 for an empty set."""
        return sum(item.correct for item in self.graded) / max(self.rows, 1)

    def tasks(self) -> dict[str, Score]:
        """The score of each task apart, for sets whose rows name one."""
        names = dict.fromkeys(item.task for item in self.graded if item.task)
        return {name: Score([item for item in self.graded if item.task == name]) for name in names}

    def to_dict(self) -> dict[str, Any]:
        """``exact_match`` and ``rows``, and the same by task."""
        return {
            "exact_match": round(self.exact_match, 4),
            "rows": self.rows,
            "tasks": {
                name: {"exact_match": round(score.exact_match, 4), "rows": score.rows}
                for name, score in self.tasks().items()
            },
        }


@dataclass(frozen=True)
class Evaluation:
    """What a model made of each data file."""

    target: str
    kind: str
    """``model``, ``run`` or ``gguf``."""
    scores: dict[str, Score]
    """By file name, or by path where two files have the same name."""
    losses: dict[str, float]
    """Nats per trained token by file name; empty for a GGUF."""

    def to_dict(self) -> dict[str, Any]:
        sets = {}
        for name, score in self.scores.items():
            sets[name] = score.to_dict()
            if name in self.losses:
                sets[name]["loss"] = round(self.losses[name], 5)
        return {"target": self.target, "kind": self.kind, "sets": sets}


def evaluate(
    target: str,
    data: Sequence[str | Path],
    *,
    base: bool = False,
    runs_dir: str | Path | None = None,
    progress: Progress | None = None,
) -> list[Evaluation]:
    """Answer the rows of ``data`` greedily and compare with theirs.

    ``target`` is a GGUF file, a run or a model; with ``base`` the run's base model is evaluated
    first. Raises RequestError for data or targets that are not there or not usable.
    """
    from edgetune.data.formats import load

    names = [Path(file).name for file in data]
    sets = {
        name if names.count(name) == 1 else str(file): load([Path(file)]).conversations
        for name, file in zip(names, data, strict=True)
    }
    if target.endswith(".gguf"):
        if base:
            raise RequestError(
                "A GGUF file has no base model to compare with.", "Leave out --base."
            )
        return [Evaluation(target, "gguf", _gguf_scores(Path(target), sets, progress), {})]
    run = runs.find_run(target, paths.runs_dir(runs_dir))
    if run is None:
        return [_evaluate_model(target, "model", target, None, sets, "auto", progress)]
    config = run.config()
    adapter = adapter_of(run)
    evaluations = []
    if base:
        evaluations.append(
            _evaluate_model(
                config.model, "model", config.model, None, sets, config.data.template, progress
            )
        )
    evaluations.append(
        _evaluate_model(target, "run", config.model, adapter, sets, config.data.template, progress)
    )
    return evaluations


def adapter_of(run: runs.Run) -> Path:
    """The run's finished adapter. Raises RequestError if training has not ended, or if the base
    it was trained on is no longer the same."""
    if not (run.adapter / "adapters.safetensors").is_file():
        raise RequestError(
            f"The run {run.name} has no adapter yet: its training has not ended.",
            f"Go on with it: edgetune train --resume {run.name}",
        )
    from edgetune.train.resume import check_base

    check_base(run, hub.resolve_model(run.config().model))
    return run.adapter


def _evaluate_model(
    target: str,
    kind: str,
    model: str,
    adapter: Path | None,
    sets: dict[str, list[Conversation]],
    template_choice: str,
    progress: Progress | None,
) -> Evaluation:
    from edgetune.data.template import choose_template, to_example
    from edgetune.evaluate.answers import answer_with_model
    from edgetune.models import attach_adapter, load
    from edgetune.train.loss import held_out_loss

    loaded = load(model)
    template = choose_template(loaded.tokenizer, template_choice)
    if adapter is not None:
        attach_adapter(loaded, adapter)
    # Before the answers, which take long: a row that cannot be used is found here.
    examples = {
        name: [to_example(item, loaded.tokenizer, template) for item in conversations]
        for name, conversations in sets.items()
    }
    scores, losses = {}, {}
    for name, conversations in sets.items():
        scores[name] = answer_with_model(loaded, template, conversations, progress)
        losses[name] = held_out_loss(loaded.model, examples[name])
    return Evaluation(target, kind, scores, losses)


def _gguf_scores(
    file: Path, sets: dict[str, list[Conversation]], progress: Progress | None
) -> dict[str, Score]:
    from edgetune.evaluate.answers import answer_with_engine
    from edgetune.serve.engine import load

    with load(file) as engine:
        return {
            name: answer_with_engine(engine, conversations, progress)
            for name, conversations in sets.items()
        }
