"""Does a judge that rewards answers agree with a verifier that knows which are right?

Asked on prompts whose reward has both parts. What trains in RL are differences within a group, so
that is what counts: of two answers to one prompt that the verifier grades differently, how often
does the judge prefer the better one? Prompts count equally, and intervals are 95 % percentile
bootstraps over prompts, as the answers to one prompt depend on each other."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from common.faults import counted, main_fault, remedy_of
from common.intervals import Estimate
from judges.audit import CHANCE, MIN_PROMPTS, USEFUL, auc, calibration, estimate, resamples
from prompts.judge_parts import ComparePart, JudgePart
from prompts.part import RewardPart
from prompts.schema import Prompt
from rewards.grader import Grade

Floats = NDArray[np.float64]
VERIFIABLE = ("choice", "code", "exact", "instructions", "math", "number", "reasoning_gym")
"""The verifiers that know which answers are right. The others look at form, or ask a judge."""
JUDGES = ("compare", "rubric")
Conclusion = Literal["agrees", "untrustworthy", "unknown"]


@dataclass(frozen=True)
class Agreement:
    """A judge compared with a verifier."""

    judge: str
    verifier: str
    """The labels of the two parts."""
    prompts: int
    answers: int
    """With rewards of both."""
    ungraded: int
    """Answers to such prompts with a fault instead."""
    telling: int
    """Prompts with answers that the verifier grades differently."""
    agreement: Estimate | None
    """Of two such answers to a prompt, how often the judge prefers the better one; a tie counts
    half. 0.5 is chance. None without such prompts."""
    auc: Estimate | None
    """Probability that an answer with full reward of the verifier has a higher reward of the judge
    than one without, over all prompts; None without both, and for rewards that are relative to
    the group."""
    calibration_error: float | None
    """Mean of |judge's reward - verifier's reward| over bins of the judge's; None for rewards that
    are relative to the group."""
    calibration: list[dict[str, float]] | None
    """For each bin with answers: `start`, `end`, `answers`, and mean `judge` and `verifier`."""
    conclusion: Conclusion
    """`agrees`; `untrustworthy`: it cannot tell good answers from bad ones; `unknown`: too few
    prompts tell."""
    sentence: str

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def has_both(prompt: Prompt) -> bool:
    """Whether its reward has a judge's part and one that a judge can be compared with."""
    names = {part["verifier"] for part in prompt.rewards}
    return bool(names & set(JUDGES) and names & set(VERIFIABLE))


def agreements(graded: Iterable[tuple[Prompt, Sequence[Grade]]], seed: int) -> list[Agreement]:
    """One report for each judge's part, from groups of graded answers; prompts without both kinds
    of parts are left out. A judge is compared with the first part that is verifiable."""
    groups: defaultdict[tuple[str, str], list[Sequence[Grade]]] = defaultdict(list)
    relative: dict[tuple[str, str], bool] = {}
    for prompt, grades in graded:
        judges, verifiers = _parts(prompt)
        for judge in judges if verifiers else []:
            pair = judge.label, verifiers[0].label
            groups[pair].append(grades)
            relative[pair] = isinstance(judge, ComparePart)
    return [_agreement(*pair, groups[pair], relative[pair], seed) for pair in sorted(groups)]


def _parts(prompt: Prompt) -> tuple[list[JudgePart], list[RewardPart]]:
    parts = prompt.parts
    judges = [part for part in parts if isinstance(part, JudgePart)]
    return judges, [part for part in parts if part.verifier in VERIFIABLE]


def _agreement(
    judge: str, verifier: str, groups: Sequence[Sequence[Grade]], relative: bool, seed: int
) -> Agreement:
    rewards = [_rewards(group, judge, verifier) for group in groups]
    rewards = [group for group in rewards if len(group)]
    answers = sum(len(group) for group in rewards)
    shares = [share for group in rewards if (share := preferred(group)) is not None]
    found = _mean(np.array(shares), resamples(len(shares), seed))
    area, error, curve = None, None, None
    if answers and not relative:
        area = _auc(rewards, resamples(len(rewards), seed))
        error, curve = _calibration(np.concatenate(rewards))
    conclusion, sentence = conclude(judge, verifier, len(shares), found)
    faults = Counter(one.fault for group in groups for one in group if one.fault is not None)
    if conclusion == "unknown" and (reason := main_fault(faults, sum(map(len, groups)))):
        sentence = (
            f"judge {judge}: cannot tell whether it agrees with {verifier}: of"
            f" {sum(map(len, groups))} answers {faults.total()} could not be graded"
            f" ({counted(faults)}): {remedy_of(reason)}."
        )
    return Agreement(
        judge=judge,
        verifier=verifier,
        prompts=len(rewards),
        answers=answers,
        ungraded=sum(map(len, groups)) - answers,
        telling=len(shares),
        agreement=found,
        auc=area,
        calibration_error=error,
        calibration=curve,
        conclusion=conclusion,
        sentence=sentence,
    )


def _rewards(group: Sequence[Grade], judge: str, verifier: str) -> Floats:
    """The rewards of judge and verifier of each answer without a fault: (answers, 2)."""
    both = [
        (one.parts[judge], one.parts[verifier])
        for one in group
        if one.fault is None and {judge, verifier} <= one.parts.keys()
    ]
    return np.array(both, dtype=np.float64).reshape(-1, 2)


def preferred(rewards_N2: Floats) -> float | None:
    """Share of the pairs of answers that the verifier grades differently (column 1) of which the
    judge (column 0) prefers the better one, ties half; None without such pairs."""
    judge_NN = np.sign(rewards_N2[:, None, 0] - rewards_N2[None, :, 0])
    better_NN = rewards_N2[:, None, 1] > rewards_N2[None, :, 1]
    return float((judge_NN[better_NN].mean() + 1) / 2) if better_NN.any() else None


def _mean(share_N: Floats, weights_RN: Floats) -> Estimate | None:
    if not len(share_N):
        return None
    return estimate(weights_RN @ share_N / weights_RN.sum(1), CHANCE["AUC"])


def _auc(rewards: Sequence[Floats], weights_RN: Floats) -> Estimate | None:
    """The area over all answers; a resample draws prompts, each with all of its answers."""
    prompt_A = np.repeat(np.arange(len(rewards)), [len(group) for group in rewards])
    all_A2 = np.concatenate(rewards)
    return estimate(auc(all_A2[:, 0], all_A2[:, 1] >= 1.0, weights_RN[:, prompt_A]), CHANCE["AUC"])


def _calibration(rewards_A2: Floats) -> tuple[float, list[dict[str, float]]]:
    names = {"prompts": "answers", "ease": "judge", "pass_rate": "verifier"}
    error, rows = calibration(rewards_A2[:, 0], rewards_A2[:, 1])
    return error, [{names.get(name, name): value for name, value in row.items()} for row in rows]


def conclude(
    judge: str, verifier: str, telling: int, found: Estimate | None
) -> tuple[Conclusion, str]:
    """What follows from the agreement on `telling` prompts, and a sentence about it.

    A judge agrees if its interval lies above chance and its value reaches the limit at which an
    audit calls a judge useful (0.7)."""
    if telling < MIN_PROMPTS or found is None:
        return "unknown", (
            f"judge {judge}: cannot tell whether it agrees with {verifier}; {telling} prompts have"
            f" answers of which {verifier} prefers one, and {MIN_PROMPTS} are needed."
        )
    figures = (
        f"of two answers to a prompt it prefers the better one in {100 * found.value:.0f} % of the"
        f" cases [{100 * found.low:.0f}, {100 * found.high:.0f}], on {telling} prompts"
    )
    if found.low > CHANCE["AUC"] and found.value >= USEFUL["AUC"]:
        return "agrees", f"judge {judge} agrees with {verifier}: {figures}."
    return "untrustworthy", (
        f"judge {judge} is UNTRUSTWORTHY: against {verifier}, {figures}; 50 % is chance, and"
        f" {100 * USEFUL['AUC']:.0f} % are needed. Take another judge, word the rubric anew, or"
        " leave this part out."
    )
