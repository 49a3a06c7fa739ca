"""`uphill regrade`: grades a finished run's rollouts and evaluation answers with the present
verifiers."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from common.artifacts import GROUPS
from common.errors import BadInput
from evals.config import SuiteConfig
from pipeline.execution.run_folder import find_stage, load_plan
from pipeline.execution.state import NodeState, inspect
from pipeline.planning.plan import Node
from stages.declaration import PROMPTS_STAGE


def regrade_run(name: str, runs_dir: Path) -> dict[str, Any]:
    """The document of `regrade --json` for `RUN` or `RUN:STAGE`. A stage includes its
    evaluation."""
    from evals.regrade import require_answers

    run, stage = find_stage(name, runs_dir)
    plan = load_plan(run)
    states = inspect(plan, run)
    if stage is not None and states[plan[stage].id].state != "done":
        raise BadInput(f"{name}: the stage is {states[stage].state}", "run the recipe first")
    nodes = [
        node
        for node in plan.nodes
        if states[node.id].state == "done" and stage in (None, node.id, node.evaluated)
    ]
    rows = list(_rows(nodes, states))
    require_answers(rows, name)
    return {"run": str(run), "stages": rows}


def _rows(nodes: Sequence[Node], states: Mapping[str, NodeState]) -> Iterator[dict[str, Any]]:
    from evals.regrade import answers, regrade, rollouts
    from stages.grading import open_grader

    prompts = states[PROMPTS_STAGE].folder if states[PROMPTS_STAGE].state == "done" else None
    with open_grader() as grader:
        for node in nodes:
            folder = states[node.id].folder
            if node.evaluated is not None:
                suites = [SuiteConfig.model_validate(one) for one in node.config["suites"]]
                yield regrade(node.id, list(answers(folder, suites, prompts)), grader)
            elif node.has_output(GROUPS):
                yield regrade(node.id, list(rollouts(folder)), grader)
