"""The whole way in one call: tune, compare with the base, export, verify, measure the export.

With the embedded model and data it needs no network and takes one to two minutes on two cores;
with ``model`` and ``data`` it does the same with one's own.
"""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgetune import config as settings
from edgetune import events, paths, runs
from edgetune.data.conversation import Conversation
from edgetune.data.reading import load as load_conversations
from edgetune.errors import RequestError
from edgetune.evaluate import Score
from edgetune.export import ExportResult, export, stage, validation_sample

NAME = "quickstart"
SETS = ("instances", "phrasings", "tasks")
"""The held-out sets of the embedded data: facts, wordings and whole tasks never trained."""
TYPES = ("Q8_0", "Q4_K_M")

Say = Callable[[events.Event], None]


@dataclass(frozen=True)
class QuickstartResult:
    """What the quickstart came to."""

    run: runs.Run
    base: dict[str, Score]
    tuned: dict[str, Score]
    exported: ExportResult
    summary: dict[str, Any]
    """What ``summary.json`` holds."""

    def prompts(self, count: int) -> list[str]:
        """Held-out instructions to try, each of another task where there are enough."""
        first = next(iter(self.tuned.values()))
        by_task = {item.task or item.prompt: item.prompt for item in reversed(first.graded)}
        return list(by_task.values())[:count]


def embedded_settings() -> settings.RunConfig:
    """Settings for the embedded model and data.

    A 3.5-million-parameter base wants a ten times higher learning rate than a large one, and its
    rows are so short that many make a step.
    """
    return settings.RunConfig(
        name=NAME,
        model="nano",
        seed=0,
        data=settings.DataConfig(
            train=[settings.SourceConfig(path=str(paths.NANO_DATA / "train.jsonl"))],
            valid=[settings.SourceConfig(path=str(paths.NANO_DATA / "valid.jsonl"))],
            max_length=256,
        ),
        adapter=settings.AdapterConfig(rank=16, alpha=32.0),
        train=settings.TrainConfig(
            epochs=3,
            batch_size=32,
            learning_rate=2e-3,
            warmup_ratio=0.1,
            weight_decay=0.0,
            save_every=200,
        ),
    )


def quickstart(
    *,
    model: str | None = None,
    data: list[str] | None = None,
    name: str = NAME,
    runs_dir: str | Path | None = None,
    on_event: Say | None = None,
    stop_requested: Callable[[], bool] | None = None,
) -> QuickstartResult | None:
    """Tune, evaluate before and after, export Q8_0 and Q4_K_M, verify; write ``summary.json``.

    None if ``stop_requested`` ended the training. An earlier quickstart on the embedded data is
    replaced, since it can be had again; any other run of that name is an error.
    """
    if bool(model) != bool(data):
        raise RequestError(
            "A quickstart of one's own needs a model and data.",
            "Give both --model and --data, or neither for the embedded ones.",
        )
    say = on_event or (lambda event: None)
    folder = paths.runs_dir(runs_dir)
    if model and data:
        sources = [settings.SourceConfig(path=item) for item in data]
        config = settings.RunConfig(name=name, model=model, data=settings.DataConfig(train=sources))
        runs.check_free(name, folder)
    else:
        config = embedded_settings().model_copy(update={"name": name})
        _make_room(name, folder, config, say)

    from edgetune.train import train

    started = time.monotonic()
    trained = train(config, runs_dir=folder, on_event=say, stop_requested=stop_requested)
    if not trained.completed:
        return None
    train_seconds = time.monotonic() - started
    run = trained.run
    if model:
        answered = [item for item in validation_sample(run) if _can_be_graded(item)]
        sets = {"validation": answered}
    else:
        sets = {
            name: load_conversations([paths.NANO_DATA / f"{name}.jsonl"]).conversations
            for name in SETS
        }
    base, tuned, known = _before_and_after(run, sets, cloze=not model, say=say)
    exported = export(run.path, TYPES, runs_dir=folder, on_event=say)
    builds = [_summary_of_build(run, item, sets, say) for item in exported.report["exports"]]
    summary: dict[str, Any] = {
        "run": str(run.path),
        "model": config.model,
        "base": {name: score.to_dict() for name, score in base.items()},
        "tuned": {name: score.to_dict() for name, score in tuned.items()},
        "training": {
            "steps": trained.step,
            "seconds": round(train_seconds, 1),
            "first_validation_loss": trained.first_validation_loss,
            "validation_loss": trained.validation_loss,
        },
        "exports": builds,
        "seconds": round(time.monotonic() - started, 1),
    }
    if known is not None:
        summary["base"]["cloze"] = known.to_dict()
    paths.write_text(run.path / "summary.json", json.dumps(summary, indent=1, ensure_ascii=False))
    return QuickstartResult(run, base, tuned, exported, summary)


def _can_be_graded(conversation: Conversation) -> bool:
    last = conversation.messages[-1:]
    return bool(last) and last[0].role == "assistant" and not last[0].tool_calls


def _make_room(name: str, folder: Path, config: settings.RunConfig, say: Say) -> None:
    path = folder / name
    if not path.exists():
        return
    run = runs.open_run(str(path), folder)
    own = run.config()
    if own.model != config.model or own.data.train != config.data.train:
        runs.check_free(name, folder)
    say(events.Note(message=f"replacing the earlier quickstart in {path}"))
    runs.remove(run)


def _before_and_after(
    run: runs.Run, sets: dict[str, list[Conversation]], cloze: bool, say: Say
) -> tuple[dict[str, Score], dict[str, Score], Score | None]:
    """Scores of the base and of the tuned model, and what the base knows without instructions."""
    from edgetune.evaluate import answers, template_of
    from edgetune.models import attach_adapter, load

    config = run.config()
    loaded = load(config.model)
    template = template_of(run, loaded.tokenizer)

    def score(who: str) -> dict[str, Score]:
        return {
            name: answers.answer_with_model(
                loaded, template, rows, stage(say, f"{who} model answers {name}")
            )
            for name, rows in sets.items()
        }

    known = None
    if cloze:
        known = answers.cloze(
            loaded, paths.NANO_DATA / "cloze.jsonl", stage(say, "base model continues sentences")
        )
    base = score("base")
    attach_adapter(loaded, run.adapter)
    tuned = score("tuned")
    for name, scores in (("before", base), ("after", tuned)):
        document = {
            key: value.to_dict() | {"answers": [vars(item) for item in value.graded]}
            for key, value in scores.items()
        }
        text = json.dumps(document, indent=1, ensure_ascii=False)
        paths.write_text(run.eval / f"{name}.json", text)
    return base, tuned, known


def _summary_of_build(
    run: runs.Run, item: dict[str, Any], sets: dict[str, list[Conversation]], say: Say
) -> dict[str, Any]:
    """A build's figures from the export report, and its own score on the first set."""
    from edgetune.evaluate.answers import answer_with_engine
    from edgetune.serve.engine import load

    keys = ("file", "type", "bytes", "bits_per_weight", "top1", "kld_mean", "verdict")
    summary = {key: item[key] for key in keys}
    file = run.export / item["file"]
    if item["verdict"] == "verified":
        name, rows = next(iter(sets.items()))
        with load(file) as engine:
            score = answer_with_engine(engine, rows, stage(say, f"{item['type']} answers {name}"))
        summary[name] = {"exact_match": round(score.exact_match, 4), "rows": score.rows}
    return summary
