"""The error of a curriculum without mixed groups names its cause: faults first, then prompts."""

import pytest

from builders.simulated_policy import SimulatedPolicy, take
from common.errors import RunFailed
from curriculum.config import (
    CurriculumConfig,
    DropZeroVariance,
    DynamicSampling,
    Gaussian,
    Posterior,
    Refilter,
    Uniform,
)
from curriculum.curriculum import Curriculum
from curriculum.empty_steps import EmptySteps
from curriculum.requests import RolloutResult

KINDS: list[CurriculumConfig] = [
    Uniform(),
    DropZeroVariance(),
    DynamicSampling(),
    Refilter(),
    Gaussian(),
    Posterior(),
]


@pytest.mark.parametrize(
    ("odds", "words", "remedy"),
    [(30.0, "no useful prompt is left", "harder"), (-30.0, "no prompt is solvable", "easier")],
)
@pytest.mark.parametrize("config", KINDS, ids=lambda config: config.kind)
def test_a_run_without_mixed_groups_says_whether_prompts_are_solved_or_too_hard(
    config, odds, words, remedy
):
    policy = SimulatedPolicy(each=8)
    policy.odds = dict.fromkeys(policy.odds, odds)
    curriculum = Curriculum(config, policy.ledger(), groups=4, group_size=4, seed=0, steps=60)
    with pytest.raises(RunFailed, match=words) as caught:
        for version in range(config.empty_steps):
            assert take(curriculum, policy, version)[0].train == []
    assert version == config.empty_steps - 1 and remedy in caught.value.remedy


def test_a_policy_that_training_broke_is_distinguished_from_prompts_that_were_always_too_hard():
    policy = SimulatedPolicy(each=8)
    policy.odds = dict.fromkeys(policy.odds, 0.0)
    curriculum = Curriculum(KINDS[0], policy.ledger(), groups=4, group_size=4, seed=0)
    assert sum(len(take(curriculum, policy, version)[0].train) for version in range(3)) > 6
    policy.odds = dict.fromkeys(policy.odds, -30.0)
    with pytest.raises(
        RunFailed, match=r"no prompt is solvable any more.* after [0-9]+ groups whose rewards did"
    ) as caught:
        for version in range(3, 40):
            take(curriculum, policy, version)
    assert "learning_rate" in caught.value.remedy


class Ungraded(SimulatedPolicy):
    """All rollouts, or a share of them, end without a grade."""

    def __init__(self, reason, share=1.0, masked=True):
        super().__init__(each=8)
        self.reason, self.share, self.masked = reason, share, masked

    def roll(self, request, version, seed):
        lost = round(self.share * request.rollouts)
        if self.masked:
            return RolloutResult(
                0, request.rollouts - lost, {self.reason: lost}, tokens=request.rollouts
            )
        return RolloutResult(0, request.rollouts, {}, tokens=request.rollouts, cut_off=lost)


@pytest.mark.parametrize("config", KINDS, ids=lambda config: config.kind)
@pytest.mark.parametrize(
    ("reason", "masked", "remedy"),
    [
        ("cut_off", True, "max_tokens"),
        ("cut_off", False, "max_tokens"),
        ("timeout", True, "verifier"),
        ("verifier_crash", True, "verifier"),
        ("too_long", True, "rollouts.max_model_len"),
    ],
)
def test_ungraded_answers_name_the_setting_and_not_the_prompts(config, reason, masked, remedy):
    policy = Ungraded(reason, masked=masked)
    curriculum = Curriculum(config, policy.ledger(), groups=4, group_size=4, seed=0, steps=60)
    with pytest.raises(
        RunFailed, match=f"([0-9]+) of \\1 rollouts could not be graded \\(\\1 {reason}\\)"
    ) as caught:
        for version in range(config.empty_steps):
            take(curriculum, policy, version)
    assert remedy in caught.value.remedy and "easier" not in str(caught.value) + caught.value.remedy


def test_with_few_faults_the_message_counts_them_and_names_the_prompts_as_too_hard():
    policy = Ungraded("cut_off", share=0.25)
    curriculum = Curriculum(Uniform(), policy.ledger(), groups=4, group_size=4, seed=0)
    with pytest.raises(RunFailed, match=r"no prompt is solvable.*20 of 80 .*20 cut_off") as caught:
        for version in range(5):
            take(curriculum, policy, version)
    assert "easier prompts" in caught.value.remedy and "verifier" in caught.value.remedy


def test_answers_that_only_training_made_endless_name_the_learning_rate_too():
    policy = SimulatedPolicy(each=8)
    policy.odds = dict.fromkeys(policy.odds, 0.0)
    ledger = policy.ledger()
    curriculum = Curriculum(Uniform(), ledger, groups=4, group_size=4, seed=0)
    take(curriculum, policy, 0)
    assert Curriculum(Uniform(), ledger, groups=4, group_size=4, seed=0).empty == EmptySteps()
    with pytest.raises(RunFailed, match="could not be graded") as caught:
        for version in range(1, 6):
            curriculum = Curriculum(
                Uniform(), ledger, groups=4, group_size=4, seed=0
            )  # resumed at every step
            take(curriculum, Ungraded("cut_off"), version)
    assert "max_tokens" in caught.value.remedy and "learning_rate" in caught.value.remedy
