"""What a probe measures, from the sampled and graded answers.

The entropy is an estimate from the engine's log-probabilities: minus the mean log-probability of
the sampled tokens, end tokens included. At temperature 1 its expectation is the policy's entropy
per generated token, and it costs no forward pass."""

from collections.abc import Sequence
from math import comb
from statistics import fmean
from typing import Any

from evals.answer import Answer
from evals.asking import Asked
from evals.protocol import answers_of
from stages.sft.stop_when import StopWhen


def pass_at_k(answers: int, correct: int, k: int) -> float:
    """The unbiased estimate of the probability that one of `k` answers is correct, where `correct`
    of at least `k` answers are (Chen et al. 2021, https://arxiv.org/abs/2107.03374)."""
    return 1.0 - comb(answers - correct, k) / comb(answers, k)


def figures(asked: Sequence[Asked], settings: StopWhen) -> dict[str, Any]:
    """The figures of a probe; None for what no answer tells.

    Answers that are no part of the suite's score count for nothing. A prompt that leaves no room
    for an answer is solved by none, where such a prompt counts; one with fewer answers that count
    than k is no part of pass@k and pass@1. A question in several languages is one prompt."""
    suite, k = settings.as_suite(), settings.tries
    counts, units = dict[str, tuple[int, int]](), set[str]()
    formed, logprobs = list[bool](), list[float]()
    for group, answers in zip(asked, answers_of(suite, asked, settings.samples), strict=True):
        unit, counted = answers[0].unit, sum(answer.counts for answer in answers)
        units.add(unit)
        if counted >= k:
            counts[unit] = counted, sum(answer.correct for answer in answers)
        if group.fault is None:
            formed += [has_form(answer) for answer in answers if answer.counts]
        logprobs += [value for rollout in group.rollouts for value in rollout.logprobs]
    pairs = counts.values()
    return {
        "pass_at_k": fmean(pass_at_k(of, right, k) for of, right in pairs) if counts else None,
        "pass_at_1": fmean(right / of for of, right in pairs) if counts else None,
        "entropy": -fmean(logprobs) if logprobs else None,
        "format": fmean(formed) if formed else None,
        "k": k,
        "prompts": len(counts),
        "faults": len(units) - len(counts),
        "tokens": len(logprobs),
        "correct": {id: right for id, (_, right) in counts.items()},
    }


def has_form(answer: Answer) -> bool:
    """Whether an answer ended and the verifier read something in it. A verifier that reads nothing
    in particular, such as a function of the user's, asks for no more than the end."""
    read = answer.answer is None or bool(answer.answer.strip())
    return answer.fault is None and answer.finish == "stop" and read
