"""``edgetune serve``: an OpenAI-compatible server for a GGUF on this machine."""

from pathlib import Path
from typing import Annotated

import typer


def command(
    target: Annotated[
        str, typer.Argument(help="A GGUF file, or a run, whose newest export is taken.")
    ],
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port on 127.0.0.1; 0 takes a free one.")
    ] = 8080,
    context: Annotated[
        int | None,
        typer.Option(min=1, help="Tokens of conversation (the model's own, at most 8192)."),
    ] = None,
    threads: Annotated[
        int | None, typer.Option(min=1, help="Processor threads (as many as help).")
    ] = None,
    runs_dir: Annotated[
        Path | None, typer.Option(help="The folder that holds the runs (./runs).")
    ] = None,
    json_output: Annotated[
        bool, typer.Option("--json", help="Say that it is ready with one JSON line.")
    ] = False,
) -> None:
    """Serve a GGUF to OpenAI clients on this machine; prints the base URL when it is ready."""
    import json

    from edgetune import paths
    from edgetune.serve.app import serve
    from edgetune.serve.engine import Engine, find_gguf

    with Engine(find_gguf(target, paths.runs_dir(runs_dir)), context, threads=threads) as engine:
        if engine.note:
            typer.echo(engine.note, err=True)

        def ready(url: str) -> None:
            about = {"url": url, "model": engine.name, "context": engine.context}
            typer.echo(json.dumps(about) if json_output else url)

        serve(engine, port=port, ready=ready)
