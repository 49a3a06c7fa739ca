"""Whether a judge agrees with a verifier, and that one that cannot tell is named."""

import numpy as np
import pytest

from builders.judged_rewards import judge_part, judged
from common.intervals import Estimate
from judges.agreement import JUDGES, VERIFIABLE, agreements, conclude, has_both, preferred
from prompts.judge_parts import JudgePart
from prompts.parts import CLASSES, names_of
from rewards.grader import Grade

URL = "http://x/v1"
RUBRIC = judge_part(URL)


def groups(judge, prompts=60, size=8, part=RUBRIC, right=0.5, seed=0):
    """Graded groups. `judge(rng, right, ease)`: its reward of an answer that is right or not, to a
    prompt whose answers are right with probability `ease`."""
    rng, graded = np.random.default_rng(seed), []
    for n in range(prompts):
        ease = rng.uniform(0, 2 * right)
        rights = [bool(rng.random() < ease) for _ in range(size)]
        grades = [
            Grade(0.5, None, None, {"math": float(one), part["verifier"]: judge(rng, one, ease)})
            for one in rights
        ]
        graded.append((judged({"verifier": "math"}, part, id=f"p{n}"), grades))
    return graded


def agreement(judge, **more):
    (found,) = agreements(groups(judge, **more), seed=1)
    return found


def test_a_judge_that_knows_what_is_right_agrees():
    found = agreement(lambda rng, right, ease: 0.7 * right + 0.3 * rng.random())
    assert found.conclusion == "agrees" and found.agreement.value == 1.0
    assert found.judge == "rubric" and found.verifier == "math"
    assert found.auc.value == 1.0 and found.prompts == 60 and found.answers == 480


@pytest.mark.parametrize(
    "judge",
    [
        lambda rng, right, ease: rng.random(),
        lambda rng, right, ease: 0.8,
        lambda rng, right, ease: 1.0 - right,
        lambda rng, right, ease: ease,
        lambda rng, right, ease: 0.15 * right + rng.random() / 1.2,
    ],
    ids=["random", "constant", "inverted", "knows only which prompts are easy", "weak"],
)
def test_a_judge_that_cannot_tell_is_named(judge):
    found = agreement(judge, prompts=200)
    assert found.conclusion == "untrustworthy"
    assert "judge rubric is UNTRUSTWORTHY" in found.sentence


def test_knowing_easy_prompts_looks_good_over_all_prompts_and_trains_nothing():
    found = agreement(lambda rng, right, ease: ease, prompts=200)
    assert found.auc.low > 0.7 and found.agreement.value == 0.5


def test_too_few_prompts_tell_nothing():
    found = agreement(lambda rng, right, ease: float(right), prompts=12)
    assert found.conclusion == "unknown" and "20 are needed" in found.sentence
    nobody = agreement(lambda rng, right, ease: float(right), right=0.0)
    assert nobody.conclusion == "unknown" and nobody.telling == 0 and nobody.agreement is None


@pytest.mark.parametrize(
    ("value", "low", "conclusion"),
    [(0.72, 0.49, "untrustworthy"), (0.72, 0.55, "agrees"), (0.65, 0.6, "untrustworthy")],
)
def test_value_and_interval_both_have_to_speak_for_the_judge(value, low, conclusion):
    assert conclude("rubric", "math", 25, Estimate(value, low, 0.9))[0] == conclusion


def test_faults_are_left_out_and_counted():
    graded = groups(lambda rng, right, ease: float(right))
    faulty = [(prompt, [*grades, Grade(0.0, "judge_refused", None)]) for prompt, grades in graded]
    (found,), (without,) = agreements(faulty, 1), agreements(graded, 1)
    assert found.ungraded == 60 and without.ungraded == 0
    assert found.agreement == without.agreement and found.answers == without.answers


def test_a_judge_that_nobody_can_read_is_named_and_not_the_prompts():
    graded = groups(lambda rng, right, ease: float(right))
    unread = [(p, [Grade(0.0, "judge_unreadable", None)] * 8) for p, _ in graded]
    (found,) = agreements([*unread, *graded[:12]], 1)
    assert found.conclusion == "unknown"
    assert "of 576 answers 480 could not be graded (480 judge_unreadable)" in found.sentence
    assert "take a judge that answers in the requested form" in found.sentence
    # A few faults are not what is missing.
    (found,) = agreements([*unread[:2], *graded[:12]], 1)
    assert "20 are needed" in found.sentence


def test_a_relative_reward_has_no_calibration():
    part = judge_part(URL, "compare")
    found = agreement(lambda rng, right, ease: float(right), part=part)
    assert found.conclusion == "agrees"
    assert found.auc is None and found.calibration is None and found.calibration_error is None


def test_calibration_is_measured_against_the_verifier():
    found = agreement(lambda rng, right, ease: 0.95 if right else 0.35)
    rows = {row["start"]: row for row in found.calibration}
    assert (
        set(rows) == {0.3, 0.9}
        and rows[0.9]["verifier"] == 1.0
        and rows[0.3]["judge"] == pytest.approx(0.35)
    )
    share = rows[0.3]["answers"] / found.answers
    assert found.calibration_error == pytest.approx(0.35 * share + 0.05 * (1 - share))


def test_pairs_are_counted_by_hand():
    rewards = np.array([[0.9, 1.0], [0.2, 0.0], [0.9, 0.5], [0.1, 0.0]])
    # Better before worse: (0, 1) yes, (0, 2) tie, (0, 3) yes, (2, 1) yes, (2, 3) yes.
    assert preferred(rewards) == pytest.approx(4.5 / 5)
    assert preferred(rewards[[1, 3]]) is None


def test_prompts_without_both_kinds_of_parts_are_left_out():
    math = {"verifier": "math"}
    alone = [(judged(RUBRIC), [Grade(0.5, None, None)]), (judged(math), [Grade(1.0, None, "3")])]
    assert agreements(alone, 1) == []
    assert not has_both(judged(RUBRIC)) and not has_both(judged(math, {"verifier": "format"}))
    assert has_both(judged(math, RUBRIC)) and has_both(judged(RUBRIC, math))


def test_every_verifier_that_asks_a_judge_is_known_as_one():
    names = {name for part in CLASSES if issubclass(part, JudgePart) for name in names_of(part)}
    assert names == set(JUDGES) and not names & set(VERIFIABLE)
