"""Exports in a process of their own, and the reports they leave."""

import json
from dataclasses import dataclass
from typing import Any

from edgetune.runs import Run
from edgetune.train.process import Child, spawn


@dataclass(frozen=True)
class Verdict:
    """What the report says about one build."""

    file: str
    type: str
    bytes: int
    bits_per_weight: float
    top1: float | None
    kld: float | None
    verdict: str
    reasons: list[str]


def start(run: Run, types: list[str]) -> Child:
    """Start ``edgetune export`` for these types."""
    quants = [part for kind in types for part in ("--quant", kind)]
    folder = run.path.resolve().parent
    return spawn(["export", run.name, "--runs-dir", str(folder), *quants], f"export-{run.name}")


def stages(child: Child) -> list[str]:
    """The stages it has finished, as it named them."""
    lines = (line.strip() for line in child.output().splitlines())
    return [line for line in lines if line and not line.startswith(("note:", "edgetune:"))]


def expected_stages(types: list[str]) -> int:
    """How many stages an export of these types has: measuring, converting, and for each type
    building and verifying."""
    full = {"F32", "F16", "BF16"}
    return 1 + 2 * len(types) + (0 if set(types) <= full else 1)


def verdicts(run: Run) -> list[Verdict]:
    """What the run's report says, build by build; none where there is no readable report."""
    try:
        report = json.loads((run.export / "report.json").read_text(encoding="utf-8"))
        return [_verdict(item) for item in report["exports"]]
    except (OSError, ValueError, KeyError, TypeError):
        return []


def _verdict(item: dict[str, Any]) -> Verdict:
    return Verdict(
        file=str(item["file"]).rpartition("/")[2],
        type=item["type"],
        bytes=int(item.get("bytes") or 0),
        bits_per_weight=float(item.get("bits_per_weight") or 0),
        top1=item.get("top1"),
        kld=item.get("kld_mean"),
        verdict=item["verdict"],
        reasons=[str(reason) for reason in item.get("reasons") or []],
    )
