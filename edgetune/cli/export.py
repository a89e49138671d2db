"""``edgetune export``: a run becomes verified GGUF builds."""

import json
from pathlib import Path
from typing import Annotated

import typer


def command(
    run: Annotated[str, typer.Argument(help="Name or folder of a finished run.")],
    quant: Annotated[
        list[str] | None,
        typer.Option(help="GGUF type, e.g. Q4_K_M, Q8_0, F16. Repeatable. Default: Q8_0, Q4_K_M."),
    ] = None,
    runs_dir: Annotated[Path | None, typer.Option(help="Folder of the runs.")] = None,
    json_: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Build GGUF files from a run and verify that each is the model that was trained.

    Exits with 1 if a build does not hold; that file is then called NAME.gguf.failed.
    """
    from edgetune.cli.display import Steps
    from edgetune.errors import EdgetuneError
    from edgetune.export import DEFAULT_TYPES, export

    steps = Steps()
    try:
        result = export(run, quant or DEFAULT_TYPES, runs_dir=runs_dir, on_event=steps.show)
    finally:
        steps.close()
    if json_:
        print(json.dumps(result.report, indent=1, ensure_ascii=False))
    else:
        from edgetune.cli.tables import print_exports

        print_exports(result.verifications)
        print(f"report: {result.run.export / 'report.md'}")
    if not result.verified:
        bad = [item for item in result.verifications if item.verdict != "verified"]
        reasons = "; ".join(f"{item.type}: {', '.join(item.reasons)}" for item in bad)
        raise EdgetuneError(
            f"{len(bad)} of {len(result.verifications)} builds failed verification ({reasons}).",
            "Do not use them; the report has the details.",
        )
