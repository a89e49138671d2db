"""How good a model is: its answers to held-out instructions, and its loss on them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgetune import hub, paths, runs
from edgetune.errors import RequestError

if TYPE_CHECKING:
    from edgetune.data.conversation import Conversation
    from edgetune.data.template import Example
    from edgetune.data.templates.rendering import ChatTemplate
    from edgetune.data.tokenizer import Tokenizer

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
    names = [Path(file).name for file in data]
    sets = {
        name if names.count(name) == 1 else str(file): _rows(file)
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
        return [_evaluate_model(target, "model", target, None, None, sets, progress)]
    model = run.config().model
    adapter = adapter_of(run)
    evaluations = []
    if base:
        evaluations.append(_evaluate_model(model, "model", model, None, run, sets, progress))
    evaluations.append(_evaluate_model(target, "run", model, adapter, run, sets, progress))
    return evaluations


def _rows(file: str | Path) -> list[Conversation]:
    """The rows to answer: all that can be read, but not the answers that nobody wants."""
    from edgetune.data.reading import load

    return [item for item in load([file]).conversations if item.label is not False]


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


def template_of(run: runs.Run, tokenizer: Tokenizer) -> ChatTemplate:
    """The chat template that the run was trained with, as it is kept with its adapter: the file
    or the settings that it came from may have changed since."""
    from edgetune.data.templates.rendering import ChatTemplate

    source = (run.adapter / "chat_template.jinja").read_text(encoding="utf-8")
    config = json.loads((run.adapter / "adapter_config.json").read_text(encoding="utf-8"))
    return ChatTemplate(source, tokenizer.bos, tokenizer.eos, str(config["template"]))


def _evaluate_model(
    target: str,
    kind: str,
    model: str,
    adapter: Path | None,
    run: runs.Run | None,
    sets: dict[str, list[Conversation]],
    progress: Progress | None,
) -> Evaluation:
    """Answers and losses of a model, with the template of ``run`` if there is one."""
    from edgetune.data.templates.builtin import choose_template
    from edgetune.evaluate.answers import answer_with_model, question_of
    from edgetune.models import attach_adapter, load
    from edgetune.train.loss import held_out_loss

    loaded = load(model)
    tokenizer = loaded.tokenizer
    template = choose_template(tokenizer) if run is None else template_of(run, tokenizer)
    if adapter is not None:
        attach_adapter(loaded, adapter)
    # Before the answers, which take long: a row that cannot be used is found here.
    for conversation in chain.from_iterable(sets.values()):
        question_of(conversation)
    examples = {
        name: list(examples_of(conversations, tokenizer, template))
        for name, conversations in sets.items()
    }
    scores, losses = {}, {}
    for name, conversations in sets.items():
        scores[name] = answer_with_model(loaded, template, conversations, progress)
        losses[name] = held_out_loss(loaded.model, examples[name])
    return Evaluation(target, kind, scores, losses)


def examples_of(
    conversations: Iterable[Conversation], tokenizer: Tokenizer, template: ChatTemplate
) -> Iterator[Example]:
    """The examples of all conversations. Raises RequestError for one that has none."""
    from edgetune.data.template import RowProblem, to_examples

    for result in to_examples(conversations, tokenizer, template):
        if isinstance(result, RowProblem):
            raise result
        yield from result


def _gguf_scores(
    file: Path, sets: dict[str, list[Conversation]], progress: Progress | None
) -> dict[str, Score]:
    from edgetune.evaluate.answers import answer_with_engine, question_of
    from edgetune.serve.engine import load

    for conversation in chain.from_iterable(sets.values()):
        question_of(conversation)
    with load(file) as engine:
        return {
            name: answer_with_engine(engine, conversations, progress)
            for name, conversations in sets.items()
        }
