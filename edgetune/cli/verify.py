"""``edgetune verify``: is this GGUF the model it claims to be?"""

import json
from pathlib import Path
from typing import Annotated

import typer


def command(
    gguf: Annotated[Path, typer.Argument(help="The GGUF file.")],
    against: Annotated[
        str, typer.Option(help="The run whose tuned model it should be, or a base model.")
    ],
    data: Annotated[
        list[str] | None, typer.Option(help="Answers to compare predictions on. Repeatable.")
    ] = None,
    runs_dir: Annotated[Path | None, typer.Option(help="Folder of the runs.")] = None,
    json_: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Check a GGUF against the model it was made from; exits with 1 if it does not hold."""
    from edgetune.cli.display import Steps
    from edgetune.errors import EdgetuneError
    from edgetune.export import verify

    steps = Steps()
    try:
        result = verify(gguf, against, data=data or (), runs_dir=runs_dir, on_event=steps.show)
    finally:
        steps.close()
    if json_:
        print(json.dumps(result.to_dict(), indent=1, ensure_ascii=False))
    else:
        from edgetune.cli.tables import print_checks, print_exports

        print_checks(result)
        print_exports([result])
    if result.verdict != "verified":
        reasons = "; ".join(reason.rstrip(".") for reason in result.reasons)
        raise EdgetuneError(
            f"{gguf} is not the model in {against}: {reasons}.",
            "Export it again.",
        )
