"""SFT with `stop_when` on the nano model, probed by vLLM: it ends before its epochs do, keeps the
right step, and a stopped stage ends in the same bytes. Each attempt is a process of its own: one
has one engine."""

from typing import Any

import pytest

from builders.learnable import probed_inputs
from builders.ranks import job, together
from common.files import checksum, files_below, read_json_lines
from stages.sft.stop_when import StopWhen
from stages.sft.stopping import Measured, best, ended_by

STOP = {"every": 4, "limit": 8, "samples": 4, "max_tokens": 8, "pass_at_k": 0.5, "patience": None}
STAGE = {"id": "sft", "kind": "sft", "on": "prompts", "train": "full", "batch_size": 8}
STAGE |= {"learning_rate": 3e-3, "schedule": "constant", "epochs": 10, "stop_when": STOP}
STEPS = 50
"""Of all epochs over 40 prompts."""


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("engine")


@pytest.fixture(scope="module")
def found(root):
    inputs = probed_inputs(root / "inputs", 40)
    attempts: dict[str, dict[str, Any]] = {
        "whole": {},
        "begun": {"stop": (0, 5)},
        "again": {"folder": "begun"},
    }
    results = {}
    for name, settings in attempts.items():
        one = job(name, STAGE, inputs, rows_per_forward=8, save_every=3, **settings)
        (results[name],) = together(root, [one], processes=1)[name]
        assert results[name].get("error") in (None, "Interrupted"), results[name]
    return results


def test_sft_ends_at_the_pass_rate_that_was_asked_for(root, found):
    metrics, rows = found["whole"]["metrics"], read_json_lines(root / "whole" / "probes.jsonl")
    assert (metrics["ended"], metrics["kept_step"]) == ("pass_at_k", metrics["steps"])
    assert 4 < metrics["steps"] < STEPS and metrics["kept_pass_at_k"] >= 0.5
    stop = StopWhen.model_validate(STOP)
    probes = [Measured(r["step"], r["pass_at_k"], r["entropy"], r["format"]) for r in rows]
    ends = [ended_by(probes[:count], stop) for count in range(1, len(probes) + 1)]
    assert ends == [None] * (len(ends) - 1) + ["pass_at_k"]
    kept = best(probes, stop)
    assert kept is not None and kept.step == metrics["kept_step"]
    assert all(row["parity/probe_gap"] < 1e-5 for row in rows)
    # It has learnt to say nothing but a few letters a, and is less sure of it than of nothing.
    assert rows[0]["entropy"] > rows[-1]["entropy"] > 0 and rows[-1]["format"] > 0.9


def test_a_stopped_stage_ends_in_the_same_bytes(root, found):
    assert found["begun"]["error"] == "Interrupted" and found["again"] == found["whole"]
    files = {}
    for name in ("whole", "begun"):
        paths = [path for path in files_below(root / name) if "resume" not in path.parts]
        files[name] = {str(path.relative_to(root / name)): checksum(path) for path in paths}
    assert files["begun"] == files["whole"] and "probes.jsonl" in files["whole"]
