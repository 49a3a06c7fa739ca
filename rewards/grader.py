"""Grades answers by the parts of their prompt's reward, and keeps open what grading needs.

A grade is the weighted mean of the parts' rewards. A fault of any part is a fault of the grade:
what could not be graded is neither right nor wrong."""

import json
import logging
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from threading import Lock
from types import TracebackType
from typing import Self

from common.errors import UphillError
from common.faults import CUT_OFF
from common.thinking import answer_part
from prompts.part import RewardPart
from prompts.schema import Prompt
from rewards.interface import BAD_REFERENCE, Answer, BadReference, OpenVerifier, Resources, Result
from rewards.kinds import KINDS, Kinds, kind_of

AT_ONCE = 16
"""Groups that are graded at once beside generation; a verifier limits its own processes."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Grade:
    """The grade of one answer."""

    reward: float
    """0 to 1, the weighted mean of the parts; meaningless when `fault` is set."""
    fault: str | None
    """`verifier_crash`, `timeout`, `bad_reference`, `cut_off` (unclosed thinking) or another name
    from `common.faults`; None if it was graded."""
    answer: str | None
    """What the first part read in the answer; None with a fault."""
    parts: dict[str, float] = field(default_factory=dict)
    """The reward of each part by its label; empty where there is one part only."""
    checks: dict[str, float] = field(default_factory=dict)
    """Rewards of the parts' sub-checks, by `<label>/<check>`; empty with a fault."""
    judge_tokens: int = 0
    """Tokens of the judges' replies about it, also of replies that were known."""

    @property
    def correct(self) -> bool:
        """Full reward of the first part, which is the task; partial credit is not correct, and the
        other parts shape training."""
        return self.passes(1.0)

    @property
    def first(self) -> float:
        """The reward of the first part."""
        return next(iter(self.parts.values()), self.reward)

    def passes(self, threshold: float) -> bool:
        """Whether the answer was graded, and the first part gives it at least `threshold`."""
        return self.fault is None and self.first >= threshold


class Grader:
    """Grades answers until it is closed. Verifiers are opened when they are first used, or all at
    once by `prepare`."""

    def __init__(self, kinds: Kinds = KINDS, resources: Resources | None = None) -> None:
        self._kinds, self._resources = kinds, resources or Resources()
        self._open: dict[str, OpenVerifier] = {}
        self._lock = Lock()
        self._closed = False
        self._threads: ThreadPoolExecutor | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __call__(self, prompt: Prompt, completion: str) -> Grade:
        """Grade one completion, which may hold thinking."""
        return self.group(prompt, [completion])[0]

    def prepare(self, prompts: Iterable[Prompt]) -> None:
        """Open every verifier that the prompts need. BadInput where one cannot be opened."""
        for prompt in distinct(prompts):
            for part in prompt.parts:
                self._opened(part)

    def submit(
        self, prompt: Prompt, completions: Sequence[str], tokens: Sequence[int] | None = None
    ) -> Callable[[], list[Grade]]:
        """Begin to grade a group; the result waits for the grades.

        `completions` may hold thinking; `tokens` are their lengths. Slow verifiers grade beside
        this thread, the others at once and in it: only the main thread has a time limit. Raises
        BadInput for an unknown verifier, or one that cannot be opened; the result raises what
        ends a run, such as a judge that is gone."""
        lengths = tokens if tokens is not None else [None] * len(completions)
        texts = [_without_thinking(prompt, completion) for completion in completions]
        answers = [
            Answer(text, length, completion)
            for text, length, completion in zip(texts, lengths, completions, strict=True)
            if text is not None
        ]
        parts = prompt.parts if answers else []
        columns = [self._begun(prompt, part, answers) for part in parts]

        def grades() -> list[Grade]:
            rows = zip(*[column() for column in columns], strict=True)
            graded = (_combined(parts, results) for results in rows)
            return [Grade(0.0, CUT_OFF, None) if text is None else next(graded) for text in texts]

        return grades

    def group(
        self, prompt: Prompt, completions: Sequence[str], tokens: Sequence[int] | None = None
    ) -> list[Grade]:
        """The grades of completions of one prompt; as `submit`, and waits."""
        return self.submit(prompt, completions, tokens)()

    def close(self) -> None:
        """End what was opened; groups that are being graded are waited for."""
        with self._lock:  # a verifier that is being opened in another thread is closed too
            self._closed = True
        with ExitStack() as all_of_it:  # also where one of them raises
            for verifier in self._open.values():
                all_of_it.callback(verifier.close)
            if self._threads is not None:
                all_of_it.callback(self._threads.shutdown, wait=True, cancel_futures=True)
            self._open, self._threads = {}, None

    def _begun(
        self, prompt: Prompt, part: RewardPart, answers: Sequence[Answer]
    ) -> Callable[[], list[Result]]:
        """The results of one part, or a function that waits for them."""
        verifier = self._opened(part)
        if not kind_of(part.verifier, self._kinds).slow:
            results = _results(verifier, prompt, part, answers)
            return lambda: results
        with self._lock:
            self._require_open()
            self._threads = self._threads or ThreadPoolExecutor(AT_ONCE, "grader")
            return self._threads.submit(_results, verifier, prompt, part, answers).result

    def _opened(self, part: RewardPart) -> OpenVerifier:
        key = json.dumps(part.stored(), sort_keys=True)
        with self._lock:
            self._require_open()
            if key not in self._open:
                kind = kind_of(part.verifier, self._kinds)
                self._open[key] = kind.open(part, self._resources)
            return self._open[key]

    def _require_open(self) -> None:
        """A step that is collected in the background may outlive its stage."""
        if self._closed:
            raise RuntimeError("the grader is closed")


def first_part(prompt: Prompt) -> Prompt:
    """The prompt with the first part of its reward alone, which is the task."""
    task = ({**part, "weight": 1.0} for part in prompt.rewards[:1])
    return replace(prompt, rewards=tuple(task))


def distinct(prompts: Iterable[Prompt]) -> list[Prompt]:
    """The first prompt of each reward that the prompts have."""
    first: dict[str, Prompt] = {}
    for prompt in prompts:
        first.setdefault(json.dumps([prompt.verifier, prompt.rewards]), prompt)
    return list(first.values())


def _results(
    verifier: OpenVerifier, prompt: Prompt, part: RewardPart, answers: Sequence[Answer]
) -> list[Result]:
    try:
        results = verifier.grade(prompt, answers)
        if len(results) != len(answers):
            raise ValueError(f"{len(results)} results of {len(answers)} answers")
        if wrong := [one for one in results if one.fault is None and not 0 <= one.reward <= 1]:
            raise ValueError(f"a reward is from 0 to 1, got {wrong[0].reward}")
    except UphillError:  # what every further answer would meet, such as a judge that is gone
        raise
    except BadReference:
        return [Result(fault=BAD_REFERENCE)] * len(answers)
    except Exception:  # a mistake in a verifier ends no run: the answers count as ungraded
        _log.warning("verifier %s crashed on %s", part.verifier, prompt.named, exc_info=True)
        return [Result(fault="verifier_crash")] * len(answers)
    return results


def _without_thinking(prompt: Prompt, completion: str) -> str | None:
    """The completion's answer; None where thinking has no end. The reference itself is taken as it
    is."""
    is_reference = completion.strip() == prompt.answer.strip()
    return completion if is_reference else answer_part(completion)


def _combined(parts: Sequence[RewardPart], results: Sequence[Result]) -> Grade:
    tokens = sum(result.judge_tokens for result in results)
    fault = next((result.fault for result in results if result.fault is not None), None)
    if fault is not None:
        return Grade(0.0, fault, None, judge_tokens=tokens)
    checks = {
        f"{part.label}/{name}": reward
        for part, one in zip(parts, results, strict=True)
        for name, reward in one.checks.items()
    }
    rewards = {part.label: one.reward for part, one in zip(parts, results, strict=True)}
    reward = _weighted_mean(parts, [one.reward for one in results])
    shown = rewards if len(parts) > 1 else {}
    return Grade(reward, None, results[0].read, shown, checks, tokens)


def _weighted_mean(parts: Sequence[RewardPart], rewards: Sequence[float]) -> float:
    """Exactly 1 where all rewards that have a weight are."""
    weighted = [(p.weight, one) for p, one in zip(parts, rewards, strict=True) if p.weight]
    if all(reward >= 1.0 for _, reward in weighted):
        return 1.0
    return sum(weight * one for weight, one in weighted) / sum(weight for weight, _ in weighted)
