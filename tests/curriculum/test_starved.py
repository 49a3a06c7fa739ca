"""A curriculum without anything to learn from says why: faults first, then the prompts."""

import pytest

from builders.simulated_policy import SimulatedPolicy, take
from common.errors import RunFailed
from curriculum.config import DropZeroVariance, DynamicSampling, Posterior, Refilter, Uniform
from curriculum.curriculum import Curriculum
from curriculum.requests import RolloutResult
from curriculum.starved import Dry

KINDS = [Uniform(), DropZeroVariance(), DynamicSampling(), Refilter(), Posterior()]


@pytest.mark.parametrize(
    ("odds", "words", "remedy"),
    [(30.0, "no useful prompt is left", "harder"), (-30.0, "no prompt is solvable", "easier")],
)
@pytest.mark.parametrize("config", KINDS, ids=lambda config: config.kind)
def test_a_run_that_finds_nothing_to_learn_from_says_which(config, odds, words, remedy):
    policy = SimulatedPolicy(each=8)
    policy.odds = dict.fromkeys(policy.odds, odds)
    curriculum = Curriculum(config, policy.ledger(), groups=4, group_size=4, seed=0)
    with pytest.raises(RunFailed, match=words) as caught:
        for version in range(config.empty_steps):
            assert take(curriculum, policy, version)[0].train == []
    assert version == config.empty_steps - 1 and remedy in caught.value.remedy


def test_a_policy_that_training_broke_is_told_from_prompts_that_were_always_too_hard():
    policy = SimulatedPolicy(each=8)
    policy.odds = dict.fromkeys(policy.odds, 0.0)
    curriculum = Curriculum(KINDS[0], policy.ledger(), groups=4, group_size=4, seed=0)
    assert sum(len(take(curriculum, policy, version)[0].train) for version in range(3)) > 6
    policy.odds = dict.fromkeys(policy.odds, -30.0)
    with pytest.raises(
        RunFailed, match=r"no prompt is solvable any more.* after [0-9]+ groups that had both"
    ) as caught:
        for version in range(3, 40):
            take(curriculum, policy, version)
    assert "learning_rate" in caught.value.remedy


class Lost(SimulatedPolicy):
    """All rollouts, or a share of them, end without a verdict."""

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
def test_a_run_whose_answers_cannot_be_graded_names_the_setting_and_not_the_prompts(
    config, reason, masked, remedy
):
    policy = Lost(reason, masked=masked)
    curriculum = Curriculum(config, policy.ledger(), groups=4, group_size=4, seed=0)
    with pytest.raises(
        RunFailed, match=f"([0-9]+) of \\1 rollouts could not be graded \\(\\1 {reason}\\)"
    ) as caught:
        for version in range(config.empty_steps):
            take(curriculum, policy, version)
    assert remedy in caught.value.remedy and "easier" not in str(caught.value) + caught.value.remedy


def test_a_few_faults_are_told_and_the_prompts_are_still_what_is_too_hard():
    policy = Lost("cut_off", share=0.25)
    curriculum = Curriculum(Uniform(), policy.ledger(), groups=4, group_size=4, seed=0)
    with pytest.raises(RunFailed, match=r"no prompt is solvable.*20 of 80 .*20 cut_off") as caught:
        for version in range(5):
            take(curriculum, policy, version)
    assert "easier prompts" in caught.value.remedy and "verifier" in caught.value.remedy


def test_answers_that_training_made_endless_are_laid_to_the_policy_too():
    policy = SimulatedPolicy(each=8)
    policy.odds = dict.fromkeys(policy.odds, 0.0)
    ledger = policy.ledger()
    curriculum = Curriculum(Uniform(), ledger, groups=4, group_size=4, seed=0)
    take(curriculum, policy, 0)
    assert Curriculum(Uniform(), ledger, groups=4, group_size=4, seed=0).dry == Dry()
    with pytest.raises(RunFailed, match="could not be graded") as caught:
        for version in range(1, 6):
            curriculum = Curriculum(
                Uniform(), ledger, groups=4, group_size=4, seed=0
            )  # as if stopped at every step
            take(curriculum, Lost("cut_off"), version)
    assert "max_tokens" in caught.value.remedy and "learning_rate" in caught.value.remedy
