"""The commands that evaluate a checkpoint, by our suites or by another harness, and that write an
evaluation in the form of another one: eval, eval-log."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from common.errors import BadInput
from pipeline.cli.app import RUNS, Json, RunsDir, app
from pipeline.cli.output import print_json, print_table, print_text
from pipeline.execution.progress import Reporter


@app.command("eval")
def evaluate(
    checkpoint: Annotated[
        str, typer.Argument(metavar="CHECKPOINT|RUN[:STAGE[@STEP]]", help="What to evaluate.")
    ],
    suite: Annotated[
        str | None,
        typer.Option("--suite", metavar="NAME[,NAME]", help="The suites, comma-separated."),
    ] = None,
    lm_eval: Annotated[
        str | None,
        typer.Option(
            "--lm-eval",
            metavar="TASK[,TASK]",
            help="Instead of suites: tasks of an installed lm-evaluation-harness.",
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="A new folder for the results.")
    ] = None,
    max_model_len: Annotated[
        int | None,
        typer.Option(
            "--max-model-len", metavar="N", min=16, help="Longest prompt and answer, in tokens."
        ),
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option("--limit", metavar="N", min=1, help="Of tasks: the first N of each."),
    ] = None,
    num_fewshot: Annotated[
        int | None,
        typer.Option(
            "--num-fewshot", metavar="N", min=0, help="Of tasks: examples before each question."
        ),
    ] = None,
    apply_chat_template: Annotated[
        bool,
        typer.Option("--apply-chat-template", help="Of tasks: ask in the model's chat template."),
    ] = False,
    tasks_path: Annotated[
        Path | None,
        typer.Option("--tasks-path", metavar="DIR", help="A folder with tasks of your own."),
    ] = None,
    runs_dir: RunsDir = RUNS,
    as_json: Json = False,
) -> None:
    """Evaluate a checkpoint folder, the checkpoint of a run's stage (by default the last finished
    one), or one of a stage that still trains (`rl@20`, `rl@last`)."""
    if (suite is None) == (lm_eval is None):
        raise BadInput("eval takes either --suite or --lm-eval", "give one of them")
    reporter = Reporter()
    if suite is not None:
        given = (limit, num_fewshot, tasks_path)
        if apply_chat_template or any(one is not None for one in given):
            raise BadInput(
                "--limit, --num-fewshot, --apply-chat-template and --tasks-path are for --lm-eval",
                "leave them out; a suite's own settings are in its file",
            )
        from pipeline.cli.evaluate import evaluate, results_table

        results = evaluate(checkpoint, suite.split(","), runs_dir, out, reporter, max_model_len)
        print_json(results) if as_json else print_table(results_table(results))
        return
    from evals.harness.lm_eval_scores import harness_table
    from pipeline.cli.harness import evaluate_by_tasks

    results = evaluate_by_tasks(
        checkpoint,
        (lm_eval or "").split(","),
        runs_dir,
        out,
        reporter,
        max_model_len=max_model_len,
        limit=limit,
        num_fewshot=num_fewshot,
        apply_chat_template=apply_chat_template,
        tasks_path=tasks_path,
    )
    print_json(results) if as_json else print_table(harness_table(results))


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
