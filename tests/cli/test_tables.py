"""Tables show names as they are, brackets and colons included."""

import pytest

from edgetune.cli.tables import print_scores
from edgetune.evaluate import Evaluation, Graded, Score


def test_names_are_not_read_as_markup(capsys: pytest.CaptureFixture[str]) -> None:
    score = Score([Graded("q", "a", "a", True, "task [/one]")])
    print_scores([Evaluation("run[red]", "run", {"rows[v2]:cat:.jsonl": score}, {})])
    shown = capsys.readouterr().out
    for name in ("run[red]", "rows[v2]:cat:.jsonl", "task [/one]"):
        assert name in shown
