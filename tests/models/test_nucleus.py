"""Top-p in the trainer: log-probabilities of what can be drawn; only a tie is the engine's to
settle."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from builders.packed_groups import POLICY
from models.nucleus import SLACK, truncated
from models.packed import pack

HALF, QUARTER, EIGHTH = (math.log(p) for p in (0.5, 0.25, 0.125))
LOGITS = torch.tensor([[EIGHTH, HALF, EIGHTH, QUARTER]])


def logprobs(logits, target, top_p, engine=0.0):
    """What can be drawn, by token, and its log-probabilities."""
    row = truncated(logits, torch.tensor([target]), top_p, torch.tensor([engine])).log_softmax(-1)[
        0
    ]
    return {token: value for token, value in enumerate(row.tolist()) if value > -1e9}


def test_what_is_drawn_from_is_renormalised():
    assert logprobs(LOGITS, 1, 0.4) == pytest.approx({1: 0.0})
    assert logprobs(LOGITS, 1, 0.7) == pytest.approx({1: math.log(2 / 3), 3: math.log(1 / 3)})
    assert logprobs(LOGITS, 1, 0.9) == pytest.approx({0: EIGHTH, 1: HALF, 2: EIGHTH, 3: QUARTER})
    assert logprobs(LOGITS, 1, 1e-9) == pytest.approx({1: 0.0})


def test_a_tie_is_settled_by_what_the_engine_said_and_nothing_else_is():
    for token_in in (True, False):
        said = math.log(2 / 3) if token_in else 0.0
        for bound in (0.5 - SLACK / 2, 0.5 + SLACK / 2):
            assert (3 in logprobs(LOGITS, 1, bound, said)) == token_in
        assert 3 not in logprobs(LOGITS, 1, 0.5 - 3 * SLACK, said)
        assert 3 in logprobs(LOGITS, 1, 0.5 + 3 * SLACK, said)


def test_what_could_not_be_drawn_has_a_log_probability_all_the_same():
    assert logprobs(LOGITS, 2, 0.4) == pytest.approx({1: math.log(0.8), 2: math.log(0.2)})


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.05, 0.999))
def test_it_is_the_smallest_set_that_has_the_probability(seed, top_p):
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(8, 50, generator=generator, dtype=torch.float64)
    best = logits.argmax(-1)
    kept = truncated(logits, best, top_p, torch.zeros(8, dtype=torch.float64)) > -1e9
    probs = logits.softmax(-1)
    for row, inside in zip(probs, kept, strict=True):
        mass, least = row[inside].sum(), row[inside].min()
        assert mass >= top_p - SLACK and mass - least < top_p + SLACK
        assert not (~inside).any() or row[~inside].max() <= least


def test_gradients_are_those_of_the_distribution_that_is_drawn_from():
    """Its log-probabilities have a mean gradient of nothing over its own draws, as a baseline needs
    it."""
    logits = torch.tensor([[1.0, 0.3, -0.5, -2.0]], requires_grad=True)
    total = torch.zeros(1, 4)
    for target, value in logprobs(logits.detach(), 0, 0.8).items():
        row = truncated(logits, torch.tensor([target]), 0.8, torch.tensor([value])).log_softmax(-1)
        (gradient,) = torch.autograd.grad(row[0, target], logits)
        total += math.exp(value) * gradient
    torch.testing.assert_close(total, torch.zeros(1, 4), rtol=0, atol=1e-6)


def test_packed_rows_give_the_truncated_log_probabilities_and_entropy():
    packed = pack([([10, 11, 12], [[13, 14], [15]])], 0)
    plain, entropies = POLICY(packed=packed)
    engine = plain.detach()
    cut, lower = POLICY(packed=packed, top_p=0.6, engine_logprobs=engine)
    assert not torch.allclose(cut, plain)
    assert (lower < entropies).all() and torch.isfinite(lower).all()
    same, _ = POLICY(packed=packed, top_p=1.0, engine_logprobs=engine)
    assert torch.equal(same, plain)
    cut.sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in POLICY.parameters() if p.grad is not None)
    POLICY.zero_grad()
