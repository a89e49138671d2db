"""The training loop: a prepared run in, events out.

A step takes ``batch_size`` rows, packs their examples into micro-batches, adds up the gradients
of their summed losses and divides by the weight of the trained tokens (their number, where the
data gives no weights): the result is the same however the examples were packed or split. The
order of the rows follows from (seed, epoch) and dropout's random state from (seed, step), so a
step depends on nothing but its number and the weights before it. That is what makes a resumed run
bit-identical to one that never stopped.
"""

import math
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np

from edgetune import device, events
from edgetune.config import RunConfig
from edgetune.data.dataset import Dataset
from edgetune.data.packing import Batch, make_batches
from edgetune.data.schedule import schedule
from edgetune.data.template import Example
from edgetune.errors import EdgetuneError
from edgetune.models import Loaded
from edgetune.train import adapters, checkpoint, loss, optimizer

device.prepare()

import mlx.core as mx  # noqa: E402
import mlx.nn as nn  # noqa: E402
import mlx.optimizers as optimizers  # noqa: E402
from mlx.utils import tree_flatten, tree_unflatten  # noqa: E402

Weights = dict[str, mx.array]

_RATE_WINDOW = 20
# Steps over which speed and time left are averaged.
_VALIDATION_ROWS = 4096
# Validation rows that are in memory at once, and that are packed together.


@dataclass
class Plan:
    """What the loop works through; made once, before the first step."""

    config: RunConfig
    dataset: Dataset
    steps: int
    steps_per_epoch: int
    validate_every: int
    _order: tuple[int, np.ndarray] | None = None
    # The epoch that was asked for last, and its rows: a long one is not sorted at every step.

    def examples(self, step: int) -> list[Example]:
        """The examples of the rows of step ``step`` (1 …), from (seed, step) alone."""
        epoch, index = divmod(step - 1, self.steps_per_epoch)
        if self._order is None or self._order[0] != epoch:
            self._order = epoch, self.dataset.mixture.order(epoch)
        size = self.config.train.batch_size
        rows = self._order[1][index * size : (index + 1) * size]
        return [example for row in rows for example in self.dataset.train[int(row)]]

    def batches(self, examples: list[Example]) -> list[Batch]:
        return make_batches(
            examples, self.config.train.micro_batch_tokens, self.config.data.max_length
        )

    def validation_batches(self) -> Iterator[Batch]:
        """The whole validation set, always in the same batches."""
        rows = self.dataset.valid
        for start in range(0, len(rows), _VALIDATION_ROWS):
            block = rows[start : start + _VALIDATION_ROWS]
            yield from self.batches([example for row in block for example in row])


def make_plan(config: RunConfig, dataset: Dataset) -> Plan:
    """Steps and intervals of a run over ``dataset``."""
    found = schedule(config.train, dataset.mixture.rows_per_epoch)
    return Plan(config, dataset, found.steps, found.steps_per_epoch, found.validate_every)


def run_steps(
    plan: Plan,
    loaded: Loaded,
    resumed: checkpoint.Checkpoint | None,
    checkpoints: Path,
    stop_requested: Callable[[], bool],
) -> Iterator[events.Event]:
    """Train the adapter that is on the model, from the checkpoint or from the start.

    Yields events; ends with RunEnded. ``stop_requested`` is asked after every step: when it
    answers yes, a checkpoint is saved and the loop ends as interrupted. Raises EdgetuneError for
    a loss or gradient that is no number, before it touches the weights.
    """
    config, model = plan.config, loaded.model
    state = resumed.state if resumed else _fresh_state()
    parameters = resumed.adapter if resumed else adapters.weights(model)
    updater = optimizer.create(config.train)
    updater.init(tree_unflatten(list(parameters.items())))
    if resumed:
        updater.state = tree_unflatten(list(resumed.optimizer.items()))
        if changes := _changes_since(state):
            yield events.Note(
                message=f"The checkpoint was made with {', '.join(changes)}: the result may "
                "differ from an uninterrupted run's in the last bits."
            )

    def validate(step: int) -> events.Validated:
        model.update(tree_unflatten(list(parameters.items())))
        value, tokens = loss.mean_loss(model, plan.validation_batches())
        best = state.best_validation_loss is None or value < state.best_validation_loss
        state.best_validation_loss = value if best else state.best_validation_loss
        state.last_validation_step = step
        return events.Validated(step=step, validation_loss=value, trained_tokens=tokens, best=best)

    def save() -> events.CheckpointSaved:
        path = checkpoint.save(checkpoints, state, parameters, dict(tree_flatten(updater.state)))
        checkpoint.prune(checkpoints, config.train.keep_checkpoints)
        return events.CheckpointSaved(step=state.step, path=str(path))

    mx.reset_peak_memory()
    if plan.dataset.valid and state.last_validation_step < 0:
        yield validate(0)
    durations: deque[tuple[float, int]] = deque(maxlen=_RATE_WINDOW)
    saved_step = state.step if resumed else -1
    rows = loss.gathered_head(model)
    gradients_of = _compiled_gradients(model, rows)
    apply = _compiled_update(updater, config.train.clip_norm)
    while state.step < plan.steps and not stop_requested():
        started = time.perf_counter()
        step = state.step + 1
        examples = plan.examples(step)
        mx.random.seed(_step_seed(config.seed, step))
        total, weight, count = 0.0, 0.0, 0
        gradients: Weights = {}
        model.train()
        for batch in plan.batches(examples):
            arrays = loss.to_arrays(batch)
            value, part = gradients_of(parameters, *arrays.as_tuple())
            gradients = _add(gradients, part) if gradients else part
            mx.eval(value, gradients)
            total, weight = total + loss.number(value), weight + batch.weight
            count += batch.count
        rate = optimizer.learning_rate(config.train, step, plan.steps)
        updater.learning_rate = rate
        updated, norm_array = apply(parameters, gradients, mx.array(1.0 / weight))
        norm = loss.number(norm_array)
        if not (math.isfinite(total) and math.isfinite(norm)):
            raise EdgetuneError(
                f"Step {step}: the loss or its gradient is no number any more "
                f"(loss {total / weight}, gradient norm {norm}), so the step was not "
                f"taken. Its rows: {_name_rows(examples)}.",
                "Lower train.learning_rate or look at these rows; the last checkpoint is kept.",
            )
        parameters = updated
        mx.eval(parameters, updater.state)
        elapsed = time.perf_counter() - started
        durations.append((elapsed, count))
        state.step, state.trained_tokens = step, state.trained_tokens + count
        state.seconds += elapsed
        spent = sum(seconds for seconds, _ in durations)
        yield events.StepDone(
            step=step,
            steps=plan.steps,
            epoch=step / plan.steps_per_epoch,
            train_loss=total / weight,
            gradient_norm=norm,
            learning_rate=rate,
            trained_tokens=state.trained_tokens,
            trained_tokens_per_second=sum(tokens for _, tokens in durations) / spent,
            peak_memory_bytes=mx.get_peak_memory(),
            seconds_left=(plan.steps - step) * spent / len(durations),
        )
        last = step == plan.steps
        if plan.dataset.valid and (last or step % plan.validate_every == 0):
            yield validate(step)
        if last or step % config.train.save_every == 0:
            yield save()
            saved_step = step
    model.update(tree_unflatten(list(parameters.items())))
    if state.step < plan.steps:
        if saved_step != state.step:
            yield save()
        yield events.RunEnded(reason="interrupted", step=state.step)
    else:
        yield events.RunEnded(reason="completed", step=state.step)


def _compiled_gradients(
    model: nn.Module, rows: loss.Rows
) -> Callable[..., tuple[mx.array, Weights]]:
    def summed(parameters: Weights, *arrays: mx.array) -> mx.array:
        model.update(tree_unflatten(list(parameters.items())))
        return loss.summed_loss(model, rows, arrays)

    # The random state is dropout's.
    compiled: Callable[..., tuple[mx.array, Weights]] = mx.compile(
        mx.value_and_grad(summed), inputs=mx.random.state, outputs=mx.random.state
    )
    return compiled


def _compiled_update(
    updater: optimizers.Optimizer, clip_norm: float
) -> Callable[[Weights, Weights, mx.array], tuple[Weights, mx.array]]:
    def apply(parameters: Weights, gradients: Weights, scale: mx.array) -> tuple[Weights, mx.array]:
        scaled = {name: value * scale for name, value in gradients.items()}
        clipped, norm = optimizer.clip(scaled, clip_norm)
        updated = updater.apply_gradients(
            tree_unflatten(list(clipped.items())), tree_unflatten(list(parameters.items()))
        )
        # Row by row in memory, as a checkpoint gives them back: a matrix that an update left
        # transposed goes through another BLAS routine, which rounds otherwise.
        return {name: mx.contiguous(value) for name, value in tree_flatten(updated)}, norm

    compiled: Callable[[Weights, Weights, mx.array], tuple[Weights, mx.array]] = mx.compile(
        apply, inputs=[updater.state], outputs=[updater.state]
    )
    return compiled


def _add(left: Weights, right: Weights) -> Weights:
    return {name: value + right[name] for name, value in left.items()}


def _step_seed(seed: int, step: int) -> int:
    return int(np.random.SeedSequence([seed, step]).generate_state(1, np.uint64)[0])


def _fresh_state() -> checkpoint.State:
    return checkpoint.State(
        step=0,
        trained_tokens=0,
        seconds=0.0,
        best_validation_loss=None,
        last_validation_step=-1,
        blas_threads=device.describe().blas_threads,
        versions={name: version(name) for name in ("edgetune", "mlx", "mlx-lm")},
    )


def _changes_since(saved: checkpoint.State) -> list[str]:
    """What is no longer as it was and enters into the last bits of a sum."""
    now = _fresh_state()
    changes = [
        f"{name} {before} (now {now.versions.get(name, 'none')})"
        for name, before in saved.versions.items()
        if now.versions.get(name) != before
    ]
    if saved.blas_threads != now.blas_threads:
        changes.append(f"{saved.blas_threads} BLAS threads (now {now.blas_threads})")
    return changes


def _name_rows(examples: list[Example]) -> str:
    names = [f"{example.file}:{example.line}" for example in examples[:5]]
    more = f" and {len(examples) - 5} more" if len(examples) > 5 else ""
    return ", ".join(names) + more
