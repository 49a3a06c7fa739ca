"""The nano pipeline, cut short, through the command line."""

import subprocess
import sys
import time
from pathlib import Path

from common.files import read_json_lines

ROOT = Path(__file__).parents[2]
SETTINGS = {
    "prompts.0.count": 400,
    "prompts.0.settings": "{min_word_len: 3, max_word_len: 3}",
    "prompts.1.count": 400,
    "prompts.1.settings": "{min_terms: 2, max_terms: 2, min_digits: 1, max_digits: 1}",
    "stages.filter.limit": 24,
    "stages.filter.drop_easiest": 0.25,
    "stages.filter.judges.1": "{kind: rubric, model: smollm2-135m-instruct, max_tokens: 8}",
    "stages.filter.audit": "{prompts: 8, max_tokens: 8}",
    "stages.sft.epochs": 8,
    "runtime.stages.sft.save_every": 5,
    "stages.rl.steps": 6,
    "runtime.stages.rl.save_every": 2,
    "stages.rl.prompts_per_step": 6,
    "stages.rl.evaluate": "{every: 1, limit: 12, keep_best: true}",
    "stages.rl.curriculum": "{refilter_every: 2, probe_share: 0.2}",
    "evaluate": (
        "{suites: [{name: held_out, limit: 24}, {name: basic_arithmetic, limit: 24}, {name:"
        " corner_cases, limit: 40, max_tokens: 16}, {name: arc_easy_likelihood, limit: 12}], after:"
        " [sft, rl]}"
    ),
}
FINISHED = ["prompts", "base", "filter", "sft", "eval-sft", "rl", "eval-rl", "dpo"]


def command(runs, *words):
    settings = [word for name, value in SETTINGS.items() for word in ("--set", f"{name}={value}")]
    return [
        sys.executable,
        "-m",
        "pipeline",
        "run",
        "recipes/nano.yaml",
        "--runs-dir",
        str(runs),
        *settings,
        *words,
    ]


def uphill(words, input=None):
    done = subprocess.run(words, capture_output=True, text=True, cwd=ROOT, timeout=400, input=input)
    assert done.returncode == 0, done.stderr
    return done


def python_m(*words):
    return uphill([sys.executable, "-m", "pipeline", *words])


def mtimes(folder):
    """When each file below a folder was last written."""
    return {
        path.relative_to(folder): path.stat().st_mtime_ns
        for path in folder.rglob("*")
        if path.is_file()
    }


def wait_for_step(process, partial, step, seconds=200):
    """Until a stage has logged `step`, or with None until it is a few seconds old."""
    end = time.monotonic() + seconds
    while not (
        any(row["step"] >= step for row in read_json_lines(partial / "metrics.jsonl"))
        if step
        else (partial / "stage.log").exists()
    ):
        assert process.poll() is None, f"the run ended before {partial} was at {step}"
        assert time.monotonic() < end, f"{partial} was not at {step}"
        time.sleep(0.02)
    time.sleep(0 if step else 3)
