"""Damaged recipes and prompt files through whole runs, one after the other into one folder: what a
wrong one leaves there, no later run trusts. A few here; `make fuzz` does as many as UPHILL_FUZZ
says."""

import json
import os
import resource
import subprocess
import sys
from collections import Counter
from pathlib import Path

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from benchmarks.same_run import differing
from builders.mutations import ROWS, wrong_data, wrong_rows, wrong_text
from builders.toy_runs import found_in

ROOT = Path(__file__).parents[3]
EXAMPLES = int(os.environ.get("UPHILL_FUZZ", "4"))
RECIPE = """\
name: tiny
model: {preset: nano}
prompts:
  - {source: jsonl, path: mine.jsonl, held_out: 0.25, capability: c, verifier: exact}
  - {source: reasoning_gym, family: chain_sum, count: 12, capability: sums, settings: {min_terms: 2, max_terms: 2}}
stages:
  - {id: sft, kind: sft, on: prompts, train: full, batch_size: 4, learning_rate: 1e-3}
runtime: {execution: {save_every: 2}}
"""  # noqa: E501
RIGHT = "".join(json.dumps(row) + "\n" for row in ROWS).encode()
LIMITS = ["--set", "budget.hours=0.02", "--grace", "5"]
"""A recipe may well ask for a billion prompts. A minute of them, then it has to stop."""
MEMORY = 12 << 30


def uphill(runs, recipe, rows, *options):
    """`uphill run` as a program: its exit code and what it said."""
    folder = runs.parent
    (folder / "mine.jsonl").write_bytes(rows)
    (folder / "recipe.yaml").write_bytes(recipe)
    words = ["run", str(folder / "recipe.yaml"), "--runs-dir", str(runs), *options]
    done = subprocess.run(
        [sys.executable, "-m", "pipeline", *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY)),
    )
    return done.returncode, done.stderr


def test_what_a_wrong_run_leaves_behind_no_later_run_trusts(tmp_path):
    wrong, clean = tmp_path / "wrong", tmp_path / "clean"
    recipes, codes = [RECIPE], Counter[int]()

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate],
    )
    @given(
        recipe=st.one_of(st.just(RECIPE.encode()), wrong_data(recipes), wrong_text(recipes)),
        rows=wrong_rows(),
    )
    def each(recipe, rows):
        code, said = uphill(wrong, recipe, rows, *LIMITS)
        if (
            "--redo prompts" in said
        ):  # nothing wrong with it, but another one has finished: let it have its place
            code, said = uphill(wrong, recipe, rows, *LIMITS, "--redo", "prompts")
        assert code in (0, 1, 2, 3) and not any(
            word in said for word in ("Traceback", "bug in uphill", "crashed")
        ), said
        assert code == 0 or "remedy:" in said
        codes[code] += 1
        for plan in wrong.glob("*/plan.json"):
            assert found_in(plan.parent) == ""

    each()
    print(f"exit codes of {EXAMPLES} runs: {dict(codes)}")
    code, said = uphill(wrong, RECIPE.encode(), RIGHT)
    if code == 2:  # a wrong one that was not wrong after all is finished: never replaced unasked
        assert "--redo" in said
        code, said = uphill(wrong, RECIPE.encode(), RIGHT, "--redo", "prompts", "--redo", "base")
    assert code == 0, said
    assert uphill(clean, RECIPE.encode(), RIGHT)[0] == 0
    assert [
        name
        for name in differing(wrong / "tiny", clean / "tiny")
        if not name.startswith("replaced/")
    ] == []
