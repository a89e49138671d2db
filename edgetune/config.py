"""What a run is told: every setting with its default, its unit and a sentence.

Settings come from a YAML file (``--config``), from flags and from ``--set section.name=value``,
in that order; the resolved whole is written to the run's ``config.yaml`` and runs again as it is.
Defaults follow the published practice for LoRA: all linear layers, rank 16, alpha 32, learning
rate 2e-4, cosine decay after a short warm-up (Schulman et al. 2025, "LoRA Without Regret").
"""

from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
    model_validator,
)

from edgetune.errors import RequestError, explain_os_error


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)


Format = Literal[
    "auto",
    "alpaca",
    "chat",
    "sharegpt",
    "completion",
    "question",
    "text",
    "preference",
    "kto",
    "seed-tasks",
    "flan",
]
"""How the rows of a source are to be read; ``auto`` finds out."""


class SourceConfig(_Section):
    """Where rows come from and how they are read. Only a path may stand for all of it."""

    path: str
    """A file, a directory, `-` for standard input, a task file, or a Hugging Face dataset id."""
    format: Format = "auto"
    """The rows' format, instead of the one recognized."""
    columns: dict[str, str] = Field(default_factory=dict)
    """Which key of a row holds what, e.g. `{instruction: question_text, output: reply}`."""
    weight: float = Field(default=1.0, gt=0)
    """How often a row is visited per epoch; 0.5: another half of the rows in every epoch."""
    system: str = ""
    """System message for the rows that have none."""
    task: str = ""
    """Name of the task for the rows that name none."""
    revision: str | None = None
    """Of a Hugging Face dataset: commit, tag or branch; what it was is kept with the run."""
    subset: str = ""
    """Of a Hugging Face dataset with several configurations: which one."""
    split: str = "train"
    """Of a Hugging Face dataset: which of its splits."""

    @model_validator(mode="before")
    @classmethod
    def _from_path(cls, value: Any) -> Any:
        return {"path": value} if isinstance(value, str) else value

    @model_serializer(mode="wrap")
    def _as_path(self, whole: SerializerFunctionWrapHandler) -> Any:
        # Written as it is mostly given.
        values = whole(self)
        return self.path if self == type(self)(path=self.path) else values


class MixtureConfig(_Section):
    """How much of each task or source an epoch holds."""

    method: Literal["none", "proportional", "temperature", "equal"] = "none"
    """none: every row by its source's weight; proportional: by size, at most `cap` rows each;
    temperature: by size to the power 1 / `temperature`; equal: the same number of each."""
    by: Literal["task", "source"] = "task"
    """What is balanced."""
    cap: int | None = Field(default=None, ge=1)
    """Most rows of one task (or source) that count (examples-proportional mixing of FLAN)."""
    temperature: float = Field(default=2.0, ge=1)
    """1 keeps the proportions, a large one makes all tasks equal (mixing rates of T5)."""
    weights: dict[str, float] = Field(default_factory=dict)
    """Factors by name of task (or source path), on top of the method."""


class DataConfig(_Section):
    """Where the rows come from and how they become tokens."""

    train: list[SourceConfig] = Field(default_factory=list)
    """Sources of training rows: files, directories, `-`, task files, Hugging Face datasets."""
    valid: list[SourceConfig] = Field(default_factory=list)
    """Sources of validation rows; none: a part of the training rows is held out."""
    valid_fraction: float = Field(default=0.05, ge=0, lt=1)
    """Share of the training rows held out for validation when `valid` names nothing."""
    split_by: Literal["row", "task", "group"] = "row"
    """What is held out: rows, whole tasks, or whole groups (rows with one value of `group`)."""
    group: str = ""
    """Key of the rows that names their group."""
    valid_tasks: list[str] = Field(default_factory=list)
    """Tasks that are held out whole, by name, instead of by chance."""
    mixture: MixtureConfig = Field(default_factory=MixtureConfig)
    """How much of each task or source an epoch holds."""
    template: str = "auto"
    """Chat template: the model's own where it has one, else plain (auto); a built-in one
    (chatml, alpaca, llama-3, mistral, gemma, phi-3, zephyr, plain); or a Jinja file."""
    thinking: Literal["auto", "on", "off"] = "auto"
    """Switch of templates that can think; auto: their default, and on for rows with reasoning."""
    template_variables: dict[str, Any] = Field(default_factory=dict)
    """Further variables for the chat template, kept with the adapter as its defaults."""
    train_on: Literal["answers", "last", "everything"] = "answers"
    """What is learned: all answers, only a conversation's last one, or all its tokens."""
    train_reasoning: bool = True
    """Whether the reasoning before an answer is learned, or only read."""
    max_length: int = Field(default=1024, ge=8)
    """Longest example in tokens."""
    overlong: Literal["leave_out", "cut"] = "leave_out"
    """What becomes of longer ones: left out and listed in data.json, or cut at the end."""
    bad_rows: Literal["refuse", "leave_out"] = "refuse"
    """Rows that cannot be read: refuse to train, or leave them out and list them in data.json."""
    strict: bool = False
    """Refuse to train on data with warnings as well."""
    cache: bool = True
    """Keep tokenized rows, by content, template and tokenizer, for the next run."""


class AdapterConfig(_Section):
    """Which weights learn."""

    method: Literal["lora"] = "lora"
    """LoRA: two small matrices beside each chosen linear layer; the base stays as it is."""
    rank: int = Field(default=16, ge=1)
    """Inner width of the adapter; matters once the data outgrows the adapter's capacity."""
    alpha: float = Field(default=32.0, gt=0)
    """Adapter scale; the adapter's output is multiplied by alpha / rank."""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    """Share of the adapter's inputs dropped while training."""
    targets: list[str] = Field(default_factory=lambda: ["all-linear"])
    """Linear layers that get an adapter: `all-linear`, or names such as `q_proj`."""


class TrainConfig(_Section):
    """How the weights learn."""

    epochs: float = Field(default=3.0, gt=0)
    """Passes over the training rows; more than 3 rarely help on real data."""
    steps: int | None = Field(default=None, ge=1)
    """Optimizer steps; overrides `epochs`."""
    batch_size: int = Field(default=8, ge=1)
    """Examples per optimizer step; LoRA likes small batches."""
    micro_batch_tokens: int = Field(default=4096, ge=8)
    """Most tokens on the device at once; a larger batch is accumulated exactly."""
    learning_rate: float = Field(default=2e-4, gt=0)
    """Peak learning rate; for LoRA about ten times that of full fine-tuning."""
    warmup_ratio: float = Field(default=0.05, ge=0, lt=1)
    """Share of the steps over which the learning rate rises to its peak."""
    final_lr_ratio: float = Field(default=0.1, ge=0, le=1)
    """Learning rate at the end of the cosine, as a share of the peak."""
    weight_decay: float = Field(default=0.01, ge=0)
    """AdamW's decoupled weight decay."""
    clip_norm: float = Field(default=1.0, gt=0)
    """Gradients with a larger norm than this are scaled down to it."""
    validate_every: int | None = Field(default=None, ge=1)
    """Steps between validations; none: ten times over the run. Start and end always validate."""
    save_every: int = Field(default=100, ge=1)
    """Steps between checkpoints; the end always saves."""
    keep_checkpoints: int = Field(default=2, ge=1)
    """How many of the newest checkpoints are kept."""


class RunConfig(_Section):
    """Everything a training run is told."""

    name: str | None = None
    """Name of the run, its folder under the runs directory; none: made from model and time."""
    model: str = ""
    """The base model: a directory, `nano` for the embedded one, or a Hugging Face name."""
    seed: int = Field(default=0, ge=0)
    """Fixes the order of the rows, the split and the adapter's first values."""
    data: DataConfig = Field(default_factory=DataConfig)
    adapter: AdapterConfig = Field(default_factory=AdapterConfig)
    train: TrainConfig = Field(default_factory=TrainConfig)

    @model_validator(mode="after")
    def _micro_batch_holds_an_example(self) -> "RunConfig":
        if self.train.micro_batch_tokens < self.data.max_length:
            raise ValueError(
                f"train.micro_batch_tokens ({self.train.micro_batch_tokens}) is smaller than "
                f"data.max_length ({self.data.max_length}), so a longest example would not fit"
            )
        return self


def build(values: dict[str, Any], origin: str) -> RunConfig:
    """A checked configuration from nested ``values``; ``origin`` names where they came from.

    Raises RequestError that lists every wrong setting.
    """
    try:
        return RunConfig.model_validate(values)
    except ValidationError as error:
        problems = "; ".join(_problem(item) for item in error.errors())
        raise RequestError(
            f"The settings from {origin} are not usable: {problems}.",
            "`edgetune train --print-config` shows all settings with their defaults.",
        ) from None


def _problem(item: Any) -> str:
    name = ".".join(str(part) for part in item["loc"])
    if item["type"] == "extra_forbidden":
        return f"there is no setting `{name}`"
    message = str(item["msg"]).removeprefix("Value error, ")
    return f"`{name}`: {message} (got {item['input']!r})" if name else message


def read_yaml(path: Path) -> dict[str, Any]:
    """The nested settings in a YAML file. Raises RequestError with file and line."""
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RequestError(f"There is no configuration file {path}.") from None
    except OSError as error:
        reason = explain_os_error(error, "reading the configuration").message
        raise RequestError(reason) from None
    except UnicodeDecodeError:
        raise RequestError(f"The configuration {path} is not UTF-8 text.") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or "not valid YAML"
        raise RequestError(f"The configuration {path}{line} cannot be read: {problem}.") from None
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise RequestError(f"The configuration {path} must hold settings by name (`model: …`).")
    return values


def assign(values: dict[str, Any], assignment: str) -> None:
    """Apply one ``--set section.name=value`` to nested ``values``; the value is read as YAML."""
    name, separator, text = assignment.partition("=")
    if not separator or not name:
        raise RequestError(
            f"`--set {assignment}` is not of the form name=value.",
            "Example: --set train.learning_rate=2e-4",
        )
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        raise RequestError(f"The value in `--set {assignment}` cannot be read.") from None
    set_value(values, name, _number(value))


def _number(value: Any) -> Any:
    # YAML 1.1 reads 2e-4 as text, since it wants a dot; people mean the number.
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return value
    return value


def set_value(values: dict[str, Any], name: str, value: Any) -> None:
    """Put ``value`` at a dotted ``name`` in nested ``values``."""
    *sections, last = name.split(".")
    for section in sections:
        inner = values.setdefault(section, {})
        if not isinstance(inner, dict):
            raise RequestError(f"`{section}` in `{name}` is a setting, not a section.")
        values = inner
    values[last] = value


def to_yaml(config: RunConfig, comments: bool = False) -> str:
    """The whole configuration as YAML that ``build`` reads back to the same; with ``comments``
    each setting is followed by its sentence."""
    if not comments:
        return _dump(config.model_dump(), sort_keys=False)
    lines: list[str] = []
    for name, field in RunConfig.model_fields.items():
        value = getattr(config, name)
        if isinstance(value, _Section):
            lines.append(f"{name}:  # {(type(value).__doc__ or '').strip()}")
            values = value.model_dump()
            for inner, inner_field in type(value).model_fields.items():
                lines += _commented(inner, values[inner], inner_field.description, "  ")
        else:
            lines += _commented(name, value, field.description, "")
    return "\n".join(lines) + "\n"


def _dump(value: Any, **style: Any) -> str:
    text: str = yaml.safe_dump(value, allow_unicode=True, **style)
    # PyYAML writes a character that it reads as a line end, U+0085, as it is.
    return text if yaml.safe_load(text) == value else yaml.safe_dump(value, **style)


def _commented(name: str, value: Any, description: str | None, indent: str) -> list[str]:
    text = _dump(value, default_flow_style=True, width=10_000)
    text = text.removesuffix("\n").removesuffix("\n...")
    return [f"{indent}# {' '.join((description or '').split())}", f"{indent}{name}: {text}"]
