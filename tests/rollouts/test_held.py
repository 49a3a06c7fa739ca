"""The proof that an engine in bfloat16 holds what was published: in the trainer's process and on a
server, one old tensor of any kind is found, and named."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from builders.contexts import stage_context
from builders.proven_engine import STALE, moved, with_one_old
from common.devices import DevicesConfig, Servers
from common.errors import RunFailed
from common.execution import ExecutionConfig
from models.adapters import policy_weights
from models.checkpoint import load_policy, save_policy
from models.nano import nano_model, nano_tokenizer
from rollouts import parity, sync
from rollouts.config import RolloutConfig
from rollouts.held import Published, digest
from rollouts.served.handover import Handover
from rollouts.start import start_engine

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    folder = tmp_path_factory.mktemp("held") / "checkpoint"
    save_policy(nano_model(nano_tokenizer(), seed=11), nano_tokenizer(), folder)
    return folder


@pytest.fixture(scope="module")
def said(checkpoint):
    """What the engine in process says, from a process of its own: one has one engine."""
    command = [sys.executable, "-m", "builders.proven_engine", str(checkpoint)]
    path = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=ROOT, env={**os.environ, "PYTHONPATH": path}
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("kind", STALE)
def test_one_old_tensor_is_found_and_named_where_the_gap_shows_nothing(said, kind):
    message, gap = said[kind]
    assert f": {STALE[kind]}" in message and "the engine does not hold" in message
    assert said[f"after {kind}"][0] == ""
    assert gap < parity.DRIFT_FACTOR * said["start"][1]


def test_a_head_that_is_never_sent_is_found(said):
    assert sync.HEAD in said["head never sent"][0]


def test_experts_in_the_old_layout_are_found_by_the_drift(said):
    message, gap = said["old layout"]
    assert message == "" and gap > parity.DRIFT_FACTOR * said["start"][1]
    assert said["end"][0] == "" and said["end"][1] < 2 * said["start"][1]


@pytest.fixture(scope="module")
def served(checkpoint, tmp_path_factory):
    devices = DevicesConfig(engine=Servers(kind="server"))
    folder = tmp_path_factory.mktemp("logs")
    context = stage_context(folder, execution=ExecutionConfig(devices=devices))
    rollouts = RolloutConfig(max_model_len=96, dtype="bfloat16")
    engine: Any = start_engine(checkpoint, rollouts, 0, context)
    yield engine
    engine.close()


@pytest.mark.parametrize("kind", STALE)
def test_one_old_tensor_on_a_server_is_found_and_named(served, checkpoint, monkeypatch, kind):
    policy, name = load_policy(checkpoint), STALE[kind]
    served.publish(policy_weights(policy), 1)
    old = dict(sync.with_tied_head(policy_weights(policy)))[name].clone()
    moved(policy, 1e-3)
    write = Handover.write
    monkeypatch.setattr(
        Handover, "write", lambda self, given: write(self, with_one_old(given, name, old))
    )
    with pytest.raises(RunFailed, match=f"server 0 .* does not hold .*: {name}"):
        served.publish(policy_weights(policy), 2)
    monkeypatch.undo()
    served.publish(policy_weights(policy), 3)


def test_a_server_that_was_started_again_is_proven_again(served, checkpoint, monkeypatch):
    served.publish(policy_weights(load_policy(checkpoint)), 4)
    asked = []
    require = Published.require

    def noted(self, held, where):
        asked.append(where)
        require(self, held, where)

    monkeypatch.setattr(Published, "require", noted)
    (server,) = served._servers
    os.killpg(server.child.pid, signal.SIGKILL)
    served.score([[20, 21]], [[22]])
    assert [where.split(" (")[0] for where in asked] == ["server 0"]


values = st.floats(-4, 4, width=16).filter(lambda value: abs(value) > 1e-3)


@given(st.lists(values, min_size=2, max_size=12, unique=True), st.randoms())
def test_a_digest_depends_on_the_values_of_a_row_and_not_on_their_order_or_on_zeros(row, random):
    turned = [0.0, *random.sample(row, len(row)), -0.0]
    other = [*row[:-1], row[-1] * 2]
    assert digest(torch.tensor([row])) == digest(torch.tensor([turned]))
    assert digest(torch.tensor([row])) != digest(torch.tensor([other]))
    assert digest(torch.tensor([row, other])) != digest(torch.tensor([other, row]))


@given(st.integers(0, 2**32 - 1))
def test_a_digest_is_of_the_rounded_values(seed):
    tensor = torch.randn(5, 7, generator=torch.Generator().manual_seed(seed))
    rounded = tensor.to(torch.bfloat16)
    assert digest(tensor) == digest(rounded) == digest(rounded.float())
    step = rounded.clone()
    step.view(torch.int16)[2, 3] += 1
    assert digest(step) != digest(rounded)


def test_a_large_tensor_is_read_in_blocks_with_the_same_digest(monkeypatch):
    tensor = torch.randn(9, 5)
    whole = digest(tensor)
    monkeypatch.setattr("rollouts.held.VALUES", 12)
    assert digest(tensor) == whole
