"""``edgetune eval``: answers to held-out instructions, graded."""

import json
from pathlib import Path
from typing import Annotated

import typer


def command(
    target: Annotated[str, typer.Argument(help="A run, a GGUF file or a model.")],
    data: Annotated[list[str], typer.Option(help="Rows with expected answers. Repeatable.")],
    base: Annotated[
        bool, typer.Option("--base", help="The run's base model as well, for comparison.")
    ] = False,
    answers: Annotated[
        bool, typer.Option("--answers", help="Show every answer beside the expected one.")
    ] = False,
    runs_dir: Annotated[Path | None, typer.Option(help="Folder of the runs.")] = None,
    json_: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Answer the rows greedily and count the exact matches, by file and task."""
    from edgetune import events
    from edgetune.cli.display import Steps
    from edgetune.evaluate import evaluate

    steps = Steps()

    def progress(done: int, total: int) -> None:
        steps.show(events.Progress(stage="answering", done=done, total=total))

    try:
        evaluations = evaluate(target, data, base=base, runs_dir=runs_dir, progress=progress)
    finally:
        steps.close()
    if json_:
        documents = []
        for evaluation in evaluations:
            document = evaluation.to_dict()
            if answers:
                for name, score in evaluation.scores.items():
                    document["sets"][name]["answers"] = [vars(item) for item in score.graded]
            documents.append(document)
        print(json.dumps({"evaluations": documents}, indent=1, ensure_ascii=False))
        return
    from edgetune.cli.tables import print_answers, print_scores

    print_scores(evaluations)
    if answers:
        for evaluation in evaluations:
            for score in evaluation.scores.values():
                print_answers(evaluation.target, score)
