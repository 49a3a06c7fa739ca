"""`python -m benchmarks.gpu_check` runs on a CPU from end to end, as a test of itself."""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from benchmarks.gpu_check import __main__ as check
from benchmarks.gpu_check import grouped
from benchmarks.gpu_check.setting import Setting, relative_gaps
from models.moe import _grouped_mm

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def document(tmp_path_factory):
    out = tmp_path_factory.mktemp("gpu_check") / "found.json"
    command = [sys.executable, "-m", "benchmarks.gpu_check", "--device", "cpu", "--small"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run([*command, "--out", str(out)], cwd=ROOT, check=True, env=environment)
    return json.loads(out.read_text())


def test_every_part_runs_on_a_cpu_or_says_what_it_needs(document):
    states = {name: part["status"] for name, part in document["parts"].items()}
    assert states == {**dict.fromkeys(check.PARTS, "ran"), "memory": "skipped"}
    assert document["parts"]["memory"]["reason"] == "needs CUDA"
    assert document["versions"]["torch"] == torch.__version__ and document["device"] == "cpu"


def test_both_sides_agree_where_they_compute_the_same(document):
    figures = {name: part.get("figures") for name, part in document["parts"].items()}
    assert figures["exactness"]["rl_gradients"]["worst_parameter"] == 0
    assert figures["sharded"]["wrapper"] == "FSDPMoeForCausalLM"
    for loss in ("rl", "sft"):
        assert figures["sharded"][f"{loss}_float32"]["worst_parameter"] < 1e-5
        assert 1e-4 < figures["sharded"][f"{loss}_bfloat16"]["all"] < 0.3
    for result in figures["repeat"]["plain"].values():
        assert result == {"same_bits": True, "largest": 0}
    assert 0 < figures["masks"]["equal"]["largest_logprob_gap"] < 1e-5
    assert figures["masks"]["equal"]["gradients"]["worst_parameter"] < 1e-4
    gaps = figures["precision"]["autocast"]
    assert 0 < gaps["mean"] < gaps["p99"] <= gaps["largest"] < 1


def test_a_missing_package_skips_its_part_and_an_error_is_reported(monkeypatch):
    monkeypatch.setitem(sys.modules, "trl", None)
    monkeypatch.delitem(sys.modules, "benchmarks.gpu_check.trl_steps", raising=False)
    setting = Setting("cpu", small=True)
    assert check.outcome("trl_steps", setting) == {"status": "skipped", "reason": "no trl"}
    monkeypatch.setattr(grouped, "CASES", {"bad": grouped.Case(2, 8, 8, 4, used=3)})
    failed = check.outcome("grouped", setting)
    assert failed["status"] == "failed" and failed["error"] and failed["where"]


def test_parts_after_a_broken_process_are_left_for_the_next(monkeypatch):
    def dies(command, **options):
        report = Path(command[command.index("--report") + 1])
        report.write_text(json.dumps({"part": "exactness", "status": "ran"}) + "\n")
        return subprocess.CompletedProcess(command, -11)

    monkeypatch.setattr(subprocess, "run", dies)
    options = argparse.Namespace(device="cpu", small=True)
    assert check.supervised(options, ["exactness", "precision", "repeat"], 5) == {
        "exactness": {"status": "ran"},
        "precision": {"status": "failed", "error": "the process ended with -11"},
    }


def test_errors_of_a_grouped_product_are_found():
    rows, weight, ends = grouped.tensors(grouped.CASES["odd_width"].scaled(), "cpu", torch.float32)
    assert max(grouped.errors(rows, weight, ends).values()) < 1e-6
    shifted = torch.cat([ends[:-1] - 1, ends[-1:]])
    right = _grouped_mm(rows.detach(), weight.detach(), ends)
    wrong = _grouped_mm(rows.detach(), weight.detach(), shifted)
    assert relative_gaps({"x": wrong}, {"x": right})["all"] > 0.1
