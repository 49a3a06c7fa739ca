"""What stops a stage that trains badly, and that nothing stops one that trains well."""

from typing import cast

import pytest

from builders.contexts import stage_context
from builders.single_prompts import prompt_of
from common.divergence import DivergenceLimits
from common.errors import RunFailed
from common.execution import ExecutionConfig
from common.files import read_json_lines
from prompts.schema import write_prompts
from stages.base.config import BaseStage
from stages.base.run import run as make_base
from stages.sft.config import SftStage
from stages.sft.run import run as sft
from training.divergence import divergence
from training.metrics_log import MetricsLog
from training.router_metrics import RouterMetrics

LIMITS = DivergenceLimits()
SFT = {"loss": 0.5, "grad_norm": 1.0, "entropy": 0.8}
GOOD = {"loss": 0.5, "grad_norm": 1.0, "entropy": 0.8, "reward": 0.4, "mixed_share": 0.6}


def rows(*changes, good=10):
    return [dict(GOOD) for _ in range(good)] + [GOOD | change for change in changes]


def problem(metrics):
    """What is wrong after the last step, and the remedy."""
    found = divergence(metrics, LIMITS)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("metrics", "words"),
    [
        (rows({"loss": float("nan")}), "loss is not finite"),
        (rows({"grad_norm": float("inf")}), "grad_norm is not finite"),
        (rows(*[{"grad_norm": 31.0}] * 3), "grad_norm is 31, and was 1 before"),
        (
            [SFT | {"loss": 5.0}, *[SFT | {"loss": 15.1}] * 3],
            "the loss is 15.1, and was 5 in the first step",
        ),
        (
            [SFT | {"loss": 0.01}, *[SFT | {"loss": 9.1}] * 3],
            "the loss is 9.1, and was 0.01 in the first step",
        ),
        (rows(*[{"entropy": 0.039}] * 3), "the entropy is 0.039 nats, and was 0.8"),
        (rows(*[{"mixed_share": 0.0, "reward": 0.0}] * 20), "the reward was always 0 for 20 steps"),
        (
            rows(*[{"mixed_share": 0.0, "reward": n / 20} for n in range(20)]),
            "the same within every group for 20 steps",
        ),
        (
            rows(
                *[
                    {
                        "mixed_share": 0.0,
                        "reward": 0.0,
                        "rollouts": 8,
                        "faults/cut_off": 8,
                        "cut_off_share": 1.0,
                    }
                ]
                * 20
            ),
            "160 of 160 rollouts could not be graded (160 cut_off) in 20 steps",
        ),
        (
            rows(*[{"mixed_share": 0.0, "reward": 0.0, "rollouts": 8, "cut_off_share": 0.75}] * 20),
            "120 of 160 rollouts could not be graded (120 cut_off) in 20 steps",
        ),
        (
            rows(*[{"mixed_share": 0.0, "reward": 0.0, "rollouts": 8, "faults/timeout": 3}] * 20),
            "the reward was always 0 for 20 steps",
        ),
        (rows(*[{"grad_norm": 0.0}] * 20), "every gradient was zero for 20 steps"),
    ],
)
def test_each_sign_is_seen_at_its_step_and_not_before(metrics, words):
    assert words in problem(metrics)[0]
    assert all(divergence(metrics[:end], LIMITS) is None for end in range(1, len(metrics)))


def test_answers_that_could_not_be_graded_name_the_setting_and_not_the_prompts():
    dry = {"mixed_share": 0.0, "reward": 0.0, "rollouts": 8}
    assert "max_tokens" in problem(rows(*[dry | {"cut_off_share": 1.0}] * 20))[1]
    assert "verifier" in problem(rows(*[dry | {"faults/timeout": 5}] * 20))[1]
    assert "prompts" in problem(rows(*[dry] * 20))[1]


@pytest.mark.parametrize(
    "metrics",
    [
        rows(*[{"grad_norm": 5.0}] * 30),
        rows({"grad_norm": 500.0}, {}, {"grad_norm": 500.0}, {"grad_norm": 500.0}, {}),
        [SFT | {"loss": 5.0}, *[SFT | {"loss": 14.9}] * 30],
        [SFT | {"loss": 0.01}, *[SFT | {"loss": 8.9}] * 30],
        rows(*[{"loss": 50.0}] * 30),
        rows(*[{"entropy": 0.1}] * 30),
        rows(*[{"mixed_share": 0.0}] * 19, {}, *[{"mixed_share": 0.0}] * 19),
        [{"loss": 1.0, "grad_norm": 0.0}] * 19,
        [{"loss": 1.0, "entropy": 0.01 if n else 3.0, "grad_norm": 1.0} for n in range(30)],
    ],
    ids=[
        "larger gradients",
        "spikes",
        "a larger loss",
        "a loss from nearly none",
        "the loss of RL",
        "a sharper policy",
        "a dry spell",
        "few steps",
        "entropy of SFT",
    ],
)
def test_what_runs_that_learn_do_stops_nothing(metrics):
    assert all(divergence(metrics[:end], LIMITS) is None for end in range(1, len(metrics) + 1))


class NoRouters:
    def step(self, step, last):
        return {}


@pytest.fixture
def log(tmp_path):
    """Logs a step as the trainer does, in a callback that a new process would have made."""
    context = stage_context(tmp_path)

    def step(number, **changes):
        state = type("State", (), {"global_step": number, "max_steps": 20})()
        MetricsLog(context, (), cast(RouterMetrics, NoRouters())).on_log(
            None, state, None, GOOD | changes
        )

    return step


def test_a_step_that_diverged_names_the_checkpoint_to_go_back_to_and_leaves_it(tmp_path, log):
    kept = tmp_path / "resume" / "checkpoint-8"
    kept.mkdir(parents=True)
    log(9)
    with pytest.raises(
        RunFailed, match=f"step 10: loss is not finite; the last checkpoint before is {kept}"
    ):
        log(10, loss=float("nan"))
    assert kept.is_dir() and [
        row["step"] for row in read_json_lines(tmp_path / "metrics.jsonl")
    ] == [9]


def test_a_resumed_stage_remembers_its_first_steps(log):
    for number in range(10):
        log(number)
    for number in (10, 11):
        log(number, grad_norm=90.0)
    with pytest.raises(RunFailed, match="step 12: grad_norm is 90"):
        log(12, grad_norm=90.0)


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    folder = tmp_path_factory.mktemp("base")
    context = stage_context(folder)
    make_base(BaseStage.model_validate({"model": {"preset": "nano"}}), {}, context)
    return folder


@pytest.mark.parametrize(
    ("rate", "words"), [(1.0, "step [0-9]+: the loss is"), (1e30, "grad_norm is not finite")]
)
def test_a_learning_rate_that_breaks_the_model_stops_sft(tmp_path, base, rate, words):
    prompts = [prompt_of(str(n), f"say {n}", str(n)) for n in range(64)]
    write_prompts(tmp_path / "prompts.parquet", prompts)
    stage = {
        "id": "sft",
        "kind": "sft",
        "on": "prompts",
        "train": "full",
        "batch_size": 4,
        "learning_rate": rate,
    }
    execution = ExecutionConfig(save_every=2)
    context = stage_context(tmp_path / "sft", execution=execution)
    context.folder.mkdir()
    with pytest.raises(RunFailed, match=words):
        sft(
            SftStage.model_validate(stage),
            {"checkpoint": base, "prompts": tmp_path},
            context,
        )
    assert not (context.folder / "checkpoint").exists()
    assert all(
        row["loss"] == row["loss"] for row in read_json_lines(context.folder / "metrics.jsonl")
    )
