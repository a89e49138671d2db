"""``edgetune models``: the base models on this machine."""

import json
from typing import Annotated

import typer

app = typer.Typer(help="List, pull and remove base models.")


@app.command("list")
def list_(
    json_: Annotated[bool, typer.Option("--json", help="Print the list as JSON.")] = False,
) -> None:
    """The embedded model and the whole models in the Hugging Face cache."""
    from edgetune import hub

    models = hub.list_models()
    if json_:
        rows = [
            {"name": m.name, "path": str(m.path), "bytes": m.bytes, "embedded": m.embedded}
            for m in models
        ]
        print(json.dumps(rows, indent=1, ensure_ascii=False))
        return
    from rich.table import Table
    from rich.text import Text

    from edgetune.cli.tables import console, human_size

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("model", overflow="fold")
    table.add_column("size", justify="right", no_wrap=True)
    table.add_column("path", overflow="fold")
    for model in models:
        table.add_row(Text(model.name), human_size(model.bytes), Text(str(model.path)))
    console().print(table)


@app.command()
def pull(
    name: Annotated[str, typer.Argument(help="A Hugging Face name such as owner/model.")],
    json_: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Download a model and check that it is whole; prints its directory."""
    from edgetune import hub

    path = hub.pull(name)
    print(json.dumps({"name": name, "path": str(path)}) if json_ else path)


@app.command()
def remove(
    name: Annotated[str, typer.Argument(help="The model's Hugging Face name.")],
    json_: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Delete a model from the Hugging Face cache, all its versions."""
    from edgetune import hub
    from edgetune.cli.tables import human_size

    freed = hub.remove_model(name)
    if json_:
        print(json.dumps({"name": name, "freed_bytes": freed}))
    else:
        print(f"Removed {name}, {human_size(freed)} freed.")
