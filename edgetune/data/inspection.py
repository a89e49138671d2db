"""The data of a run looked at as a whole (its report) or row by row (what the model sees)."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from edgetune.config import DataConfig, RunConfig, SourceConfig
from edgetune.data import reading
from edgetune.data.checks.labels import contradictions
from edgetune.data.conversation import Conversation, Finding, Message
from edgetune.data.preview import View, view
from edgetune.data.template import Example, to_examples
from edgetune.data.templates.builtin import choose_template
from edgetune.data.templates.drafts import MaskOptions
from edgetune.data.templates.rendering import ChatTemplate
from edgetune.data.tokenizer import Tokenizer
from edgetune.errors import RequestError

ShowProgress = Callable[[str, float], None]
"""Called with what is being done and which part of it is."""


@dataclass(frozen=True)
class Seen:
    """A row, and how the model sees it or why it does not."""

    file: str
    line: int
    task: str = ""
    messages: tuple[Message, ...] = ()
    """Of a row that became a conversation; running text as one message without a role."""
    views: list[View] = field(default_factory=list)
    """Its examples; none for a row that is left out."""
    findings: list[Finding] = field(default_factory=list)


@dataclass(frozen=True)
class Viewer:
    """The rows of the training sources for one model."""

    config: DataConfig
    tokenizer: Tokenizer
    template: ChatTemplate

    def rows(self) -> Iterator[tuple[Conversation | None, list[Finding]]]:
        """Every row in its order, with what reading it found; None for one that is left out.
        Reads as far as it is asked."""
        for source in self.config.train:
            waiting: list[Finding] = []
            for item in contradictions(reading.read(source, self.config.group)):
                if isinstance(item, Conversation):
                    place = item.file, item.line
                    yield item, [each for each in waiting if (each.file, each.line) == place]
                    waiting = []
                elif isinstance(item, Finding):
                    if item.left_out and item.line:
                        yield None, [item]
                    else:
                        waiting.append(item)

    def see(self, conversation: Conversation | None, findings: list[Finding]) -> Seen:
        """One row of ``rows`` as the model sees it."""
        if conversation is None:
            return Seen(findings[0].file, findings[0].line, findings=findings)
        text = (Message("", conversation.text),) if conversation.text else ()
        seen = Seen(
            conversation.file,
            conversation.line,
            conversation.task,
            conversation.messages or text,
            findings=findings,
        )
        examples, more = self._trained(conversation)
        views = [view(example, self.tokenizer) for example in examples]
        return replace(seen, views=views, findings=[*findings, *more])

    def _trained(self, conversation: Conversation) -> tuple[list[Example], list[Finding]]:
        """What a training makes of a row, and what it says about it."""
        from edgetune.data.dataset import cut_facts, overlong
        from edgetune.data.tokens.part import within
        from edgetune.data.tokens.tokenized import judge

        result = None
        if conversation.label is not False:
            masks = MaskOptions(self.config.train_on, self.config.train_reasoning)
            [result] = to_examples([conversation], self.tokenizer, self.template, masks)
        examples = judge(conversation, result)
        if isinstance(examples, Finding):
            return [], [examples]
        limit = self.config.max_length
        facts = [cut_facts(example.weights, limit) for example in examples]
        too_long = [item for item in facts if item[0] > limit]
        if not too_long:
            return examples, []
        kept = within(examples, limit) if self.config.overlong == "cut" else []
        where = conversation.file, conversation.line
        return kept, [overlong(*where, too_long, self.config, bool(kept))]


def viewer(config: RunConfig) -> Viewer:
    """The rows of ``config.data.train`` for its model, of which only the tokenizer needs to be
    there. Raises RequestError."""
    tokenizer = load_tokenizer(config.model)
    return Viewer(config.data, tokenizer, choose_template(tokenizer, config.data))


def load_tokenizer(model: str) -> Tokenizer:
    """The tokenizer of a model directory, of ``nano`` or of a model from the hub."""
    from edgetune.hub import resolve_model

    # Of a directory only the tokenizer is needed here, so weights need not be there.
    path = Path(model).expanduser()
    return Tokenizer.from_directory(path if path.is_dir() else resolve_model(model))


def inspect(config: RunConfig, progress: ShowProgress | None = None) -> dict[str, Any]:
    """The report on the data that ``config`` names (see ``edgetune.data.report``), with tokens
    where it names a model. Rows with errors are left out and reported, whatever it says of them.

    Raises RequestError for sources that cannot be read at all.
    """
    # Looking at rows needs none of this.
    from edgetune.data import run_report
    from edgetune.data.dataset import prepare
    from edgetune.data.schedule import forecast

    if not config.model:
        return _examine_text(config.data, progress)
    tokenizer = load_tokenizer(config.model)
    template = choose_template(tokenizer, config.data)
    data = config.data.model_copy(update={"bad_rows": "leave_out"})
    try:
        dataset = prepare(data, config.seed, tokenizer, template, progress=progress)
    except RequestError:
        report = _examine_text(config.data, progress)
        if report["usable"]:
            raise
        return report  # nothing to learn from, and the report says why
    model = {"name": config.model, "template": template.name, "max_length": data.max_length}
    plan = forecast(config.train, dataset)
    return run_report.examine(dataset, data, model=model, plan=plan, progress=progress)


def _examine_text(config: DataConfig, progress: ShowProgress | None) -> dict[str, Any]:
    from edgetune.data import report
    from edgetune.data.tokens.tokenized import judge

    def read(sources: list[SourceConfig]) -> Iterator[Any]:
        for source in sources:
            for item in contradictions(reading.read(source, config.group, progress)):
                if isinstance(item, Conversation) and item.label is False:
                    yield judge(item, None)  # not learned, so it is not counted either
                else:
                    yield item

    return report.examine(read(config.train), read(config.valid), progress=progress)
