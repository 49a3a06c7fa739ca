"""`uphill check --deep`: gathers a recipe's prompts in a temporary folder and runs the early
check."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from common import artifacts
from pipeline.execution.early import PREFLIGHT, run_early_check
from pipeline.execution.progress import Reporter
from pipeline.execution.request import RunRequest
from pipeline.execution.runner import run_plan
from pipeline.execution.signals import Signals
from pipeline.planning.plan import build_plan
from pipeline.recipe.schema import Recipe
from pipeline.recipe.user_files import kept_checksums
from stages.declaration import PROMPTS_STAGE


def deep_check(recipe: Recipe, reporter: Reporter) -> dict[str, Any]:
    """The numbers of checked prompts (`asked`) and remarks for the user (`notes`). BadInput with
    all problems that would end the run later."""
    plan = build_plan(recipe, kept_checksums().of)
    with TemporaryDirectory(prefix="uphill-") as place:
        request = RunRequest(plan, Path(place) / plan.name, until=PROMPTS_STAGE, reporter=reporter)
        run_plan(request)
        with Signals() as signals:
            run_early_check(request, signals)
        report: dict[str, Any] = artifacts.PREFLIGHT.read(request.run / PREFLIGHT)
    return report
