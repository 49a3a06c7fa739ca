"""The commands that take a recipe: run, plan, check, preview."""

from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli.app import GPU, RUNS, Json, RecipePath, RunsDir, Settings, app
from pipeline.cli.output import print_json
from pipeline.execution.progress import Reporter
from pipeline.execution.signals import SECONDS_TO_SAVE

OnlyStage = Annotated[
    str | None, typer.Option("--stage", metavar="ID", help="Run only this stage.")
]
UntilStage = Annotated[
    str | None, typer.Option("--until", metavar="ID", help="Run up to and including this stage.")
]
RedoStages = Annotated[
    list[str] | None,
    typer.Option(
        "--redo", metavar="ID", help="Run this finished stage again, and what depends on it."
    ),
]
Grace = Annotated[
    float,
    typer.Option(
        "--grace", metavar="SECONDS", min=0, help="Time to save the state at SIGTERM or Ctrl-C."
    ),
]


@app.command()
def run(
    recipe: RecipePath,
    runs_dir: RunsDir = RUNS,
    settings: Settings = None,
    stage: OnlyStage = None,
    until: UntilStage = None,
    redo: RedoStages = None,
    grace: Grace = SECONDS_TO_SAVE,
    as_json: Json = False,
) -> None:
    """Run a recipe; finished stages are skipped. Ids are those of `uphill plan`, such as `rl` or
    `eval-rl`."""
    from common.errors import GateStopped
    from pipeline.cli.compare import print_comparison, rows_of
    from pipeline.cli.status import status_of
    from pipeline.execution.request import RunRequest
    from pipeline.execution.runner import run_plan
    from pipeline.planning.plan import build_plan
    from pipeline.recipe.load import load_recipe
    from pipeline.recipe.user_files import kept_checksums

    reporter, sums = Reporter(), kept_checksums()
    plan = build_plan(load_recipe(recipe, settings, to_run=True, here=True), sums.of)
    reporter.lines(sums.remarks())
    folder = runs_dir / plan.name
    try:
        run_plan(RunRequest(plan, folder, stage, until, redo or (), reporter, grace))
    except GateStopped:
        if not as_json:
            print_comparison(rows_of([folder]), several=False)
        raise
    status = status_of(folder)
    if as_json:
        print_json(status)
    elif any(row["kind"] == "evaluate" and row["state"] == "done" for row in status["stages"]):
        print_comparison(rows_of([folder]), several=False)


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
    """Show what a recipe runs, what is done, and what it needs; loads no model."""
    from common.checksums import trust_lines
    from pipeline.cli.overview import plan_view, print_plan
    from pipeline.recipe.load import load_recipe
    from pipeline.recipe.user_files import kept_checksums

    view = plan_view(load_recipe(recipe, settings), runs_dir, gpu)
    Reporter().lines(trust_lines(view["trusted"], kept_checksums().folder))
    print_json(view) if as_json else print_plan(view)


@app.command()
def check(
    recipes: Annotated[
        list[Path], typer.Argument(metavar="RECIPE...", help="Recipes, YAML files.")
    ],
    settings: Settings = None,
    deep: Annotated[
        bool,
        typer.Option(
            "--deep", help="Also gather the prompts and check templates and lengths of all stages."
        ),
    ] = False,
    as_json: Json = False,
) -> None:
    """Validate recipes and print them with every default filled in."""
    from pipeline.cli.overview import check_recipes, recipe_text

    entries = check_recipes(recipes, settings, deep=deep)
    if as_json:
        print_json({"recipes": entries})
    else:
        print("\n".join(recipe_text(entry) for entry in entries))


@app.command()
def preview(
    recipe: RecipePath,
    source: Annotated[
        str | None,
        typer.Argument(metavar="[SOURCE]", help="One source: its number from 0, or its name."),
    ] = None,
    count: Annotated[
        int, typer.Option("--count", metavar="N", min=1, help="Prompts of each source to show.")
    ] = 10,
    settings: Settings = None,
    as_json: Json = False,
) -> None:
    """Show prompts as the model will see them, what their verifiers read, and rows that cannot be
    used; loads the tokenizer only."""
    from pipeline.cli.preview import preview_recipe
    from pipeline.recipe.load import load_recipe

    shown = preview_recipe(load_recipe(recipe, settings), source, count)
    print_json(shown.document) if as_json else shown.show()
