"""What checkpoints and checks take of a finished run's time.

    .venv/bin/python -m benchmarks.cost runs/quickstart

`checking`: seconds of comparing a stage's inputs with their records and of recording its outputs
(`record.json`); `checkpoints`: seconds of saving, checksums included, what a killed stage goes on
from (`stage.log`); both against the seconds that the stages took. Writes `results/cost.json`."""

import re
import sys
from pathlib import Path
from typing import Any

from benchmarks.harness import RESULTS, commit, machine
from common.files import write_json
from pipeline.execution.logs import LOG
from pipeline.execution.run_folder import load_plan
from pipeline.execution.state import inspect
from pipeline.store.record import read_record

CHECKPOINT = re.compile(r"^checkpoint-\d+ took ([\d.]+) s$", re.MULTILINE)


def main() -> None:
    run = Path(sys.argv[1])
    plan, stages = load_plan(run), dict[str, Any]()
    for stage, state in inspect(plan, run).items():
        record = read_record(state.folder) or {}
        saves = [float(seconds) for seconds in CHECKPOINT.findall((state.folder / LOG).read_text())]
        parts = {"seconds": record["seconds"], "checking": record["seconds_checking"]}
        stages[stage] = {**parts, "checkpoints": round(sum(saves), 3), "saves": len(saves)}
    total = {
        name: sum(stage[name] for stage in stages.values())
        for name in ("seconds", "checking", "checkpoints")
    }
    share = (total["checking"] + total["checkpoints"]) / (total["seconds"] + total["checking"])
    head = {"command": f"python -m benchmarks.cost {run}", "commit": commit(), "machine": machine()}
    figures = {**head, "share": round(share, 4), "total": total, "stages": stages}
    write_json(RESULTS / "cost.json", figures)
    print(figures)


if __name__ == "__main__":
    main()
