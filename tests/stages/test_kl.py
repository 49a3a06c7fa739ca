"""The KL term of RL: value and gradient are those of the estimator written out by hand, with
adapters or without."""

from typing import Any

import pytest
import torch

from builders.rl_trainer import STAGE, rl_trainer
from models.checkpoint import load_policy, save_policy
from models.nano import nano_model, nano_tokenizer
from models.routing import RouterWatch
from rollouts.interface import Rollout
from rollouts.parity import trainer_logprobs
from stages.rl.batch import collate
from stages.rl.config import RlStage
from stages.rl.groups import Group, Member
from stages.rl.kl import reference_of
from stages.rl.passes import Part
from training.policy import load

TOKENIZER = nano_tokenizer()
WEIGHT = 0.3
SIZES: dict[str, Any] = {"group_size": 3, "prompts_per_step": 2}
SHAPES = [
    ([10, 11, 12, 13], [[20, 21], [22], [23, 24, 25]]),
    ([30, 31], [[40, 41, 42], [43, 44, 45]]),
]
REWARDS = [1.0, 0.0, 0.0]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    folder = tmp_path_factory.mktemp("kl") / "checkpoint"
    save_policy(nano_model(TOKENIZER, seed=3), TOKENIZER, folder)
    return folder


def stage(**settings):
    return RlStage.model_validate({**STAGE, **SIZES, **settings})


def moved(policy):
    """The policy after some training."""
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in policy.parameters():
            if parameter.requires_grad:
                parameter += 0.05 * torch.randn_like(parameter)


def groups_of(policy):
    """Groups whose rollouts the engine gave the log-probabilities of the policy."""
    groups = []
    for prompt, completions in SHAPES:
        logprobs = [trainer_logprobs(policy, [prompt], [one]).tolist() for one in completions]
        rollouts = [
            Rollout(ids, said, "", "stop") for ids, said in zip(completions, logprobs, strict=True)
        ]
        members = [
            Member(one, reward, None) for one, reward in zip(rollouts, REWARDS, strict=False)
        ]
        groups.append(Group("p", "w", prompt, members, probe=False))
    return groups


def trainer_of(checkpoint, folder, **settings):
    """A trainer in the middle of its stage, and the batch of a pass."""
    config = stage(**settings)
    trained = load(config, checkpoint, 0)
    reference = reference_of(config, trained.policy, checkpoint)
    moved(trained.policy)
    trainer = rl_trainer(trained.policy, folder, reference=reference, **SIZES, **settings)
    groups = groups_of(trained.policy)
    parts = [
        Part(g.prompt_ids, [member.rollout for member in g.members], g.advantages()) for g in groups
    ]
    return trainer, collate(parts, TOKENIZER.pad_token_id, loss_tokens=11), groups


def gradients(policy, loss):
    policy.zero_grad()
    loss.backward()
    return {name: p.grad.clone() for name, p in policy.named_parameters() if p.grad is not None}


def differentiable(policy, prompt, completion):
    logits = policy(input_ids=torch.tensor([prompt + completion])).logits[0, len(prompt) - 1 : -1]
    return logits.log_softmax(-1).gather(1, torch.tensor(completion)[:, None])[:, 0]


def by_hand(policy, start, groups, weight):
    """The loss from separate sequences: the policy gradient, and Schulman's k3 with the importance
    ratio."""
    loss = torch.zeros(())
    for group in groups:
        for member, advantage in zip(group.members, group.advantages(), strict=True):
            ids = member.rollout.token_ids
            logprobs = differentiable(policy, group.prompt_ids, ids)
            log_r = trainer_logprobs(start, [group.prompt_ids], [ids]) - logprobs
            ratio = (logprobs - logprobs.detach()).exp()
            loss = loss - (ratio * advantage - weight * ratio * (log_r.exp() - log_r - 1)).sum()
    return loss / 11


@pytest.mark.parametrize("train", ["lora", "full"])
def test_loss_and_gradient_are_those_of_the_estimator_by_hand(checkpoint, tmp_path, train):
    trainer, batch, groups = trainer_of(checkpoint, tmp_path, train=train, kl_weight=WEIGHT)
    policy = trainer.accelerator.unwrap_model(trainer.model).train()
    loss = trainer.compute_loss(trainer.model, batch)
    found = gradients(policy, loss)
    wanted = by_hand(policy, load_policy(checkpoint), groups, WEIGHT)
    assert loss.item() == pytest.approx(wanted.item(), abs=1e-5)
    expected, plain = (
        gradients(policy, wanted),
        gradients(policy, by_hand(policy, policy, groups, 0.0)),
    )
    norm = sum(g.norm() ** 2 for g in expected.values()) ** 0.5
    assert (
        found.keys()
        == expected.keys()
        == {n for n, p in policy.named_parameters() if p.requires_grad}
    )
    assert sum((found[n] - expected[n]).norm() ** 2 for n in found) ** 0.5 < 1e-4 * norm
    assert sum((found[n] - plain[n]).norm() ** 2 for n in found) ** 0.5 > 1e-2 * norm
    expected_kl = kl_of(policy, load_policy(checkpoint), groups)
    assert trainer.metrics.take()["kl"] == pytest.approx(expected_kl, rel=1e-3)


def kl_of(policy, start, groups):
    """The mean of k3 over the tokens."""
    rows = [
        (group.prompt_ids, member.rollout.token_ids) for group in groups for member in group.members
    ]
    log_r = trainer_logprobs(start, *zip(*rows, strict=True)) - trainer_logprobs(
        policy, *zip(*rows, strict=True)
    )
    return (log_r.exp() - log_r - 1).mean().item()


@pytest.mark.parametrize("train", ["lora", "full"])
def test_without_a_weight_there_is_no_reference_and_nothing_changes(checkpoint, tmp_path, train):
    trainer, batch, groups = trainer_of(checkpoint, tmp_path, train=train)
    assert trainer.reference is None
    policy = trainer.accelerator.unwrap_model(trainer.model).train()
    loss = trainer.compute_loss(trainer.model, batch)
    assert "kl" not in trainer.metrics.take()
    assert loss.item() == pytest.approx(by_hand(policy, policy, groups, 0.0).item(), abs=1e-5)


def test_the_start_is_at_no_distance_from_itself_and_routers_do_not_count_the_reference(
    checkpoint, tmp_path
):
    # The engine's log-probabilities are those of the policy before it is put back to its start.
    trainer, batch, _ = trainer_of(checkpoint, tmp_path, kl_weight=WEIGHT, parity_tolerance=99.0)
    policy = trainer.accelerator.unwrap_model(trainer.model).train()
    with torch.no_grad():
        for name, parameter in policy.named_parameters():
            if "lora_B" in name:
                parameter.zero_()
    watch = RouterWatch(policy)
    assert trainer.reference is not None
    found = trainer.reference.logprobs(batch["packed"], 1.0)
    assert not watch.counts and policy.training and not found.requires_grad
    assert {n for n, p in policy.named_parameters() if p.requires_grad} == {
        n for n, _ in policy.named_parameters() if "lora_" in n
    }
    with torch.no_grad():
        trainer.compute_loss(trainer.model, batch)
    assert trainer.metrics.take()["kl"] == pytest.approx(0, abs=1e-9)


def test_a_kl_term_of_truncated_rollouts_is_refused():
    with pytest.raises(
        ValueError, match=r"kl_weight \(0.1\) with top_p \(0.9\).*give top_p: 1, or kl_weight: 0"
    ):
        stage(kl_weight=0.1, top_p=0.9)


@pytest.mark.parametrize(
    "wrong", [{"kl_weight": -0.1}, {"top_p": 0.0}, {"top_p": 1.1}, {"kl_weight": float("nan")}]
)
def test_what_is_out_of_range_is_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        stage(**wrong)
