"""`uphill plan` and `uphill check`: what a recipe does and needs, before anything runs."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from common.errors import BadInput
from common.visible import steers, visible_line
from pipeline.cli.deep import deep_check
from pipeline.cli.output import print_table, print_text
from pipeline.cli.status import note_on
from pipeline.execution.progress import Reporter
from pipeline.execution.state import inspect
from pipeline.planning.bounds import bounds
from pipeline.planning.disk import disk_line, free_gib, needed, predicted_disk
from pipeline.planning.layout import layout_table
from pipeline.planning.memory import memory_table, memory_view, model_line
from pipeline.planning.plan import build_plan
from pipeline.recipe.load import load_recipe
from pipeline.recipe.schema import Recipe
from pipeline.recipe.user_files import kept_checksums


def plan_view(recipe: Recipe, runs_dir: Path, gpu: str) -> dict[str, Any]:
    """The document of `plan --json`. `gpu` is the kind of GPU in which memory is counted."""
    sums = kept_checksums()
    plan = build_plan(recipe, sums.of)
    states = inspect(plan, runs_dir / plan.name)
    expected, memory = bounds(recipe), memory_view(recipe, gpu)
    memory_by_stage, layouts = memory.pop("stages"), memory.pop("layouts")
    disk = predicted_disk(recipe)
    stages = [
        {
            "id": node.id,
            "kind": node.kind,
            "state": states[node.id].state,
            "fingerprint": node.fingerprint,
            "path": str(states[node.id].folder),
            "inputs": node.inputs,
            "note": (note_on(states[node.id]) or (f"adopts {node.adopts}" if node.adopts else "")),
            "expected": expected[node.id],
            "layout": layouts[node.id],
            "memory": memory_by_stage.get(node.id),
            "disk": disk.get(node.id),
        }
        for node in plan.nodes
    ]
    space = {"needed_gib": needed(recipe), "free_gib": free_gib(runs_dir)}
    view = {
        "run": plan.name,
        "path": str(runs_dir / plan.name),
        "stages": stages,
        "disk": space,
        **memory,
    }
    return {**view, "trusted": list(map(str, sums.trusted))}


def plan_table(view: dict[str, Any]) -> list[list[str]]:
    """The rows of the printed table, the header first."""
    rows = [["stage", "kind", "state", "fingerprint", "reads", "expected"]]
    for stage in view["stages"]:
        reads = ", ".join(dict.fromkeys(stage["inputs"].values()))
        bounds = [
            f"{name.replace('_', ' ')} {value:,}" for name, value in stage["expected"].items()
        ]
        note = stage["note"] or ", ".join(bounds)
        rows.append(
            [stage["id"], stage["kind"], stage["state"], stage["fingerprint"][:12], reads, note]
        )
    return rows


def print_plan(view: dict[str, Any]) -> None:
    """Print the plan: the stages, the size of the model, disk, memory, what starts where, and the
    assumptions."""
    print_table(plan_table(view))
    print_text(f"\n{model_line(view)}\n{disk_line(view['disk'])}\n")
    if len(table := memory_table(view)) > 1:
        print_table(table)
    if len(layouts := layout_table(view)) > 1:
        print("\nwhat starts where:\n")
        print_table(layouts)
        print("\nassumptions:", *view["assumptions"], sep="\n- ")


def check_recipes(
    paths: Sequence[Path], settings: list[str] | None, *, deep: bool = False
) -> list[dict[str, Any]]:
    """Every recipe with its defaults filled in. BadInput with the problems of all of them. With
    `deep` the early check runs too."""
    resolved_recipes, errors = [], []
    for path in paths:
        try:
            recipe = load_recipe(path, settings, to_run=deep, here=True)
            report = deep_check(recipe, Reporter()) if deep else {}
            resolved = recipe.model_dump(mode="json", by_alias=True, exclude_none=True)
            resolved_recipes.append({"path": str(path), "recipe": resolved, **report})
        except BadInput as error:
            errors.append(error)
    if errors:
        remedies = dict.fromkeys(error.remedy for error in errors if error.remedy)
        raise BadInput("\n".join(error.message for error in errors), "; ".join(remedies))
    return resolved_recipes


def recipe_text(entry: dict[str, Any]) -> str:
    """A resolved recipe as YAML, after comments with its path and the results of a deep check."""
    remarks = [entry["path"]]
    for row in entry.get("asked", ()):
        remarks.append(
            f"{row['place']}: {row['chats']} chats, longest {row['longest']} tokens, room"
            f" {row['room']}"
        )
    remarks += [f"note: {note}" for note in entry.get("notes", ())]
    return "\n".join([*(f"# {visible_line(one)}" for one in remarks), _yaml(entry["recipe"])])


def _yaml(recipe: dict[str, Any]) -> str:
    """A recipe as YAML that can be read again: what would steer a terminal is an escape of YAML."""
    text = yaml.safe_dump(recipe, sort_keys=False, allow_unicode=True)
    return yaml.safe_dump(recipe, sort_keys=False) if steers(text) else text
