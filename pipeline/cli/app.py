"""The Typer application, and the arguments that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

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
