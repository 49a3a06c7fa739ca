"""When SFT ends and what it keeps, as pure functions of what its probes measured."""

import random
from itertools import combinations
from math import comb

import pytest
from pydantic import ValidationError

from stages.sft.probe_figures import pass_at_k
from stages.sft.stop_when import StopWhen
from stages.sft.stopping import Measured, best, ended_by, is_valid


def probes(*points, every=10):
    """Probes with the given (pass@k, format, entropy), or with a pass@k alone."""
    whole = [one if isinstance(one, tuple) else (one, 1.0, 1.0) for one in points]
    return [Measured(every * n, p, e, f) for n, (p, f, e) in enumerate(whole, start=1)]


def end_of(points, settings):
    """The step at which SFT ends and why; None if the probes do not end it."""
    for count in range(1, len(points) + 1):
        why = ended_by(points[:count], settings)
        if why is not None:
            return points[count - 1].step, why
    return None


BAD = 0.5
"""A format validity below the limit of 0.9."""


@pytest.mark.parametrize(
    ("points", "settings", "end", "kept"),
    [
        # Rises, then two probes without anything better.
        ((0.2, 0.4, 0.6, 0.5, 0.6, 0.7), {}, (50, "patience"), 30),
        ((0.2, 0.4, 0.6, 0.5, 0.6, 0.7), {"patience": 3}, None, 60),
        ((0.2, 0.4, 0.6, 0.5, 0.6, 0.7), {"patience": None}, None, 60),
        ((0.2, 0.4, 0.6, 0.5), {"patience": 1}, (40, "patience"), 30),
        # An equal one is no rise: the earlier is kept.
        ((0.5, 0.5, 0.5), {}, (30, "patience"), 10),
        ((0.0, 0.0, 0.0), {}, (30, "patience"), 10),
        # The pass rate that was asked for.
        ((0.2, 0.5, 0.6), {"pass_at_k": 0.5}, (20, "pass_at_k"), 20),
        ((0.2, 0.4, 0.45), {"pass_at_k": 0.5}, None, 30),
        # Reached without the format: not yet.
        (((0.9, BAD, 1.0), (0.8, 0.9, 1.0)), {"pass_at_k": 0.7}, (20, "pass_at_k"), 20),
        # Nothing can be kept, so patience has not begun.
        (((0.9, BAD, 1.0),) * 5, {}, None, None),
        # What is not valid is nothing better, however high.
        ((0.3, (0.9, BAD, 1.0), (0.9, BAD, 1.0)), {}, (30, "patience"), 10),
        # The entropy ends it whatever the format, strictly below the floor.
        (((0.9, BAD, 0.19),), {"entropy": 0.2}, (10, "entropy"), None),
        (((0.9, BAD, 0.2),), {"entropy": 0.2}, None, None),
        (((0.1, 1.0, 0.9), (0.2, 1.0, 0.1)), {"entropy": 0.2}, (20, "entropy"), 20),
        # Where nothing was graded, nothing is known.
        (((None, 1.0, None), (0.5, None, None)), {"pass_at_k": 0.1, "entropy": 9}, None, None),
        # Without a demand on the format.
        (((0.4, 0.0, 1.0),), {"format": 0.0, "pass_at_k": 0.4}, (10, "pass_at_k"), 10),
    ],
)
def test_when_sft_ends_and_what_it_keeps(points, settings, end, kept):
    stop, measured = StopWhen(**settings), probes(*points)
    assert end_of(measured, stop) == end
    seen = [one for one in measured if end is None or one.step <= end[0]]
    chosen = best(seen, stop)
    assert (chosen.step if chosen else None) == kept


def drawn(draw):
    """A random course of probes and random settings."""
    points = [
        (draw.choice([None, *(n / 8 for n in range(9))]), draw.random(), draw.random())
        for _ in range(draw.randint(1, 12))
    ]
    settings = {
        "format": draw.choice([0.0, 0.5, 0.9]),
        "pass_at_k": draw.choice([None, 0.25, 0.75]),
        "patience": draw.choice([None, 1, 2, 3]),
        "entropy": draw.choice([None, 0.05, 0.3]),
    }
    return probes(*points), StopWhen(**settings)


def test_what_holds_of_every_course_of_probes():
    draw, reasons = random.Random(3), set()
    for _ in range(4000):
        points, stop = drawn(draw)
        end = end_of(points, stop)
        last = points[-1] if end is None else next(p for p in points if p.step == end[0])
        seen = [p for p in points if p.step <= last.step]
        kept = best(seen, stop)
        valid = [p for p in seen if is_valid(p, stop)]
        assert (kept is None) == (not valid)
        if kept is not None:
            assert all(p.pass_at_k < kept.pass_at_k for p in valid if p.step < kept.step)
            assert all(p.pass_at_k <= kept.pass_at_k for p in valid)
        why = end and end[1]
        reasons.add(why)
        after = sum(kept is not None and p.step > kept.step for p in seen)
        if why == "pass_at_k":
            # It was not reached before, so that the last weights are the ones to keep.
            assert kept is not None and kept is last and last.pass_at_k is not None
            assert last.pass_at_k >= stop.pass_at_k
        if why == "entropy":
            assert last.entropy < stop.entropy
        if why == "patience":
            assert kept is not None and after == stop.patience
        if why is None and stop.patience is not None:
            assert after < stop.patience
        # More patience never ends it earlier, and never keeps less.
        if stop.patience is not None:
            longer = stop.model_copy(update={"patience": stop.patience + 1})
            later = end_of(points, longer)
            assert later is None or (end is not None and later[0] >= end[0])
    assert reasons == {None, "pass_at_k", "entropy", "patience"}


def test_probes_that_cannot_measure_are_refused():
    with pytest.raises(ValidationError, match=r"k \(9\) is above samples \(8\)"):
        StopWhen(k=9)
    with pytest.raises(ValidationError, match="stop_when: answers of 64 tokens leave no room"):
        StopWhen.model_validate({"rollouts": {"max_model_len": 64}})
    assert StopWhen(samples=3).tries == 3 and StopWhen(samples=3, k=1).tries == 1


def test_pass_at_k_is_the_share_of_draws_with_a_correct_answer():
    for of in range(1, 9):
        for right in range(of + 1):
            for k in range(1, of + 1):
                draws = list(combinations(range(of), k))
                share = sum(min(draw) < right for draw in draws) / comb(of, k)
                assert pass_at_k(of, right, k) == pytest.approx(share)
    assert pass_at_k(8, 2, 1) == 0.25 and pass_at_k(8, 1, 8) == 1.0 and pass_at_k(8, 0, 8) == 0.0
