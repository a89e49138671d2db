"""`edgetune train` and Ctrl-C."""

import os
import signal

import pytest

from edgetune import events
from edgetune.cli.display import TrainDisplay
from edgetune.cli.train import stop_on_signal

STARTED = events.RunStarted(
    run="r",
    model="m",
    first_step=1,
    steps=2,
    examples=4,
    validation_examples=0,
    trained_tokens_per_epoch=9,
    trainable_parameters=1,
    device="CPU",
)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_before_or_after_the_training_ends_at_once(number: signal.Signals) -> None:
    with stop_on_signal() as stop:
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), number)
        stop.follow(STARTED)
        stop.follow(events.RunEnded(reason="completed", step=2))
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), number)
        assert not stop.requested()


def test_while_a_run_trains_the_first_signal_asks_and_the_second_ends() -> None:
    before = signal.getsignal(signal.SIGINT)
    with stop_on_signal() as stop:
        stop.follow(STARTED)
        os.kill(os.getpid(), signal.SIGINT)
        assert stop.requested()
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) == before


def test_outside_a_terminal_the_display_adds_no_empty_lines(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with TrainDisplay() as display:
        display.show(STARTED)
        display.show(events.RunEnded(reason="completed", step=2))
    assert "" not in capsys.readouterr().err.splitlines()
