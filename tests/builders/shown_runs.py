"""A run folder as `samples` and `watch` find it: stages that work, with hostile text in prompts and
replies."""

import json
import os

from builders.recipe_texts import write_rows
from builders.single_prompts import prompt_of
from common.files import write_json
from pipeline.execution.run_folder import save_plan
from pipeline.planning.plan import build_plan, folder_of
from pipeline.recipe.load import load_recipe
from pipeline.store.lock import owned
from prompts.schema import write_prompts

HOSTILE = "\x1b[2J\x1b]0;owned\x07\u202egnp.exe\u202c\u2066\u200b\x9b1A\r<script>alert(1)</script>"
RECIPE = """\
name: shown
model: {preset: nano}
prompts: [{source: jsonl, path: mine.jsonl, capability: words, verifier: exact, held_out: 0.5}]
stages:
  - {id: sft, kind: sft, on: prompts, learning_rate: 1e-4}
  - {id: rl, kind: rl, from: sft, on: prompts, steps: 4, learning_rate: 1e-4}
  - {id: dpo, kind: dpo, from: rl, pairs: rl, learning_rate: 1e-4}
evaluate: {suites: [held_out], after: [rl]}
"""
PROMPTS = [prompt_of("a", f"Say {HOSTILE}", "yes"), prompt_of("b", "Say yes", "yes")]


def shown_plan(place):
    """The plan of the recipe, saved in `place/runs/shown`, and that folder."""
    write_rows(place / "mine.jsonl", "abcdefgh")
    (place / "shown.yaml").write_text(RECIPE)
    plan = build_plan(load_recipe(place / "shown.yaml"))
    run = place / "runs" / "shown"
    run.mkdir(parents=True)
    save_plan(run, plan)
    return plan, run


def group(step, id, *replies, probe=False):
    """A group as RL writes it; each reply is (text, reward, fault)."""
    members = [
        {"token_ids": [1, 2], "text": text, "finish": "stop", "reward": reward, "fault": fault}
        for text, reward, fault in replies
    ]
    shared = {"step": step, "prompt_id": id, "capability": "words", "probe": probe, "system": None}
    return {**shared, "members": members}


GROUPS = [
    group(0, "a", ("no", 0.0, None), ("yes", 1.0, None)),
    group(1, "b", ("yes", 1.0, None), ("yes", 1.0, None)),
    group(1, "a", ("y" * 1_000_000, 0.0, "cut_off"), (f"yes {HOSTILE}", 0.0, None)),
]


def works(plan, run, stage, *, lines=None, broken=b""):
    """The partial folder of a stage: JSON lines by file name, the last one followed by `broken`."""
    partial = folder_of(plan[stage], run).with_name(f"{folder_of(plan[stage], run).name}.partial")
    partial.mkdir(parents=True)
    for name, rows in (lines or {}).items():
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        (partial / name).write_bytes(text.encode() + broken)
    return partial


def rl_works(plan, run):
    """RL after two steps, while it writes a line."""
    metrics = [
        {
            "step": n,
            "loss": 0.5 / n,
            "reward": 0.25 * n,
            "pass_rate": 0.25 * n,
            "mixed_share": 0.5,
            "tokens_generated": 100,
            "step_time": 2.0,
        }
        for n in (1, 2)
    ]
    half = '{"step": 2, "prompt_id": "é'.encode()[:-1]
    lines = {"groups.jsonl": GROUPS, "metrics.jsonl": metrics}
    partial = works(plan, run, "rl", lines=lines, broken=half)
    write_prompts(partial / "prompts.parquet", PROMPTS)
    return partial


def attempt_of(run, partial):
    """Lets the stage run: this process owns the run and the stage's attempt. A context."""
    write_json(partial / "attempt.json", {"runner": os.getpid()})
    return owned(run)
