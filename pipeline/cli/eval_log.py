"""`uphill eval-log`: writes a finished evaluation in the form of another harness."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common.errors import BadInput
from common.files import write_json, write_json_lines
from evals.config import SuiteConfig
from evals.harness.as_inspect import eval_log, log_name
from evals.harness.as_lm_eval import results_document, sample_lines
from evals.harness.stored import Evaluated, StoredSuite, stored_suites
from pipeline.execution.run_folder import PLAN, find_stage, load_plan
from pipeline.execution.state import inspect
from pipeline.planning.plan import Node, Plan
from pipeline.store.record import read_record
from stages.declaration import PROMPTS_STAGE

KIND = "evaluate"


@dataclass(frozen=True)
class _Found:
    """A finished evaluation."""

    name: str
    folder: Path
    record: dict[str, Any]
    prompts: Path | None
    """The folder of the run's prompts stage, if it is finished."""


def write_log(name: str, target: Path, form: str, runs_dir: Path) -> dict[str, Any]:
    """Write the evaluation of `RUN[:STAGE]`, or the one in a folder, into `target`; return the
    document of `eval-log --json`."""
    found = _in_folder(Path(name)) if (Path(name) / "record.json").is_file() else None
    found = found or _of_run(name, runs_dir)
    suites = [SuiteConfig.model_validate(one) for one in found.record["config"]["suites"]]
    stored = list(stored_suites(found.folder, suites, found.prompts))
    evaluated = Evaluated(
        found.name,
        found.record["finished"],
        found.record["fingerprint"],
        found.record["versions"],
    )
    target.mkdir(parents=True, exist_ok=True)
    write = _as_inspect if form == "inspect" else _as_lm_eval
    files = write(evaluated, stored, target)
    return {"evaluation": found.name, "as": form, "files": [str(path) for path in files]}


def _as_inspect(evaluated: Evaluated, suites: Sequence[StoredSuite], target: Path) -> list[Path]:
    paths = [target / log_name(evaluated, suite) for suite in suites]
    for path, suite in zip(paths, suites, strict=True):
        write_json(path, eval_log(evaluated, suite))
    return paths


def _as_lm_eval(evaluated: Evaluated, suites: Sequence[StoredSuite], target: Path) -> list[Path]:
    time = evaluated.created.replace(":", "-")
    results = target / f"results_{time}.json"
    write_json(results, results_document(evaluated, suites))
    paths = [target / f"samples_{suite.name}_{time}.jsonl" for suite in suites]
    for path, suite in zip(paths, suites, strict=True):
        write_json_lines(path, sample_lines(suite))
    return [results, *paths]


def _of_run(name: str, runs_dir: Path) -> _Found:
    """The evaluation of a run's stage, by default of the last one that has a finished one."""
    run, stage = find_stage(name, runs_dir)
    plan = load_plan(run)
    states = inspect(plan, run)
    wanted = None if stage is None else plan[stage].id
    done = [
        node
        for node in plan.nodes
        if node.evaluated and states[node.id].state == "done"
        if wanted in (None, node.id, node.evaluated)
    ]
    if not done:
        raise BadInput(
            f"{name}: no evaluation is finished",
            "name a stage that was evaluated, or the folder of an evaluation",
        )
    node: Node = done[-1]
    found = _in_folder(states[node.id].folder)
    return _Found(f"{plan.name}:{node.evaluated}", found.folder, found.record, found.prompts)


def _in_folder(folder: Path) -> _Found:
    """The evaluation in a folder, which may be one among those of a run."""
    record = read_record(folder)
    if record is None or record["kind"] != KIND:
        raise BadInput(
            f"{folder}: is not the folder of a finished evaluation by suites",
            "name RUN[:STAGE], or a folder that `uphill eval --suite` wrote",
        )
    run = folder.resolve().parents[1]
    prompts = _prompts(load_plan(run), run) if (run / PLAN).is_file() else None
    return _Found(folder.name, folder, record, prompts)


def _prompts(plan: Plan, run: Path) -> Path | None:
    state = inspect(plan, run)[PROMPTS_STAGE]
    return state.folder if state.state == "done" else None
