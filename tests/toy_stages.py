"""A stage that counts, for tests of the runner; also a program that runs a plan of such stages.

`python toy_stages.py RUN_FOLDER '[{"id": "one", "steps": 3}, ...]' [--redo ID] ...`
"""

import argparse
import json
import os
import signal
import sys
import time
from pathlib import Path

from common.errors import BadInput, Interrupted, UphillError
from common.files import append_json_line, write_text
from common.seeds import derive
from common.stage import Outputs
from pipeline.plan import Plan, make_node
from pipeline.progress import Reporter
from pipeline.runner import Request, run_plan
from stages.reference import StageConfig


class ToyStage(StageConfig):
    after: str | None = None
    """Id of the stage whose `count.txt` this one adds to."""
    steps: int = 3
    """Steps of 50 ms."""
    ending: str = "good"
    """`good`, or how the stage goes wrong."""

    def input_ids(self):
        return {} if self.after is None else {"before": self.after}


def run(config, inputs, context):
    begin = int(inputs["before"].joinpath("count.txt").read_text()) if inputs else 0
    saved = context.folder / "resume" / "step"
    first = int(saved.read_text()) if saved.exists() else 0
    append_json_line(context.folder / "starts.jsonl", {"from": first})
    print(f"toy log line of {config.id}")
    for step in range(first, config.steps):
        if context.stop_requested():
            raise Interrupted("the toy was stopped", "run it again")
        if step == 1:
            go_wrong(config.ending)
        time.sleep(0.05)
        write_text(saved, str(step + 1))
        append_json_line(context.folder / "metrics.jsonl", {"step": step})
        context.progress(step + 1, config.steps, unit="step", step=step)
    write_text(context.folder / "count.txt", str(begin + config.steps))
    value = float("nan") if config.ending == "nan" else float(begin + config.steps)
    return Outputs(metrics={"count": value}, tokens_generated=config.steps)


def go_wrong(ending):
    if ending == "crash":
        raise ValueError("the toy broke")
    if ending == "bad_input":
        raise BadInput("row 3 is broken", "mend row 3")
    if ending == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if ending == "quiet":
        os._exit(0)
    while ending == "deaf":
        time.sleep(0.05)


def toy_plan(specs, name="toy"):
    nodes = {}
    for number, spec in enumerate(specs, start=1):
        config = ToyStage(**spec)
        place = f"{number:02d}-{config.id}"
        nodes[config.id] = make_node(config, "toy", derive(0, config.id), nodes, place, module="toy_stages")
    return Plan(name, tuple(nodes.values()))


def main(arguments):
    parser = argparse.ArgumentParser()
    parser.add_argument("run", type=Path)
    parser.add_argument("specs", type=json.loads)
    parser.add_argument("--redo", action="append", default=[])
    parser.add_argument("--stage")
    parser.add_argument("--until")
    options = parser.parse_args(arguments)
    plan = toy_plan(options.specs)
    try:
        run_plan(Request(plan, options.run, options.stage, options.until, options.redo, Reporter(bars=False)))
    except UphillError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    # Run as a program this module is `__main__`; the worker has to import it by its name.
    import toy_stages

    sys.exit(toy_stages.main(sys.argv[1:]))
