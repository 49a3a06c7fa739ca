"""The loss and the gradient of an RL step are TRL's own on the same groups, in however many
passes."""

import copy

import pytest
import torch
from datasets import Dataset
from trl import GRPOConfig, GRPOTrainer

from builders.engine_double import EngineDouble
from common.faults import CUT_OFF
from common.quotas import even_parts
from models.nano import nano_model, nano_tokenizer
from rollouts.interface import Rollout
from rollouts.parity import trainer_logprobs
from stages.rl.collector import StepBatch
from stages.rl.groups import Group, Member
from stages.rl.passes import forward_passes
from stages.rl.trainer import RlTrainer

TOKENIZER = nano_tokenizer()
START, END = nano_model(TOKENIZER, seed=3), TOKENIZER.eos_token_id
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
    )


def gradient(model):
    return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])


def of_trl(folder, groups, cut_off):
    """Loss and gradient of TRL's trainer, which is told the prompts, the completions and the
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
    loss = trainer.training_step(
        model, [{"prompt": g.prompt_id} for g in groups for _ in g.members], None
    )
    return loss, gradient(model)


class SameWeights(EngineDouble):
    """An engine that holds the policy that it is given."""

    def publish(self, weights, version):
        self.weights, self.version = list(weights), version

    def score(self, prompts, completions):
        scored = trainer_logprobs(START, prompts, completions)
        return [row.tolist() for row in scored.split([len(c) for c in completions])]

    def routing(self, sequences):
        return None


def of_ours(folder, groups, counted, limit=32):
    """The trainer after one training step, with its loss and gradient."""
    chosen = [g for g in groups if g.mixed]
    tokens = sum(g.loss_tokens for g in counted)
    done = StepBatch(chosen, groups, forward_passes(chosen, limit), tokens)
    model = copy.deepcopy(START)
    trainer = RlTrainer(
        policy=model,
        args=settings(folder, 12),
        tokenizer=TOKENIZER,
        engine=SameWeights(),
        collect=lambda step: done,
        probes=([[20, 21]], [[22, 23]]),
        tolerance=1e-3,
    )
    trainer.current_gradient_accumulation_steps = 1
    return trainer, trainer.training_step(model, {}), gradient(model)


@pytest.mark.parametrize("cut_off", ["mask", "zero"])
@pytest.mark.parametrize("cuts", [False, True], ids=["none cut off", "some cut off"])
def test_loss_and_gradient_are_those_of_trl(tmp_path, cuts, cut_off):
    groups = some_groups(cuts, cut_off)
    expected, wanted = of_trl(tmp_path / "trl", groups, cut_off)
    _, loss, found = of_ours(tmp_path / "ours", groups, counted=groups)
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
    assert whole.passes == 1 and whole.engine.version == whole.state.global_step == 0
    for limit in (1, 2, 3, sequences - 1):
        trainer, divided, found = of_ours(tmp_path, groups, mixed, limit)
        assert trainer.passes == -(-sequences // limit)
        assert divided.item() == pytest.approx(loss.item(), abs=1e-6)
        assert (found - wanted).abs().max() <= 1e-6 < 1e-3 < wanted.abs().max()
        for name in ("entropy", "parity/rollout_gap", "parity/largest_gap"):
            (value,), (known,) = trainer._metrics["train"][name], whole._metrics["train"][name]
            assert value == pytest.approx(known, rel=1e-4, abs=1e-6), name


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
