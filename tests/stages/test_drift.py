"""RL with an engine in bfloat16: its rollouts are weighed by the ratio to the rounded policy, its
drift is logged under its own name and held under its own tolerance."""

import copy
import math

import pytest
import torch
from pydantic import ValidationError

from builders.rl_trainer import STAGE, SameWeights, rl_trainer
from common.devices import DevicesConfig, Servers
from common.errors import RunFailed
from common.execution import ExecutionConfig
from models.nano import nano_model, nano_tokenizer
from rollouts.interface import Rollout
from rollouts.parity import Tolerance, gap, trainer_logprobs
from stages.rl.collector import StepBatch
from stages.rl.config import RlStage
from stages.rl.groups import Group, Member
from stages.rl.passes import forward_passes

START = nano_model(nano_tokenizer(), seed=3)
ROUNDED_START = copy.deepcopy(START).to(torch.bfloat16)
PROMPT = [20, 21, 22]
ROUNDED = {"rollouts": {"dtype": "bfloat16"}}


def batch_of(ratio):
    """A group whose tokens are `ratio` times as likely in the trainer as in the engine."""
    members = []
    for ids, reward in (([30, 31], 1.0), ([40, 41, 42], 0.0)):
        logprobs = (trainer_logprobs(START, [PROMPT], [ids]) - math.log(ratio)).tolist()
        members.append(Member(Rollout(ids, logprobs, "", "stop"), reward, None))
    group = Group("a", "words", PROMPT, members, probe=False)
    return StepBatch([group], [group], forward_passes([group], 8), group.loss_tokens)


def stepped(folder, ratio, **settings):
    """The trainer after one training step, and its gradient."""
    model = copy.deepcopy(START)
    engine = SameWeights(ROUNDED_START if "rollouts" in settings else START)
    trainer = rl_trainer(model, folder, batch_of(ratio), engine=engine, **settings)
    trainer.training_step(model, {})
    parts = [p.grad.flatten() for p in model.parameters() if p.grad is not None]
    return trainer, torch.cat(parts)


@pytest.mark.parametrize(("ratio", "weight"), [(1.01, 1.01), (0.99, 0.99)])
def test_on_policy_rollouts_of_the_rounded_policy_are_weighed_by_their_ratio(
    tmp_path, ratio, weight
):
    _, plain = stepped(tmp_path, 1.0)
    trainer, found = stepped(tmp_path, ratio, **ROUNDED)
    assert plain.norm() > 0.01 and (found - weight * plain).norm() < 1e-4 * plain.norm()
    figures = trainer.metrics.take()
    assert figures["parity/rollout_drift"] == pytest.approx(abs(math.log(ratio)), abs=1e-5)
    assert figures["importance/ratio"] == pytest.approx(ratio, abs=1e-5)
    assert figures["importance/effective_share"] == pytest.approx(1, abs=1e-5)
    assert "parity/probe_drift" in figures and not any(name.endswith("_gap") for name in figures)


def test_a_drift_past_the_tolerance_stops_the_run_in_words_of_its_own(tmp_path):
    with pytest.raises(RunFailed, match=r"drift check failed on the rollouts of version 0.*0\.405"):
        stepped(tmp_path, 1.5, **ROUNDED)
    with pytest.raises(RunFailed, match=r"failed after publishing version 0.*1e-06, drift_tol"):
        stepped(tmp_path, 1.0, **ROUNDED, drift_tolerance=1e-6)


def test_later_drift_is_held_to_that_of_the_first_publication(tmp_path):
    tolerance = Tolerance(exact=False, limit=0.1, first=0.001)
    tolerance.require(gap(torch.tensor([-1.007]), torch.tensor([-1.0])), "now")
    with pytest.raises(RunFailed, match=r"0\.008, 8 times that of the first publication"):
        tolerance.require(gap(torch.tensor([-1.009]), torch.tensor([-1.0])), "now")


def test_a_gap_of_an_engine_in_float32_stops_as_before(tmp_path):
    with pytest.raises(RunFailed, match=r"parity check failed on the rollouts of version 0"):
        stepped(tmp_path, 1.001)


def test_a_drift_that_is_not_a_number_stops_the_run():
    measured = gap(torch.tensor([float("nan")]), torch.tensor([-1.0]))
    with pytest.raises(RunFailed, match="drift check failed now"):
        Tolerance(exact=False, limit=0.1).require(measured, "now")


def stage(**settings):
    return RlStage.model_validate({**STAGE, **settings})


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"drift_tolerance": 0.2}, "drift_tolerance .* has no effect with rollouts in float32"),
        ({**ROUNDED, "parity_tolerance": 0.2}, "parity_tolerance .* has no effect .* bfloat16"),
        ({**ROUNDED, "top_p": 0.9}, "rollouts in bfloat16 with top_p"),
        ({"importance": "clip"}, "importance .* has no effect"),
    ],
)
def test_what_would_have_no_effect_is_refused(settings, said):
    with pytest.raises(ValidationError, match=said):
        stage(**settings)


def test_the_correction_of_rounding_can_be_chosen():
    assert stage(**ROUNDED, importance="clip").importance == "clip"


def test_servers_of_several_gpus_in_bfloat16_are_refused_as_nothing_proves_them():
    engine = Servers(kind="server", tensor_parallel=2)
    execution = ExecutionConfig(devices=DevicesConfig(engine=engine))
    (objection,) = stage(**ROUNDED).execution_objections(execution)
    assert "proven" in objection.message
    assert not list(stage().execution_objections(execution))
