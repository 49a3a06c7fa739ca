"""Scores of prompts that begin alike: what they share is computed once, and the numbers are those
of computing every token."""

import json
import subprocess
import sys

import pytest

from models.checkpoint import save_policy
from models.nano import nano_model, nano_tokenizer

PROGRAM = """
import json, sys
from pathlib import Path
from rollouts import sampling
from rollouts.config import RolloutConfig
from rollouts.engine import Engine
engine, held = Engine(Path(sys.argv[1]), RolloutConfig(max_model_len=96), seed=0), []
real = sampling.unscored
def noted(outputs, prompts):
    held.append([[output.num_cached_tokens for output in outputs], real(outputs, prompts)])
    return real(outputs, prompts)
sampling.unscored = noted
pair = json.loads(sys.argv[2])
engine.generate(pair[0], samples=1, temperature=1.0, max_tokens=1, seeds=[0] * len(pair[0]))
calls = [engine.score(*pair, cached=cached) for cached in (False, True, True)]
print(json.dumps([calls, held]))
engine.close()
"""
START = list(range(10, 60)) + list(range(20, 40))
"""What all sequences begin with: 70 tokens, of which two blocks of 32 can be shared."""


def test_shared_beginnings_are_computed_once_and_the_scores_are_the_same(tmp_path):
    save_policy(nano_model(nano_tokenizer(), seed=11), nano_tokenizer(), tmp_path)
    # Of the last two the shared blocks end within the completion, so not all of it is scored.
    prompts = [[*START, 8], [*START, 9], START[:40], START[:64]]
    completions = [[10, 11], [12] * 20, [*START[40:], 5], [*START[64:], 6]]
    command = [sys.executable, "-c", PROGRAM, str(tmp_path), json.dumps([prompts, completions])]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    (whole, cached, again), held = json.loads(done.stdout.splitlines()[-1])
    assert [len(row) for row in whole] == [2, 20, 31, 7]
    for row, own in zip(whole, cached, strict=True):
        assert own == pytest.approx(row, abs=1e-5)
    assert again == cached  # every bit, whatever the engine computed before
    nothing, shared = [[0, 0, 0, 0], []], [[0, 64, 64, 64], [2, 3]]
    assert held == [nothing, shared, shared]
