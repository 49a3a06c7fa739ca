"""The commands that evaluate a checkpoint, by our suites or by another harness, and that write an
evaluation in the form of another one: eval, eval-log."""

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from common.errors import BadInput
from pipeline.cli.app import RUNS, Json, RunsDir, app
from pipeline.cli.output import print_json, print_table, print_text
from pipeline.execution.progress import Reporter

Checkpoint = Annotated[
    str, typer.Argument(metavar="CHECKPOINT|RUN[:STAGE[@STEP]]", help="What to evaluate.")
]
Suites = Annotated[
    str | None, typer.Option("--suite", metavar="NAME[,NAME]", help="The suites, comma-separated.")
]
Tasks = Annotated[
    str | None,
    typer.Option(
        "--lm-eval",
        metavar="TASK[,TASK]",
        help="Instead of suites: tasks of an installed lm-evaluation-harness.",
    ),
]
Out = Annotated[
    Path | None, typer.Option("--out", metavar="DIR", help="A new folder for the results.")
]
Length = Annotated[
    int | None,
    typer.Option(
        "--max-model-len", metavar="N", min=16, help="Longest prompt and answer, in tokens."
    ),
]
Limit = Annotated[
    int | None, typer.Option("--limit", metavar="N", min=1, help="Of tasks: the first N of each.")
]
Examples = Annotated[
    int | None,
    typer.Option(
        "--num-fewshot", metavar="N", min=0, help="Of tasks: examples before each question."
    ),
]
Chat = Annotated[
    bool, typer.Option("--apply-chat-template", help="Of tasks: ask in the model's chat template.")
]
TasksPath = Annotated[
    Path | None,
    typer.Option("--tasks-path", metavar="DIR", help="A folder of your own tasks."),
]


@app.command("eval")
def evaluate(
    checkpoint: Checkpoint,
    suite: Suites = None,
    lm_eval: Tasks = None,
    out: Out = None,
    max_model_len: Length = None,
    limit: Limit = None,
    num_fewshot: Examples = None,
    apply_chat_template: Chat = False,
    tasks_path: TasksPath = None,
    runs_dir: RunsDir = RUNS,
    as_json: Json = False,
) -> None:
    """Evaluate a checkpoint folder, the checkpoint of a run's stage (by default the last finished
    one), or one of a stage that still trains (`rl@20`, `rl@last`)."""
    if (suite is None) == (lm_eval is None):
        raise BadInput("eval takes either --suite or --lm-eval", "give one of them")
    of_tasks: dict[str, Any] = {
        "limit": limit,
        "num_fewshot": num_fewshot,
        "apply_chat_template": apply_chat_template,
        "tasks_path": tasks_path,
    }
    common = (runs_dir, out, Reporter(), max_model_len)
    if suite is not None:
        _require_none(of_tasks)
        from pipeline.cli.evaluate import evaluate, results_table

        results = evaluate(checkpoint, suite.split(","), *common)
        print_json(results) if as_json else print_table(results_table(results))
    else:
        from evals.harness.lm_eval_scores import harness_table
        from pipeline.cli.harness import evaluate_by_tasks

        results = evaluate_by_tasks(checkpoint, (lm_eval or "").split(","), *common, **of_tasks)
        print_json(results) if as_json else print_table(harness_table(results))


def _require_none(of_tasks: dict[str, Any]) -> None:
    """BadInput where an option of tasks is given to suites."""
    given = [name for name, value in of_tasks.items() if value not in (None, False)]
    if given:
        named = ", ".join(f"--{name.replace('_', '-')}" for name in given)
        raise BadInput(
            f"{named}: only for --lm-eval",
            "leave it out; a suite's own settings are in its file",
        )


@app.command("eval-log")
def eval_log(
    evaluation: Annotated[
        str,
        typer.Argument(
            metavar="RUN[:STAGE]|FOLDER", help="A stage's evaluation, or the folder of one."
        ),
    ],
    target: Annotated[Path, typer.Argument(metavar="DIR", help="Where the files are written.")],
    form: Annotated[
        Literal["lm-eval", "inspect"],
        typer.Option("--as", help="The results and samples of lm-eval, or logs of inspect."),
    ],
    runs_dir: RunsDir = RUNS,
    as_json: Json = False,
) -> None:
    """Write a finished evaluation in the form of another harness."""
    from pipeline.cli.eval_log import write_log

    document = write_log(evaluation, target, form, runs_dir)
    if as_json:
        print_json(document)
    else:
        for path in document["files"]:
            print_text(path)
