"""The evaluation protocol: every prompt once, zero-shot, at temperature 0.

No single prompt ends an evaluation. A fault (a verifier that crashed, a chat template that raised)
is counted and left out of the score. A prompt that leaves no room for the longest answer in the
context is counted and scores as wrong. An answer cut off at the length limit is counted and graded
as it stands; thinking without an end is wrong."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from statistics import fmean
from typing import Any

from common.faults import CUT_OFF, TOO_LONG
from common.intervals import wilson
from evals.asking import GREEDY, Asked, ask_all
from evals.config import SuiteConfig
from evals.parts import PART_SEED, PARTS, part_of
from prompts.schema import Prompt
from rewards.grader import Grader
from rollouts.interface import RolloutEngine

COUNTED = (None, TOO_LONG, CUT_OFF)
"""Values of `fault` that are part of the score: none, and the two that count as wrong."""
SHOTS = 0


@dataclass(frozen=True)
class Answer:
    """One line of `answers.jsonl`."""

    suite: str
    id: str
    capability: str
    correct: bool
    fault: str | None
    """`too_long`, `not_encoded`, `unknown_verifier`, `cut_off` (thinking without an end), or the
    verifier's `verifier_crash` or `timeout`."""
    answer: str | None
    """What the verifier read from the text."""
    reference: str
    text: str
    tokens: int
    """Tokens generated."""
    finish: str | None
    """`stop` or `length`; None for a prompt that was not asked."""
    reward: float = 0.0
    """0 to 1; 0 with a fault."""
    parts: dict[str, float] = field(default_factory=dict)
    """The reward's parts by label; empty where there is one only."""

    @property
    def graded(self) -> bool:
        """Whether the reward says more than `correct` does."""
        return bool(self.parts) or self.reward not in (0.0, 1.0)

    @property
    def part(self) -> str:
        """The part of its suite that the prompt belongs to (`evals/parts.py`)."""
        return part_of(self.id)

    def to_json(self) -> dict[str, Any]:
        """The line with its part, without the reward where `correct` says it all."""
        line = {**asdict(self), "part": self.part}
        return line if self.graded else {k: line[k] for k in line if k not in ("reward", "parts")}

    @property
    def counts(self) -> bool:
        """Whether the answer is part of the score: not when it could not be asked or graded."""
        return self.fault in COUNTED


def ask(
    engine: RolloutEngine,
    suite: SuiteConfig,
    prompts: Sequence[Prompt],
    batch: int,
    asked: Callable[[int], None],
    grader: Grader,
) -> list[Answer]:
    """One greedy answer per prompt, in the prompts' order; `evals.asking.ask_all` says how."""
    groups = ask_all(engine, prompts, suite.answer_length(), batch, asked, grader)
    return [answer for group in groups for answer in answers_of(suite, group)]


def answers_of(suite: SuiteConfig, asked: Asked) -> list[Answer]:
    """The answers to a prompt; one in their place if it could not be asked."""
    prompt = asked.prompt
    if asked.fault is not None:
        return [
            Answer(
                *(suite.name, prompt.id, prompt.capability, False, asked.fault, None),
                *(prompt.answer, "", 0, None),
            )
        ]
    return [
        Answer(
            suite=suite.name,
            id=prompt.id,
            capability=prompt.capability,
            correct=grade.passes(suite.pass_at),
            fault=grade.fault,
            answer=grade.answer,
            reference=prompt.answer,
            text=rollout.text,
            tokens=len(rollout.token_ids),
            finish=rollout.finish,
            reward=grade.reward,
            parts=grade.parts,
        )
        for rollout, grade in zip(asked.rollouts, asked.grades, strict=True)
    ]


def summaries(answers: Sequence[Answer]) -> dict[str, dict[str, Any]]:
    """The summary of each part of a suite; there is none of the whole, which would mix what has
    steered with what has not."""
    every = {answer.capability for answer in answers}
    return {part: summary([one for one in answers if one.part == part], every) for part in PARTS}


def summary(answers: Sequence[Answer], capabilities: Iterable[str] = ()) -> dict[str, Any]:
    """Score (0 to 1) with its 95 % interval and counts, over all answers and by capability, those
    in `capabilities` included.

    The score is None where nothing was graded.
    """
    groups: dict[str, list[Answer]] = {name: [] for name in capabilities}
    for answer in answers:
        groups.setdefault(answer.capability, []).append(answer)
    return {
        **_counts(answers),
        "by_capability": {name: _counts(groups[name]) for name in sorted(groups)},
    }


def _counts(answers: Sequence[Answer]) -> dict[str, Any]:
    graded = [answer for answer in answers if answer.counts]
    n, correct = len(graded), sum(answer.correct for answer in graded)
    low, high = wilson(correct, n) if n else (0.0, 1.0)
    return {
        "score": correct / n if n else None,
        "low": low,
        "high": high,
        "n": n,
        "faults": len(answers) - n,
        "too_long": sum(answer.fault == TOO_LONG for answer in answers),
        "cut_off": sum(answer.finish == "length" or answer.fault == CUT_OFF for answer in answers),
        **_rewards(graded),
    }


def _rewards(answers: Sequence[Answer]) -> dict[str, Any]:
    """The mean reward and that of each part, where a reward says more than the score does."""
    if not any(answer.graded for answer in answers):
        return {}
    labels = dict.fromkeys(label for answer in answers for label in answer.parts)
    parts = {
        label: fmean(one.parts[label] for one in answers if label in one.parts) for label in labels
    }
    return {"reward": fmean(one.reward for one in answers), "rewards": parts}


def remarks(suite: SuiteConfig, answers: Sequence[Answer], max_model_len: int) -> list[str]:
    """What to know about a suite's answers before reading its score, one sentence per fact."""
    count = len(answers)
    if not count:
        return [f"{suite.name} has no prompts, and so no score"]
    faults = Counter(answer.fault for answer in answers if answer.fault)
    long, thinking = faults.pop(TOO_LONG, 0), faults.pop(CUT_OFF, 0)
    sentences = []
    if long:
        sentences.append(
            f"{suite.name}: {long} of {count} prompts leave no room for answers of"
            f" {suite.answer_length()} tokens in max_model_len ({max_model_len}) and count as wrong"
        )
    if thinking:
        sentences.append(
            f"{suite.name}: {thinking} of {count} answers never ended their thinking and count as"
            f" wrong; raise the suite's max_tokens ({suite.answer_length()})"
        )
    if faults:
        named = ", ".join(f"{fault} {number}" for fault, number in sorted(faults.items()))
        rest = "it has no score" if faults.total() == count else "they are left out of the score"
        sentences.append(
            f"{suite.name}: {faults.total()} of {count} answers could not be judged ({named});"
            f" {rest}"
        )
    return sentences


def protocol(suites: Sequence[SuiteConfig]) -> dict[str, Any]:
    """How the figures were measured, for the results file."""
    return {
        "shots": SHOTS,
        "temperature": GREEDY.temperature,
        "samples": GREEDY.samples,
        "interval": "Wilson, 95 %",
        "parts": {"seed": PART_SEED, "by": "prompt id"},
        "suites": {
            suite.name: {
                "limit": suite.limit,
                "max_tokens": suite.answer_length(),
                "system": suite.system,
                **({} if suite.pass_at == 1.0 else {"pass_at": suite.pass_at}),
            }
            for suite in suites
        },
    }
