"""The commands that take a run: status, watch, verify, compare, report, export, regrade, samples;
and grade."""

from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli.app import RUNS, Json, RunName, RunsDir, app
from pipeline.cli.output import print_json, print_table, print_text
from pipeline.execution.progress import Reporter


@app.command()
def status(run: RunName, runs_dir: RunsDir = RUNS, as_json: Json = False) -> None:
    """Show which stages of a run are done or running, and the last figures of each."""
    from pipeline.cli.status import status_of, status_table
    from pipeline.execution.run_folder import find_run

    document = status_of(find_run(run, runs_dir))
    print_json(document) if as_json else print_table(status_table(document))


@app.command()
def watch(
    run: Annotated[
        str,
        typer.Argument(metavar="RUN[:STAGE]", help="By default the stage that runs is shown."),
    ],
    once: Annotated[
        bool, typer.Option("--once", help="Print it once, as without a terminal.")
    ] = False,
    runs_dir: RunsDir = RUNS,
) -> None:
    """Show a run while it goes: stages, progress, curves and the last replies. Ctrl-C ends the view
    and not the run."""
    from pipeline.cli.watch.live import watch
    from pipeline.execution.run_folder import find_stage

    watch(*find_stage(run, runs_dir), once)


@app.command()
def verify(
    run: Annotated[
        str,
        typer.Argument(metavar="RUN[:STAGE]", help="The whole run, or a stage and its inputs."),
    ],
    runs_dir: RunsDir = RUNS,
    as_json: Json = False,
) -> None:
    """Check that a run's files are those that its stages wrote, from the last weights back to the
    prompts."""
    from common.errors import RunFailed
    from pipeline.execution.run_folder import find_stage
    from pipeline.execution.verify import verify_run, verify_table

    document = verify_run(*find_stage(run, runs_dir))
    print_json(document) if as_json else print_table(verify_table(document))
    if document["problems"]:
        remedy = "restore the files, or run the stage again with --redo"
        Reporter(bars=False).error(RunFailed("\n".join(document["problems"]), remedy))
        raise typer.Exit(RunFailed.exit_code)


@app.command()
def compare(
    runs: Annotated[
        list[str], typer.Argument(metavar="RUN...", help="Run folders, or names below --runs-dir.")
    ],
    runs_dir: RunsDir = RUNS,
    as_json: Json = False,
) -> None:
    """Show the scores of base and of every stage side by side, in per cent: score [95 % interval]
    difference to the parent."""
    from pipeline.cli.compare import print_comparison, rows_of
    from pipeline.execution.run_folder import find_run

    rows = rows_of([find_run(name, runs_dir) for name in runs])
    if as_json:
        print_json({"rows": rows})
    else:
        print_comparison(rows, several=len(runs) > 1)


@app.command()
def report(
    runs: Annotated[
        list[str], typer.Argument(metavar="RUN...", help="Run folders, or names below --runs-dir.")
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="FILE",
            help="The page; by default report.html in the run's folder, of several runs here.",
        ),
    ] = None,
    price_per_hour: Annotated[
        float | None,
        typer.Option(
            "--price-per-hour", metavar="X", min=0, help="Price of the machine, to show costs."
        ),
    ] = None,
    runs_dir: RunsDir = RUNS,
    as_json: Json = False,
) -> None:
    """Write one HTML page about a run: scores, curves, samples, and what to worry about. With
    --json its document is printed, and the page is written only with --out."""
    from pipeline.cli.report import default_target, document_of, write_report
    from pipeline.execution.run_folder import find_run

    folders = [find_run(name, runs_dir) for name in runs]
    document = document_of(folders, price_per_hour)
    if out is not None or not as_json:
        page = write_report(document, out or default_target(folders))
        typer.echo(f"{page}: {page.stat().st_size / 2**20:.1f} MiB", err=as_json)
    if as_json:
        print_json(document)


@app.command()
def export(
    checkpoint: Annotated[
        str, typer.Argument(metavar="RUN[:STAGE]", help="By default the last finished stage.")
    ],
    target: Annotated[Path, typer.Argument(metavar="DIR", help="A new or empty folder.")],
    force: Annotated[
        bool, typer.Option("--force", help="Replace an existing checkpoint in DIR.")
    ] = False,
    licence: Annotated[
        str | None,
        typer.Option(
            "--licence", metavar="ID", help="For the model card: the hub's id, such as apache-2.0."
        ),
    ] = None,
    runs_dir: RunsDir = RUNS,
    as_json: Json = False,
) -> None:
    """Copy a stage's checkpoint (safetensors, config, tokenizer) to a folder, with a model card."""
    from pipeline.cli.export import export
    from pipeline.execution.run_folder import find_checkpoint

    copied = export(find_checkpoint(checkpoint, runs_dir), target, force, licence)
    message = f"{copied['run']}:{copied['stage']} is in {copied['path']}"
    print_json(copied) if as_json else print_text(message)


@app.command()
def regrade(
    run: Annotated[
        str,
        typer.Argument(metavar="RUN[:STAGE]", help="The whole run, or a stage and its evaluation."),
    ],
    runs_dir: RunsDir = RUNS,
    as_json: Json = False,
) -> None:
    """Show how many of a finished run's rollouts and evaluation answers the present verifiers grade
    differently."""
    from evals.regrade import regrade_table
    from pipeline.cli.regrade import regrade_run

    document = regrade_run(run, runs_dir)
    print_json(document) if as_json else print_table(regrade_table(document))


@app.command()
def samples(
    run: Annotated[
        str,
        typer.Argument(metavar="RUN[:STAGE]", help="By default the last stage that has samples."),
    ],
    step: Annotated[
        int | None,
        typer.Option("--step", metavar="N", min=1, help="Of RL: by default the last step."),
    ] = None,
    limit: Annotated[int, typer.Option("--limit", metavar="K", min=1, help="Prompts to show.")] = 5,
    wrong: Annotated[
        bool, typer.Option("--wrong", help="Only replies that are wrong or could not be graded.")
    ] = False,
    runs_dir: RunsDir = RUNS,
    as_json: Json = False,
) -> None:
    """Show what a stage's policy wrote: rollouts of an RL step, pairs of DPO, or the answers of an
    evaluation; also while the stage runs."""
    from pipeline.cli.samples import samples_of, show

    document = samples_of(run, runs_dir, step, limit, wrong)
    print_json(document) if as_json else show(document)


@app.command()
def grade(
    answers: Annotated[
        list[str] | None, typer.Argument(metavar="ANSWER...", help="Whole completions.")
    ] = None,
    verifier: Annotated[
        str | None, typer.Option("--verifier", metavar="NAME", help="The verifier to use.")
    ] = None,
    reference: Annotated[
        str | None, typer.Option("--reference", metavar="R", help="The reference answer.")
    ] = None,
    prompt: Annotated[
        str,
        typer.Option("--prompt", metavar="P", help="The question, for the options of `choice`."),
    ] = "",
    file: Annotated[
        Path | None,
        typer.Option(
            "--file",
            metavar="PAIRS.JSONL",
            help="Fields answer, expected, and those of its prompt: reference, verifier, ...",
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Show what a verifier reads in answers and the reward that it gives; loads no model."""
    from pipeline.cli.grading import grade_answers

    graded = grade_answers(file, verifier, reference, prompt, answers or [])
    print_json(graded.document) if as_json else graded.show()
