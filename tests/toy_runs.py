"""Plans of toy stages; also a program that runs one.

`python toy_runs.py RUN_FOLDER '[{"id": "one", "steps": 3}, ...]' [--redo ID] ...`
"""

import argparse
import json
import sys
from pathlib import Path

from toy_stages import ToyStage

from common.errors import UphillError
from common.seeds import derive
from pipeline.plan import Plan, make_node
from pipeline.progress import Reporter
from pipeline.runner import Request, run_plan


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
    sys.exit(main(sys.argv[1:]))
