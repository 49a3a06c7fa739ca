"""The loss and the gradient of an RL step equal those of TRL's trainer on the same groups, in
however many passes."""

import copy

import pytest
import torch
from datasets import Dataset
from trl import GRPOConfig, GRPOTrainer
from trl.trainer.utils import add_fused_lm_head

from builders.rl_trainer import SameWeights, rl_trainer
from common.faults import CUT_OFF
from common.quotas import even_parts
from models.nano import nano_model, nano_tokenizer
from rollouts.interface import Rollout
from rollouts.parity import trainer_logprobs
from stages.rl.collector import StepBatch
from stages.rl.groups import Group, Member
from stages.rl.kl import Reference
from stages.rl.loss import dapo_loss
from stages.rl.passes import forward_passes

TOKENIZER = nano_tokenizer()
START, END = nano_model(TOKENIZER, seed=3), TOKENIZER.eos_token_id
REFERENCE = nano_model(TOKENIZER, seed=4).requires_grad_(False).eval()
LIMIT = 12
"""Longest completion."""


def completion(length, first, whole=True):
    tokens = list(range(first, first + length))
    return [*tokens[:-1], END] if whole else tokens


def group(name, prompt, rewards, cut_off):
    """A group; a reward of None is a completion that was cut off."""
    members = []
    for place, reward in enumerate(rewards):
        whole = reward is not None
        ids = completion(3 + place if whole else LIMIT, 10 + 7 * place + len(prompt), whole)
        # The engine's differ a little, and from one completion to the next.
        logprobs = (trainer_logprobs(START, [prompt], [ids]) + 1e-4 * (place + 1)).tolist()
        fault = None if whole or cut_off == "zero" else CUT_OFF
        members.append(Member(Rollout(ids, logprobs, "", "stop"), reward or 0.0, fault, not whole))
    return Group(name, "words", prompt, members, probe=False)


def some_groups(cuts, cut_off):
    cut = None if cuts else 0.0
    return [
        group("a", [20, 21, 22, 23, 24], [1.0, 0.0, cut, 1.0], cut_off),
        group("b", [30, 31], [cut, 1.0, 0.0, cut], cut_off),
        group("flat", [40, 41, 42], [0.0, 0.0, cut, 0.0], cut_off),
    ]


def settings(folder, rows):
    return GRPOConfig(
        output_dir=str(folder),
        per_device_train_batch_size=rows,
        num_generations=4,
        max_completion_length=LIMIT,
        beta=0.0,
        loss_type="dapo",
        report_to=[],
        use_cpu=True,
        bf16=False,
        max_steps=1,
        shuffle_dataset=False,
        use_bias_correction_kl=True,
    )


def gradient(model):
    return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])


def of_trl(folder, groups, cut_off, kl_weight=0.0):
    """Loss and gradient of TRL's trainer, which is given the prompts, the completions and the
    rewards."""
    model = copy.deepcopy(START)
    members = {tuple(m.rollout.token_ids): m for g in groups for m in g.members}
    args = settings(folder, 4 * len(groups))
    args.mask_truncated_completions = cut_off == "mask"

    def roll(prompts, trainer):
        found = [member.rollout for g in groups for member in g.members]
        ids = [g.prompt_ids for g in groups for _ in g.members]
        assert prompts == [g.prompt_id for g in groups for _ in g.members]
        return {
            "prompt_ids": ids,
            "completion_ids": [r.token_ids for r in found],
            "logprobs": [r.logprobs for r in found],
        }

    def reward(completion_ids, **_):
        # None is how TRL is told that a completion cannot be scored.
        known = [members[tuple(ids)] for ids in completion_ids]
        return [None if member.fault else member.reward for member in known]

    rows = Dataset.from_dict({"prompt": [g.prompt_id for g in groups]})
    trainer = GRPOTrainer(
        model, reward, args, train_dataset=rows, processing_class=TOKENIZER, rollout_func=roll
    )
    trainer.current_gradient_accumulation_steps = 1
    if kl_weight:
        # Set here: TRL would make a reference of its own, from the path of the model.
        trainer.beta, trainer.ref_model = kl_weight, copy.deepcopy(REFERENCE)
        add_fused_lm_head(trainer.ref_model)
    loss = trainer.training_step(
        model, [{"prompt": g.prompt_id} for g in groups for _ in g.members], None
    )
    return loss, gradient(model)


def of_ours(folder, groups, counted, limit=32, kl_weight=0.0):
    """The trainer after one training step, with its loss and gradient."""
    chosen = [g for g in groups if g.mixed]
    tokens = sum(g.loss_tokens for g in counted)
    batch = StepBatch(chosen, groups, forward_passes(chosen, limit), tokens)
    model = copy.deepcopy(START)
    engine = SameWeights(START)
    trainer = rl_trainer(
        model,
        folder,
        batch,
        engine=engine,
        reference=Reference(kl_weight, copy.deepcopy(REFERENCE), False) if kl_weight else None,
        parity_tolerance=1e-3,
        kl_weight=kl_weight,
    )
    return trainer, trainer.training_step(model, {}), gradient(model)


@pytest.mark.parametrize("cut_off", ["mask", "zero"])
@pytest.mark.parametrize("cuts", [False, True], ids=["none cut off", "some cut off"])
@pytest.mark.parametrize("kl_weight", [0.0, 0.3])
def test_loss_and_gradient_are_those_of_trl(tmp_path, cuts, cut_off, kl_weight):
    groups = some_groups(cuts, cut_off)
    if kl_weight:  # TRL adds the KL term of a group without a spread; we do not train on it
        groups = [g for g in groups if g.mixed]
    expected, wanted = of_trl(tmp_path / "trl", groups, cut_off, kl_weight)
    _, loss, found = of_ours(tmp_path / "ours", groups, counted=groups, kl_weight=kl_weight)
    assert wanted.norm() > 0.1 and loss.item() == pytest.approx(expected.item(), abs=1e-6)
    assert (found - wanted).norm() <= 1e-5 * wanted.norm()


def test_two_whole_answers_of_four_tokens_beside_two_cut_ones_divide_by_eight():
    members = [
        Member(Rollout([5] * n, [0.0] * n, "", "stop"), r, f)
        for n, r, f in ((4, 1.0, None), (4, 0.0, None), (32, 0.0, CUT_OFF), (32, 0.0, CUT_OFF))
    ]
    assert Group("p", "words", [1], members, probe=False).loss_tokens == 8


@pytest.mark.parametrize("cut_off", ["mask", "zero"])
def test_any_number_of_passes_gives_the_same_gradient_and_figures(tmp_path, cut_off):
    groups = some_groups(True, cut_off)
    mixed = [g for g in groups if g.mixed]
    sequences = sum(len(g.usable) for g in mixed)
    whole, loss, wanted = of_ours(tmp_path, groups, mixed)
    version = whole.leader.engine.version
    figures = whole.metrics.take()
    assert whole.passes == 1 and version == whole.state.global_step == 0
    for limit in (1, 2, 3, sequences - 1):
        trainer, divided, found = of_ours(tmp_path, groups, mixed, limit)
        assert trainer.passes == -(-sequences // limit)
        assert divided.item() == pytest.approx(loss.item(), abs=1e-6)
        assert (found - wanted).abs().max() <= 1e-6 < 1e-3 < wanted.abs().max()
        divided_figures = trainer.metrics.take()
        for name in ("entropy", "parity/rollout_gap", "parity/largest_gap"):
            known = pytest.approx(figures[name], rel=1e-4, abs=1e-6)
            assert divided_figures[name] == known, name


class Counting(torch.nn.Module):
    """Wraps a policy as DDP does, and counts the calls of its forward."""

    def __init__(self, module):
        super().__init__()
        self.module, self.calls = module, 0

    def forward(self, *args, **kwargs):
        self.calls += 1
        return self.module(*args, **kwargs)


@pytest.mark.parametrize("limit", [2, 32])
def test_a_pass_calls_the_forward_of_the_wrapped_model_once(tmp_path, limit):
    groups = [g for g in some_groups(True, "mask") if g.mixed]
    batch = StepBatch(groups, groups, forward_passes(groups, limit), 20)
    model = copy.deepcopy(START)
    trainer = rl_trainer(model, tmp_path, batch, engine=SameWeights(START), parity_tolerance=1e-3)
    wrapped = Counting(model)
    trainer.training_step(wrapped, {})
    assert wrapped.calls == trainer.passes == -(-5 // limit)
    assert gradient(model).norm() > 0


def test_a_step_without_groups_has_a_loss_of_zero_and_a_gradient_to_step_on(tmp_path):
    model = copy.deepcopy(START)
    trainer = rl_trainer(model, tmp_path, StepBatch())
    loss = trainer.training_step(model, {})
    found = gradient(model)
    assert loss.item() == 0 and trainer.passes == 1
    assert len(found) and not found.any()


def test_a_clipped_ratio_has_no_gradient():
    """Where the policy moved away from the one that sampled; by hand from the formula."""
    old, mask = torch.tensor([[0.0, 0.0], [0.0, 0.0]]), torch.ones(2, 2)
    logprobs = torch.log(torch.tensor([[1.1, 1.3], [0.9, 0.7]])).requires_grad_()
    loss, kl = dapo_loss(logprobs, old, torch.tensor([2.0, -1.0]), mask, torch.tensor(4))
    assert kl is None
    assert loss.item() == pytest.approx(-(2 * (1.1 + 1.2) - (0.9 + 0.8)) / 4)
    loss.backward()
    assert logprobs.grad is not None
    expected = torch.tensor([[-2 * 1.1 / 4, 0.0], [0.9 / 4, 0.0]])
    torch.testing.assert_close(logprobs.grad, expected)


@pytest.mark.parametrize(
    ("count", "most", "sizes"), [(17, 16, [9, 8]), (32, 32, [32]), (5, 2, [2, 2, 1]), (0, 4, [])]
)
def test_passes_are_as_few_and_as_even_as_the_limit_allows(count, most, sizes):
    assert even_parts(count, most) == sizes


def test_a_fault_does_not_go_through_the_model():
    groups = [g for g in some_groups(True, "mask") if g.mixed]
    sent = [
        rollout.token_ids
        for parts in forward_passes(groups, 2)
        for part in parts
        for rollout in part.rollouts
    ]
    assert sorted(sent) == sorted(member.rollout.token_ids for g in groups for member in g.usable)
    assert len(sent) == 5
    advantages = sorted(
        value for parts in forward_passes(groups, 2) for part in parts for value in part.advantages
    )
    assert advantages == sorted(value for g in groups for value in g.advantages())
