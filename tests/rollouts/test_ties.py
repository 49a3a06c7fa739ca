"""A gap that a near tie of a router explains is not held against the engine; any other is."""

import math
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from builders.contexts import stage_context
from common.errors import RunFailed
from models.adapters import adapted
from models.config import LoraConfig
from models.nano import nano_model, nano_tokenizer
from models.packed import pack
from models.routing import decided, moe_layers
from rollouts import parity, ties
from rollouts.interface import Rollout
from rollouts.parity import Tolerance, trainer_logprobs
from stages.rl.passes import Part
from stages.rl.trainer import RlTrainer
from training.publish import PROBE_GAP, Probe, prove

PROMPT, COMPLETION = list(range(20, 32)), [40, 41, 42, 43]
LIMIT = 1e-5


def tied_policy():
    """A policy in which two experts of the first MoE layer are nearly tied at a token, and the
    place."""
    policy = nano_model(nano_tokenizer(), seed=3).eval()
    layer, block = next(iter(moe_layers(policy).items()))
    heard = []
    hook = block.router.register_forward_hook(lambda *one: heard.append(one[1:]))
    policy(input_ids=torch.tensor([PROMPT + COMPLETION]))
    hook.remove()
    (inputs,), (_, logits) = heard[0]
    token = 5
    first, second = logits[token].topk(2).indices.tolist()
    row = inputs.reshape(-1, inputs.shape[-1])[token]
    with torch.no_grad():  # the second expert's logit becomes the first's, up to rounding
        missing = logits[token, first] - logits[token, second] - 1e-6
        block.router.weight[second] += missing * row / row.square().sum()
    return policy, (layer, token)


def logprobs(policy):
    return trainer_logprobs(policy, [PROMPT], [COMPLETION])


def engine_rows(policy, *other_way):
    with decided(policy, other_way):
        return [logprobs(policy).tolist()]


def test_a_tie_that_the_engine_decided_the_other_way_explains_the_gap():
    policy, tie = tied_policy()
    rows = engine_rows(policy, tie)
    raw = (torch.tensor(rows[0]) - logprobs(policy)).abs().mean().item()
    assert raw > 100 * LIMIT
    gap = ties.without(policy, [PROMPT], [COMPLETION], rows, LIMIT)
    assert gap.mean < LIMIT and gap.tokens == len(COMPLETION)
    Tolerance(exact=True, limit=LIMIT).require(gap, "then")


def test_other_weights_are_not_explained_by_a_tie():
    policy, tie = tied_policy()
    with torch.no_grad():
        policy.lm_head.weight.mul_(1.01)
    rows = engine_rows(policy, tie)
    with torch.no_grad():
        policy.lm_head.weight.div_(1.01)
    gap = ties.without(policy, [PROMPT], [COMPLETION], rows, LIMIT)
    assert gap.mean > LIMIT
    with pytest.raises(RunFailed, match="do not come from the weights that train: report"):
        Tolerance(exact=True, limit=LIMIT).require(gap, "then")


def test_a_choice_that_is_no_near_tie_is_not_explained():
    policy, (layer, token) = tied_policy()
    elsewhere = engine_rows(policy, (layer, token - 1))
    assert ties.without(policy, [PROMPT], [COMPLETION], elsewhere, LIMIT).mean > LIMIT


def test_adapters_and_training_mode_are_left_as_they_were():
    policy, tie = tied_policy()
    wrapped = adapted(policy, LoraConfig()).train()
    rows = engine_rows(wrapped, tie)
    assert ties.without(wrapped, [PROMPT], [COMPLETION], rows, LIMIT).mean < LIMIT
    assert wrapped.training and not any(
        block.router._forward_hooks for block in moe_layers(wrapped).values()
    )


def test_log_probabilities_are_compared_at_the_temperature_of_the_rollouts():
    policy, tie = tied_policy()
    with decided(policy, [tie]):
        packed = pack([(PROMPT, [COMPLETION])], 0)
        rows = policy(packed=packed, temperature=0.7).logprobs.tolist()
    given = policy, [PROMPT], [COMPLETION], rows, LIMIT
    assert ties.without(*given, temperature=0.7).mean < LIMIT < ties.without(*given).mean


class Engine:
    """An engine of one or several copies, each of which decides the tie in its own way."""

    def __init__(self, *copies):
        self.copies = copies

    def score(self, prompts, completions, *, cached=False):
        return self.copies[0]

    def routing(self, sequences):
        return None


class Copies(Engine):
    def score_each(self, prompts, completions):
        return list(self.copies)


@pytest.mark.parametrize("engine", [Engine, Copies])
def test_a_publication_is_proven_by_what_a_tie_does_not_explain(tmp_path, engine):
    policy, tie = tied_policy()
    probe, tolerance = Probe([PROMPT], [COMPLETION]), Tolerance(exact=True, limit=LIMIT)
    rows = engine_rows(policy, tie)
    raw = parity.gap(torch.tensor(rows[0]), logprobs(policy)).mean
    given = stage_context(tmp_path), engine(rows), policy, probe, tolerance, 1
    assert prove(*given)[PROBE_GAP] == pytest.approx(raw) and raw > LIMIT
    wrong = [[value + 1e-3 for value in rows[0]]]
    with pytest.raises(RunFailed, match="after publishing version 1"):
        prove(stage_context(tmp_path), engine(wrong), policy, probe, tolerance, 1)


def test_a_copy_whose_answer_is_not_a_number_is_not_passed_over():
    policy, _ = tied_policy()
    fine = [logprobs(policy).tolist()]
    for copies in ((fine, [[math.nan] * 4]), ([[math.nan] * 4], fine)):
        engine: Any = Copies(*copies)
        gap = ties.of_engine(engine, policy, [PROMPT], [COMPLETION], LIMIT)
        with pytest.raises(RunFailed, match="on server"):
            Tolerance(exact=True, limit=LIMIT).require(gap, "then")


def test_rollouts_are_held_against_the_engine_without_what_ties_explain():
    policy, tie = tied_policy()
    (row,) = engine_rows(policy, tie)
    part = Part(PROMPT, [Rollout(COMPLETION, row, "", "stop")], [1.0])
    trainer: Any = SimpleNamespace(
        policy=policy,
        present=[part],
        tolerance=Tolerance(exact=True, limit=LIMIT),
        config=SimpleNamespace(temperature=1.0, top_p=1.0),
    )
    raw = parity.gap(torch.tensor(row), logprobs(policy))
    assert RlTrainer._unexplained(trainer, raw).mean < LIMIT < raw.mean
    trainer.present = [replace(part, rollouts=[replace(part.rollouts[0], logprobs=[-9.0] * 4)])]
    assert RlTrainer._unexplained(trainer, raw).mean > LIMIT
