"""The commands of `uphill`: each reads its arguments, calls one function, and prints what that
returns."""

import sys
import traceback
from pathlib import Path
from typing import Annotated, Any

import typer

from common.errors import UphillError
from pipeline.cli.output import print_json, print_table
from pipeline.execution.faults import DISK, disk_fault
from pipeline.execution.process import SECONDS_TO_SAVE
from pipeline.execution.progress import Reporter

app = typer.Typer(
    help=(
        "Post-training in one recipe: judge filter, light SFT, online RL on a live curriculum,"
        " light DPO."
    ),
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

RecipePath = Annotated[Path, typer.Argument(metavar="RECIPE", help="The recipe, a YAML file.")]
RunName = Annotated[
    str, typer.Argument(metavar="RUN", help="A run folder, or its name below --runs-dir.")
]
RunsDir = Annotated[
    Path, typer.Option("--runs-dir", metavar="DIR", help="Where the run folders are.")
]
Json = Annotated[
    bool, typer.Option("--json", help="Print one JSON document on stdout; the rest goes to stderr.")
]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="a.b=value", help="Replace a value of the recipe; stages by index or id."
    ),
]
RUNS = Path("runs")
GPU = "h100-80gb"


@app.command()
def run(
    recipe: RecipePath,
    runs_dir: RunsDir = RUNS,
    settings: Settings = None,
    stage: Annotated[
        str | None, typer.Option("--stage", metavar="ID", help="Run only this stage.")
    ] = None,
    until: Annotated[
        str | None, typer.Option("--until", metavar="ID", help="Run up to and with this stage.")
    ] = None,
    redo: Annotated[
        list[str] | None,
        typer.Option(
            "--redo",
            metavar="ID",
            help="Run this finished stage, and what was made from it, again.",
        ),
    ] = None,
    grace: Annotated[
        float,
        typer.Option(
            "--grace",
            metavar="SECONDS",
            min=0,
            help="At SIGTERM or Ctrl-C: time to save the state.",
        ),
    ] = SECONDS_TO_SAVE,
    as_json: Json = False,
) -> None:
    """Run a recipe, going on from what is there. Ids are those of `uphill plan`, such as `rl` or
    `eval-rl`."""
    from pipeline.cli.compare import compare_table, rows_of
    from pipeline.cli.status import status_of
    from pipeline.execution.runner import RunRequest, run_plan
    from pipeline.planning.plan import build_plan
    from pipeline.recipe.load import load_recipe
    from pipeline.recipe.user_files import kept_checksums

    reporter, sums = Reporter(), kept_checksums()
    plan = build_plan(load_recipe(recipe, settings, to_run=True, here=True), sums.of)
    reporter.lines(sums.remarks())
    folder = runs_dir / plan.name
    run_plan(RunRequest(plan, folder, stage, until, redo or (), reporter, grace))
    status = status_of(folder)
    if as_json:
        print_json(status)
    elif any(row["kind"] == "evaluate" and row["state"] == "done" for row in status["stages"]):
        print_table(compare_table(rows_of([folder]), several=False))


@app.command()
def plan(
    recipe: RecipePath,
    runs_dir: RunsDir = RUNS,
    settings: Settings = None,
    gpu: Annotated[
        str, typer.Option("--gpu", metavar="NAME", help="Count memory in GPUs of this kind.")
    ] = GPU,
    as_json: Json = False,
) -> None:
    """Say what a recipe would run, what of it is done, and what it needs; loads no model."""
    from common.checksums import trust_lines
    from pipeline.cli.overview import plan_view, print_plan
    from pipeline.recipe.load import load_recipe
    from pipeline.recipe.user_files import kept_checksums

    view = plan_view(load_recipe(recipe, settings), runs_dir, gpu)
    Reporter().lines(trust_lines(view["trusted"], kept_checksums().folder))
    print_json(view) if as_json else print_plan(view)


@app.command()
def status(run: RunName, runs_dir: RunsDir = RUNS, as_json: Json = False) -> None:
    """Say what of a run is finished, what runs, and the last figures of each stage."""
    from pipeline.cli.status import status_of, status_table
    from pipeline.execution.run_folder import find_run

    found = status_of(find_run(run, runs_dir))
    print_json(found) if as_json else print_table(status_table(found))


@app.command()
def verify(
    run: Annotated[
        str,
        typer.Argument(
            metavar="RUN[:STAGE]", help="The whole run, or a stage and what it came from."
        ),
    ],
    runs_dir: RunsDir = RUNS,
    as_json: Json = False,
) -> None:
    """Prove that a run's files are those that its stages wrote, from the last weights back to the
    prompts."""
    from common.errors import RunFailed
    from pipeline.execution.run_folder import find_stage
    from pipeline.execution.verify import verify_run, verify_table

    found = verify_run(*find_stage(run, runs_dir))
    print_json(found) if as_json else print_table(verify_table(found))
    if found["problems"]:
        remedy = "put the files as they were, or make the stage again with --redo"
        Reporter(bars=False).error(RunFailed("\n".join(found["problems"]), remedy))
        raise typer.Exit(RunFailed.exit_code)


@app.command("eval")
def evaluate(
    checkpoint: Annotated[
        str, typer.Argument(metavar="CHECKPOINT|RUN[:STAGE]", help="What is asked.")
    ],
    suite: Annotated[
        str, typer.Option("--suite", metavar="NAME[,NAME]", help="The suites, comma-separated.")
    ],
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="A new folder for the results.")
    ] = None,
    max_model_len: Annotated[
        int | None,
        typer.Option(
            "--max-model-len", metavar="N", min=16, help="Longest prompt and answer, in tokens."
        ),
    ] = None,
    runs_dir: RunsDir = RUNS,
    as_json: Json = False,
) -> None:
    """Evaluate a checkpoint folder, or the checkpoint of a run's stage (by default its last
    finished one)."""
    from pipeline.cli.evaluate import evaluate, results_table

    results = evaluate(checkpoint, suite.split(","), runs_dir, out, Reporter(), max_model_len)
    print_json(results) if as_json else print_table(results_table(results))


@app.command()
def compare(
    runs: Annotated[
        list[str], typer.Argument(metavar="RUN...", help="Run folders, or names below --runs-dir.")
    ],
    runs_dir: RunsDir = RUNS,
    as_json: Json = False,
) -> None:
    """Show base and every stage side by side, in per cent: score [95 % interval] difference to the
    parent."""
    from pipeline.cli.compare import compare_table, rows_of
    from pipeline.execution.run_folder import find_run

    rows = rows_of([find_run(name, runs_dir) for name in runs])
    (
        print_json({"rows": rows})
        if as_json
        else print_table(compare_table(rows, several=len(runs) > 1))
    )


@app.command()
def check(
    recipes: Annotated[
        list[Path], typer.Argument(metavar="RECIPE...", help="Recipes, YAML files.")
    ],
    settings: Settings = None,
    deep: Annotated[
        bool,
        typer.Option(
            "--deep", help="Gather the prompts too, and ask template and lengths of all stages."
        ),
    ] = False,
    as_json: Json = False,
) -> None:
    """Validate recipes and print them with every default filled in."""
    from pipeline.cli.overview import check_recipes, recipe_text

    found = check_recipes(recipes, settings, deep=deep)
    if as_json:
        print_json({"recipes": found})
    else:
        print("\n".join(recipe_text(entry) for entry in found))


@app.command()
def export(
    checkpoint: Annotated[
        str, typer.Argument(metavar="RUN[:STAGE]", help="By default the last finished stage.")
    ],
    target: Annotated[Path, typer.Argument(metavar="DIR", help="A new or empty folder.")],
    force: Annotated[
        bool, typer.Option("--force", help="Replace the checkpoint that is in DIR.")
    ] = False,
    runs_dir: RunsDir = RUNS,
    as_json: Json = False,
) -> None:
    """Copy a stage's checkpoint (safetensors, config, tokenizer) to a folder of its own."""
    from pipeline.cli.export import export
    from pipeline.execution.run_folder import find_checkpoint

    done = export(find_checkpoint(checkpoint, runs_dir), target, force)
    print_json(done) if as_json else print(f"{done['run']}:{done['stage']} is in {done['path']}")


@app.command()
def grade(
    answers: Annotated[
        list[str] | None, typer.Argument(metavar="ANSWER...", help="Whole completions.")
    ] = None,
    verifier: Annotated[
        str | None, typer.Option("--verifier", metavar="NAME", help="The verifier to ask.")
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
            help="Fields verifier, reference, answer, expected, prompt.",
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Say what a verifier reads in answers and what it rewards them with; loads no model."""
    from pipeline.cli.grading import grade_answers

    found = grade_answers(file, verifier, reference, prompt, answers or [])
    print_json(found.document) if as_json else found.show()


@app.command()
def regrade(
    run: Annotated[
        str,
        typer.Argument(metavar="RUN[:STAGE]", help="The whole run, or a stage and its evaluation."),
    ],
    runs_dir: RunsDir = RUNS,
    as_json: Json = False,
) -> None:
    """Say how many of a finished run's rollouts and evaluation answers are graded otherwise
    today."""
    from evals.regrade import regrade_table
    from pipeline.cli.regrade import regrade_run

    found = regrade_run(run, runs_dir)
    print_json(found) if as_json else print_table(regrade_table(found))


def run_command() -> int:
    """Run what the command line asks for; every way it can end, as an exit code."""
    try:
        app()
    except SystemExit as ended:  # Typer's own way out: help, wrong usage (2), an interrupt (130)
        return ended.code if isinstance(ended.code, int) else 0
    except UphillError as error:
        return _failed(error)
    except OSError as error:
        if error.errno not in DISK:
            return _bug()
        return _failed(disk_fault(error.errno, error.filename or "a file of the run"))
    except (
        Exception
    ):  # the border: whatever gets here is our mistake, and its traceback is what a report needs
        return _bug()
    return 0


def _bug() -> int:
    traceback.print_exc()
    print("error: this is a bug in uphill; please report the lines above", file=sys.stderr)
    return 1


def _failed(error: UphillError) -> int:
    """Say what a person can do about it; a program that asked for JSON gets that too."""
    Reporter(bars=False).error(error)
    if "--json" in sys.argv[1:]:
        document: dict[str, Any] = {
            "kind": type(error).__name__,
            "message": error.message,
            "remedy": error.remedy,
        }
        print_json({"error": {**document, "exit_code": error.exit_code}})
    return error.exit_code
