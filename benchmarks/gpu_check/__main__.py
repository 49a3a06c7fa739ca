"""Runs the training code on one GPU and prints what it found as JSON, in less than eight minutes.

    make gpu-check                       # or: python -m benchmarks.gpu_check
    python -m benchmarks.gpu_check --device cpu --small      # a test of the script itself

It needs torch, transformers, accelerate and peft, on Python 3.11 or later. A part that needs more
(TRL, datasets, pydantic) is skipped by name where that is missing. Parts run in a process of their
own, one after the other: when one fails, or breaks the CUDA context, the others go on in a new
one. The exit code is 1 if a part failed."""

import argparse
import importlib
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
from importlib import metadata
from pathlib import Path
from typing import Any

PARTS = (
    *("exactness", "precision", "grouped", "masks", "steps", "sharded", "repeat", "memory"),
    "trl_steps",
)
"""Modules of this package with a function `run(setting)`, in the order in which they run."""
OPTIONAL = ("trl", "datasets", "pydantic", "pydantic_core", "pyarrow", "yaml")
"""Packages without which a part is skipped."""
NO_DEVICE = 70
"""Exit code of a process that finds no CUDA device."""
ROOT = Path(__file__).parents[2]
RESULT = ROOT / "benchmarks" / "results" / "gpu_check.json"


def main() -> int:
    options = arguments().parse_args()
    if options.report is not None:
        return work(options)
    began = time.monotonic()
    parts = dict[str, Any]()
    while waiting := [part for part in options.parts if part not in parts]:
        left = options.limit - (time.monotonic() - began)
        if left <= 0:
            parts |= {part: {"status": "skipped", "reason": "no time left"} for part in waiting}
        else:
            parts |= supervised(options, waiting, left)
    document = {**head(options), "seconds": round(time.monotonic() - began, 1), "parts": parts}
    text = json.dumps(document, indent=2)
    if options.out is not None:
        options.out.write_text(text + "\n")
    print(text)
    return int(any(part["status"] == "failed" for part in parts.values()))


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu_check")
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--small", action="store_true", help="small shapes: tests the script")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--limit", type=float, default=450, help="seconds for all parts")
    parser.add_argument("--out", type=Path, help=f"write the document there too ({RESULT.name})")
    parser.add_argument("--report", type=Path, help=argparse.SUPPRESS)
    return parser


def supervised(options: argparse.Namespace, waiting: list[str], left: float) -> dict[str, Any]:
    """Run parts in a process until one of them breaks it or the time is over; their results."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.jsonl"
        command = [sys.executable, "-m", "benchmarks.gpu_check", "--device", options.device]
        command += ["--report", str(report), "--parts", *waiting]
        command += ["--small"] if options.small else []
        try:
            code = subprocess.run(
                command, cwd=ROOT, env=environment(options.device), timeout=left
            ).returncode
            if code == NO_DEVICE:
                sys.exit("no CUDA device is visible; to test the script: --device cpu --small")
            why = f"the process ended with {code}"
        except subprocess.TimeoutExpired:
            why = "the time was over"
        lines = report.read_text().splitlines() if report.is_file() else []
        found = {row.pop("part"): row for row in map(json.loads, lines)}
    broken = next((part for part in waiting if part not in found), None)
    if broken is not None and not any(row["status"] == "failed" for row in found.values()):
        found[broken] = {"status": "failed", "error": why}
    return found


def environment(device: str) -> dict[str, str]:
    """Fixed orders of sums for cuBLAS; on a CPU no AMX, which some announce and cannot run."""
    extra = {"CUBLAS_WORKSPACE_CONFIG": ":4096:8", "HF_HUB_OFFLINE": "1"}
    if device == "cpu":
        extra["ONEDNN_MAX_CPU_ISA"] = "AVX512_CORE_FP16"
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, **extra, "PYTHONPATH": os.pathsep.join(paths)}


def work(options: argparse.Namespace) -> int:
    """Run parts in this process, each with a line in the report; stop at the first that fails."""
    import torch

    from benchmarks.gpu_check.setting import Setting

    if options.device == "cuda" and not torch.cuda.is_available():
        return NO_DEVICE
    setting = Setting(options.device, options.small)
    for part in options.parts:
        began = time.monotonic()
        result = outcome(part, setting)
        row = {"part": part, **result, "seconds": round(time.monotonic() - began, 1)}
        with options.report.open("a") as report:
            report.write(json.dumps(row) + "\n")
        print(f"{part}: {row['status']}, {row['seconds']} s", file=sys.stderr, flush=True)
        if row["status"] == "failed":
            return 1
    return 0


def outcome(part: str, setting: Any) -> dict[str, Any]:
    """What a part found, why it was skipped, or the exception with which it failed."""
    from benchmarks.gpu_check.setting import Skipped

    try:
        module = importlib.import_module(f"benchmarks.gpu_check.{part}")
        return {"status": "ran", "figures": module.run(setting)}
    except Skipped as reason:
        return {"status": "skipped", "reason": str(reason)}
    except Exception as error:  # whatever it is: it belongs in the document, beside the other parts
        if isinstance(error, ModuleNotFoundError) and error.name in OPTIONAL:
            return {"status": "skipped", "reason": f"no {error.name}"}
        lines = traceback.format_exception(error)[-6:]
        return {"status": "failed", "error": f"{type(error).__name__}: {error}", "where": lines}


def head(options: argparse.Namespace) -> dict[str, Any]:
    """The command, the commit, the machine and the versions."""
    import torch

    from benchmarks.harness import commit, machine

    packages = ("torch", "transformers", "accelerate", "peft", "trl", "datasets", "vllm")
    versions = {}
    for name in packages:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = "missing"
    cuda = options.device == "cuda" and torch.cuda.is_available()
    return {
        "command": " ".join(["python -m benchmarks.gpu_check", *sys.argv[1:]]),
        "commit": commit() if shutil.which("git") else "",
        "machine": machine(),
        "device": torch.cuda.get_device_name() if cuda else options.device,
        "python": platform.python_version(),
        "versions": versions,
    }


if __name__ == "__main__":
    sys.exit(main())
