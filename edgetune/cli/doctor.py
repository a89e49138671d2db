"""``edgetune doctor``: what this machine offers, what is missing and how to get it."""

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from edgetune.device import Finding


def command(
    json_: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False,
) -> None:
    """Look at device, memory, BLAS and versions; exits with 1 if edgetune cannot work here."""
    from edgetune import device
    from edgetune.errors import EdgetuneError

    findings = device.doctor()
    missing = [finding.name for finding in findings if finding.state == "missing"]
    if json_:
        document = {"usable": not missing, "findings": [asdict(item) for item in findings]}
        print(json.dumps(document, indent=1, ensure_ascii=False))
    else:
        _print(findings)
    if missing:
        raise EdgetuneError(
            f"edgetune cannot work here as it is: {', '.join(missing)}.",
            "The lines marked `missing` say what to do.",
        )


def _print(findings: "list[Finding]") -> None:
    from rich.table import Table
    from rich.text import Text

    from edgetune.cli.tables import console

    styles = {"ok": "green", "warning": "yellow", "missing": "bold red"}
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for item in findings:
        text = f"{item.detail.rstrip('.')}. {item.hint}" if item.hint else item.detail
        table.add_row(Text(item.state, style=styles[item.state]), item.name, Text(text))
    console().print(table)
