"""What RL says of a capability that falls short of its share: once, with figures and a remedy."""

import pytest

from builders.scripted_collector import CUT, HOPELESS, MIXED, SOLVED, collector
from builders.single_prompts import prompt_of
from curriculum.requests import Shortage
from stages.rl.collector import StepBatch
from stages.rl.notes import Notes

HARD = Shortage(places=6, trained=1, taken=2, useful=3, prompts=98, rate=0.14)


def told_of(shortages, last=99, names=("words", "sums")):
    """What is said at each of the steps, which have these shortages."""
    told: list[list[str]] = []
    notes = Notes(
        {name: prompt_of(name, "p", capability=name) for name in names},
        100,
        last,
        lambda text: told[-1].append(text),
    )
    for step, short in enumerate(shortages):
        told.append([])
        notes.step(step, StepBatch(shortages=short))
    return told


def test_a_shortage_is_said_once_with_its_sums():
    short = {"words": HARD}
    told = told_of([{}, short, short, {}, short, short, short, short])
    assert [len(texts) for texts in told] == [0, 0, 0, 0, 0, 0, 1, 0]
    assert told[6] == [
        "words falls short of its share: 6.0 places a step, 3 useful prompts of 98 (mean pass rate"
        " 0.14). In 5 steps from 1 to 6 it trained 5 groups in 30 places, of which others took 10."
        " Add easier prompts of it, lower drop_easiest, train SFT longer, or give it a smaller"
        " share (curriculum.shares)"
    ]


def test_a_short_stage_says_so_at_its_end():
    assert [len(texts) for texts in told_of([{"words": HARD}] * 3, last=2)] == [0, 0, 1]
    both = told_of([{"words": HARD, "sums": HARD}], last=0)[0]
    assert [text.split()[0] for text in both] == ["sums", "words"]
    alone = told_of([{"words": HARD}], last=0, names=["words"])[0][0]
    assert "lower prompts_per_step" in alone and "smaller share" not in alone


@pytest.mark.parametrize(
    ("short", "remedy"),
    [
        (Shortage(6, 1, 0, 0, 98, 0.97), "Add harder prompts of it"),
        (Shortage(6, 5, 0, 5, 5, 0.9), "Add prompts of it"),
        (Shortage(6, 1, 0, 0, 98, 0.02), "train SFT longer"),
    ],
)
def test_the_remedy_fits_the_prompts(short, remedy):
    assert remedy in told_of([{"words": short}], last=0)[0][0]


@pytest.mark.parametrize(
    ("script", "remedy"),
    [(HOPELESS, "easier"), (SOLVED, "harder"), ([CUT], "raise max_tokens"), (MIXED, None)],
)
def test_a_stage_whose_prompts_are_of_no_use_is_told_why(script, remedy):
    told: list[str] = []
    words = {f"m{n}": script for n in range(40)}
    fields = {"prompts_per_step": 8, "cut_off": "zero", "curriculum": {"empty_steps": 99}}
    collecting, _, _ = collector(words, **fields)
    notes = Notes(collecting.prompts, collecting.encoder.limit, 7, told.append)
    for step in range(8):
        notes.step(step, collecting.collect(step))
    assert len(told) == (remedy is not None)
    assert not told or (remedy in told[0] and "words falls short" in told[0])
