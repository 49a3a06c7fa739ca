"""Plans of toy stages; also a program that runs one.

`python toy_runs.py RUN_FOLDER '[{"id": "one", "steps": 3}, ...]' [--redo ID] ...`
"""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

from builders.toy_stages import ToyStage
from common.errors import BadInput, UphillError
from common.seeds import derive
from pipeline.execution.progress import Reporter
from pipeline.execution.request import RunRequest
from pipeline.execution.runner import run_plan
from pipeline.execution.state import inspect
from pipeline.execution.verify import verify_run
from pipeline.planning.plan import Node, Plan, make_node
from pipeline.recipe.declared import execution_of
from pipeline.recipe.schema import RuntimeConfig
from pipeline.store.record import read_record

TESTS = Path(__file__).parents[1]
ONE, TWO = {"id": "one"}, {"id": "two", "after": "one"}
SLOW = {"id": "two", "after": "one", "steps": 200}


def toy_plan(specs, name="toy", runtime=None, budget=None):
    nodes: dict[str, Node] = {}
    for number, spec in enumerate(specs, start=1):
        config = ToyStage(**spec)
        place = f"{number:02d}-{config.id}"
        nodes[config.id] = make_node(
            config,
            derive(0, config.id),
            nodes,
            place,
            execution=execution_of(RuntimeConfig.model_validate(runtime or {}), config),
            module="builders.toy_stages",
        )
    return Plan(name, tuple(nodes.values()), runtime=runtime or {}, budget=budget or {})


def start(run, specs, *options, path=()):
    """The same as a program, which can be killed. `path`: more places of modules."""
    places = os.pathsep.join(map(str, [TESTS.parent, TESTS, *path]))
    environment = {**os.environ, "PYTHONPATH": places}
    command = [sys.executable, __file__, str(run), json.dumps(specs), *options]
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)


def wait_for(path, seconds=20):
    end = time.monotonic() + seconds
    while not path.exists():
        assert time.monotonic() < end, f"{path} did not appear"
        time.sleep(0.02)


def alive(pid):
    """Whether a process runs; one that has ended and was not waited for does not."""
    stat = Path(f"/proc/{pid}/stat")
    try:
        return stat.read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def gone(pids, seconds=5):
    """Whether all of some processes end within a time."""
    end = time.monotonic() + seconds
    while any(map(alive, pids)) and time.monotonic() < end:
        time.sleep(0.02)
    return not any(map(alive, pids))


def places(folder):
    """What each process of a toy stage said of its place, by rank."""
    logs = [folder / "stage.log", *sorted(folder.glob("stage-rank-*.log"))]
    lines = [line for log in logs for line in log.read_text().splitlines()]
    said = [json.loads(line[7:]) for line in lines if line.startswith("place: ")]
    return sorted(said, key=lambda place: place["rank"])


def states(run, specs):
    return {name: state.state for name, state in inspect(toy_plan(specs), run).items()}


def record_of(folder):
    """The record of a finished stage."""
    record = read_record(folder)
    assert record is not None, f"{folder} has no record"
    return record


def found_in(run):
    """What `verify` says of a run, whichever way it says it."""
    try:
        return "\n".join(verify_run(run)["problems"])
    except BadInput as error:
        return str(error)


def main(arguments):
    parser = argparse.ArgumentParser()
    parser.add_argument("run", type=Path)
    parser.add_argument("specs", type=json.loads)
    parser.add_argument("--redo", action="append", default=[])
    parser.add_argument("--stage")
    parser.add_argument("--until")
    parser.add_argument("--runtime", type=json.loads)
    parser.add_argument("--budget", type=json.loads)
    parser.add_argument("--grace", type=float, default=60)
    options = parser.parse_args(arguments)
    plan = toy_plan(options.specs, runtime=options.runtime, budget=options.budget)
    try:
        reporter = Reporter(bars=False)
        run_plan(
            RunRequest(
                plan,
                options.run,
                options.stage,
                options.until,
                options.redo,
                reporter,
                options.grace,
            )
        )
    except UphillError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
