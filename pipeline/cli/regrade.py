"""`uphill regrade`: grades a finished run's rollouts and evaluation answers with the present
verifiers."""

from pathlib import Path
from typing import Any

from common.artifacts import GROUPS
from common.errors import BadInput
from pipeline.execution.run_folder import find_stage, load_plan
from pipeline.execution.state import inspect
from stages.declaration import PROMPTS_STAGE


def regrade_run(name: str, runs_dir: Path) -> dict[str, Any]:
    """The document of `regrade --json` for `RUN` or `RUN:STAGE`. A stage includes its
    evaluation."""
    from evals.regrade import answers, regrade, require_answers, rollouts

    run, stage = find_stage(name, runs_dir)
    plan = load_plan(run)
    states = inspect(plan, run)
    if stage is not None and states[plan[stage].id].state != "done":
        raise BadInput(f"{name}: the stage is {states[stage].state}", "run the recipe first")
    rows = []
    for node in plan.nodes:
        of = node.evaluated
        if states[node.id].state != "done" or stage not in (None, node.id, of):
            continue
        folder = states[node.id].folder
        if of is not None:
            prompts = (
                states[PROMPTS_STAGE].folder if states[PROMPTS_STAGE].state == "done" else None
            )
            rows.append(regrade(node.id, list(answers(folder, prompts))))
        elif node.has_output(GROUPS):
            rows.append(regrade(node.id, list(rollouts(folder))))
    require_answers(rows, name)
    return {"run": str(run), "stages": rows}
