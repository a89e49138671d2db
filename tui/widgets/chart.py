"""The learning curve."""

from textual_plotext import PlotextPlot


class LossChart(PlotextPlot):
    """Training and validation loss over the steps, in nats per trained token.

    Neighbouring training losses are averaged to one point for every two columns: batches differ,
    and a point for each would draw their noise over the trend.
    """

    def __init__(self, id: str | None = None) -> None:
        super().__init__(id=id)
        self._train: dict[int, float] = {}
        self._validation: dict[int, float] = {}

    @property
    def points(self) -> tuple[int, int]:
        """How many training and validation losses are held."""
        return len(self._train), len(self._validation)

    def clear(self) -> None:
        """Forget everything."""
        self._train.clear()
        self._validation.clear()
        self._draw()

    def restart(self, first_step: int) -> None:
        """Forget what came from ``first_step`` on: the run went back to a checkpoint before it."""
        self._train = {s: v for s, v in self._train.items() if s < first_step}
        self._validation = {s: v for s, v in self._validation.items() if s < first_step}

    def add(self, train: dict[int, float], validation: dict[int, float]) -> None:
        """Add losses by step and draw."""
        self._train |= train
        self._validation |= validation
        self._draw()

    def on_resize(self) -> None:
        self._draw()

    def _draw(self) -> None:
        plot = self.plt
        plot.clear_data()
        plot.xlabel("step")
        most = max(20, (self.size.width - 10) // 2)
        if self._train:
            steps, losses = _averaged(sorted(self._train.items()), most)
            plot.plot(steps, losses, marker="braille", color="blue+", label="training")
        if self._validation:
            steps, losses = _averaged(sorted(self._validation.items()), most)
            plot.plot(steps, losses, marker="braille", color="orange+", label="validation")
            plot.scatter(steps, losses, marker="●", color="orange+")
        drawn = [*self._train, *self._validation]
        if drawn:
            plot.xticks(_whole_ticks(min(drawn), max(drawn)))
        self.refresh()


def _whole_ticks(first: int, last: int) -> list[int]:
    """About five step numbers; the plot's own ticks would be fractions of steps."""
    return sorted({first + round(i * (last - first) / 4) for i in range(5)})


def _averaged(points: list[tuple[int, float]], most: int) -> tuple[list[float], list[float]]:
    group = -(-len(points) // most)
    parts = [points[i : i + group] for i in range(0, len(points), group)]
    return (
        [sum(step for step, _ in part) / len(part) for part in parts],
        [sum(value for _, value in part) / len(part) for part in parts],
    )
