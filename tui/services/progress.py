"""Where a watched run stands: its events, folded into what the screen shows."""

from dataclasses import dataclass, field

from edgetune import events


@dataclass
class RunProgress:
    """The state of a run after the events seen so far."""

    data: events.DataReport | None = None
    started: events.RunStarted | None = None
    last: events.StepDone | None = None
    ended: events.RunEnded | None = None
    validation_loss: float | None = None
    best_loss: float | None = None
    checkpoint: int | None = None
    """Step of the newest checkpoint."""
    notes: list[str] = field(default_factory=list)

    def apply(self, event: events.Event) -> None:
        """Take one event in."""
        match event:
            case events.DataReport():
                self.data = event
            case events.RunStarted():
                self.started, self.ended, self.notes = event, None, []
            case events.StepDone():
                self.last = event
            case events.Validated():
                self.validation_loss = event.validation_loss
                if self.best_loss is None or event.validation_loss < self.best_loss:
                    self.best_loss = event.validation_loss
            case events.CheckpointSaved():
                self.checkpoint = event.step
            case events.Note():
                self.notes.append(event.message)
            case events.RunEnded():
                self.ended = event
            case events.Progress():
                pass

    @property
    def step(self) -> int:
        """The last step taken; after a resume, the step that the run went back to."""
        done = self.last.step if self.last else 0
        if self.started and self.last and self.last.time < self.started.time:
            return min(done, self.started.first_step - 1)
        return done

    @property
    def steps(self) -> int:
        """Steps in all, 0 while unknown."""
        return self.started.steps if self.started else 0
