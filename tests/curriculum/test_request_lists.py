"""The lists of requests that a step asks for, one after another: each is one wait for the
engine."""

from collections import Counter
from functools import partial
from hashlib import sha256

import pytest

from builders.simulated_policy import SimulatedPolicy
from curriculum.config import (
    DropZeroVariance,
    DynamicSampling,
    Gaussian,
    Posterior,
    Refilter,
    Uniform,
)
from curriculum.curriculum import Curriculum
from curriculum.ledger import Ledger
from curriculum.posterior import Beta
from curriculum.records import NewPrompt
from curriculum.requests import RolloutResult

DIGESTS = [
    (Uniform(), "237921932e4a582b"),
    (DropZeroVariance(), "ebbeb0796b1398d5"),
    (DynamicSampling(), "bdf77167065f8487"),
    (Refilter(refilter_every=2), "2c54dcb25f7a5ec4"),
    (Gaussian(plateau_steps=1), "27f554ca45f4584f"),
]
"""Of what the other kinds ask for and select in six steps."""
BOTH, FAIL, DOUBT = (1, 1, 0), (0, 2, 0), (0, 1, 1)
"""Passes, fails and faults of a pilot. From a flat prior, 6 rollouts more than `FAIL` have a spread
with probability 2/3, more than `DOUBT` with 3/4."""


def lists_of(curriculum, answer, version=0):
    """A step's lists of requests, and its selection; `answer` gives the result of a request."""
    asking, lists = curriculum.step(version), []
    try:
        requests = next(asking)
        while True:
            lists.append(requests)
            requests = asking.send([answer(request) for request in requests])
    except StopIteration as end:
        return lists, end.value


def scripted(pilots, each=20, **settings):
    """A step of four groups from a flat pool, half of it of each capability. The pilots come out as
    told, in the order of the draws, and every rest fails."""
    ledger, pilots = Ledger(None), iter(pilots)
    ledger.add(
        NewPrompt(f"{capability}{n}", capability, "s", Beta(1, 1))
        for capability in "xy"
        for n in range(each)
    )
    config = {"prior": "judge", "sure": 1.0, "commit_above": 0.7, "explore": 1e-9, **settings}
    curriculum = Curriculum(Posterior(**config), ledger, groups=4, group_size=8, seed=0)

    def answer(request):
        if request.purpose == "rest":
            return RolloutResult(0, request.rollouts)
        passes, fails, faults = next(pilots)
        return RolloutResult(passes, fails, {"verifier_crash": faults} if faults else {})

    return lists_of(curriculum, answer)


def by_purpose(requests, purpose):
    return [request.id for request in requests if request.purpose == purpose]


def capabilities(ids):
    return Counter(id[0] for id in ids)


def test_pilots_of_replacements_go_out_with_the_rest_of_what_was_committed():
    script = [BOTH, DOUBT, FAIL, FAIL, BOTH, BOTH, BOTH]
    (first, second, third, fourth), chosen = scripted(script)
    a, b, c, d = by_purpose(first, "pilot")
    assert by_purpose(second, "rest") == [a, b]
    e, f = by_purpose(second, "pilot")
    assert capabilities([e, f]) == capabilities([c, d])
    (g,) = by_purpose(third, "pilot")  # in the place of b, whose rest failed in the second list
    assert by_purpose(third, "rest") == [e, f] and g[0] == b[0]
    assert [(one.id, one.rollouts, one.purpose) for one in fourth] == [(g, 6, "rest")]
    assert chosen.train == chosen.counted == [a, e, f, g]


@pytest.mark.parametrize(("rounds", "asked"), [(1, [4, 2]), (2, [4, 4, 2]), (3, [4, 4, 3, 1])])
def test_a_step_draws_in_no_more_rounds_than_allowed_and_completes_what_it_committed(rounds, asked):
    script = [BOTH, DOUBT, FAIL, FAIL, BOTH, BOTH, BOTH]
    lists, chosen = scripted(script, max_rounds=rounds)
    assert list(map(len, lists)) == asked
    assert not any(request.purpose == "pilot" for request in lists[-1])
    assert len(chosen.train) == [1, 3, 4][rounds - 1]


def test_a_step_whose_pilots_all_promise_takes_two_lists():
    (pilots, rest), chosen = scripted([BOTH] * 4)
    assert {one.rollouts for one in pilots} == {2} and {one.rollouts for one in rest} == {6}
    assert len(chosen.train) == 4


def test_a_failed_rest_is_replaced_though_no_group_was_missing_meanwhile():
    lists, chosen = scripted([DOUBT, *[BOTH] * 4])
    assert [len(one) for one in lists] == [4, 4, 1, 1]
    assert by_purpose(lists[2], "pilot")[0][0] == by_purpose(lists[0], "pilot")[0][0]
    assert len(chosen.train) == 4


def test_a_capability_without_further_prompts_ends_the_step_after_its_rest():
    lists, chosen = scripted([BOTH, BOTH, FAIL, FAIL], each=2)
    assert [len(one) for one in lists] == [4, 2] and len(chosen.train) == 2


def test_without_pilots_whole_groups_are_replaced_at_once():
    whole = [(4, 4, 0), (0, 8, 0), (8, 0, 0), (4, 4, 0), (4, 4, 0), (4, 4, 0)]
    lists, chosen = scripted(whole, pilot=0)
    assert [[one.rollouts for one in requests] for requests in lists] == [[8] * 4, [8] * 2]
    assert {one.purpose for requests in lists for one in requests} == {"group"}
    assert len(chosen.train) == 4


def test_a_pilot_that_cannot_be_rolled_out_has_no_rest_and_is_replaced():
    ledger, refused = Ledger(None), list[str]()
    ledger.add(NewPrompt(f"x{n}", "x", "s", Beta(1, 1)) for n in range(12))
    curriculum = Curriculum(Posterior(sure=1.0), ledger, groups=4, group_size=8, seed=0)

    def answer(request):
        if request.purpose == "pilot" and len(refused) < 2:
            refused.append(request.id)
            return RolloutResult(0, 0, {"too_long": 1})
        return RolloutResult(1, request.rollouts - 1)

    (first, second, third), chosen = lists_of(curriculum, answer)
    usable = [one.id for one in first if one.id not in refused]
    assert by_purpose(second, "rest") == usable and len(by_purpose(second, "pilot")) == 2
    assert by_purpose(third, "rest") == by_purpose(second, "pilot")
    assert len(chosen.train) == 4 and not set(chosen.train) & set(refused)


@pytest.mark.parametrize(("config", "expected"), DIGESTS, ids=lambda value: str(value)[:20])
def test_the_draws_of_the_other_kinds_do_not_change_between_releases(config, expected):
    policy, digest = SimulatedPolicy(each=20), sha256()
    curriculum = Curriculum(config, policy.ledger(), groups=8, group_size=4, seed=3, steps=6)
    for version in range(6):
        roll = partial(policy.roll, version=version, seed=0)
        lists, chosen = lists_of(curriculum, roll, version)
        for requests in lists:
            lines = [f"{one.id} {one.rollouts} {one.purpose}\n" for one in requests]
            digest.update(("".join(lines) + "\n").encode())
        digest.update(repr((chosen.train, chosen.counted)).encode())
    assert digest.hexdigest()[:16] == expected
