"""A judge that attempts each prompt several times. The prompt's verifier or the judge itself grades
the attempts."""

import re
from collections.abc import Callable, Mapping, Sequence
from math import comb
from typing import Any

from common.seeds import derive
from common.thinking import answer_part
from judges.backend import (
    Backend,
    Choice,
    Completion,
    Question,
    SamplingRequest,
    choose_with_retries,
    last_choice,
)
from judges.config import AttemptsJudge
from judges.texts import question, task
from judges.verdict import RETRIED_FAULTS, UNCACHED_FAULTS, JudgeKind, Reply, Verdict
from prompts.schema import Prompt
from rewards.grader import Grade, Grader, first_part

_REFUSAL = re.compile(
    r"\W*(i['’]?m sorry|i am sorry|sorry,|i can(?:no|['’])t |(?:i am|i['’]?m) (?:unable|not able)"
    r" |as an ai )",
    re.IGNORECASE,
)


class Attempts:
    """A judge that attempts the task. The completions are cached, not the grades: they are graded
    again whenever they are read."""

    kind: JudgeKind = "attempts"

    def __init__(
        self,
        config: AttemptsJudge,
        backend: Backend,
        grader: Grader,
        part: range | None = None,
    ) -> None:
        """`part`: the attempts to ask for, by number; by default all of them. What an attempt is
        like does not depend on whether other parts are asked for."""
        self.config, self.backend, self.grader = config, backend, grader
        self.part = range(config.attempts) if part is None else part

    def items(self, prompts: Sequence[Prompt]) -> dict[str, tuple[Prompt, ...]]:
        """The questions by name, each as the prompts that it is about."""
        return {prompt.id: (prompt,) for prompt in prompts}

    def ask(self, items: Sequence[tuple[Prompt, ...]]) -> list[dict[str, Any]]:
        """The completions of each prompt. Those with one of `RETRIED_FAULTS` are followed by
        further ones, with another seed."""
        prompts = [prompt for (prompt,) in items]
        completions: list[list[dict[str, Any]]] = [[] for _ in prompts]
        replies: list[list[Reply]] = [[] for _ in prompts]
        latest = replies
        for round_ in range(self.config.retries + 1):
            requests, places = [], []
            for place, prompt in enumerate(prompts):
                missing, longer = self._missing(replies[place], latest[place], round_)
                if missing:
                    places.append(place)
                    requests.append(self._request(prompt, missing, round_, longer))
            if not requests:
                break
            sampled = zip(places, self.backend.sample(requests), strict=True)
            new = self._raw_completions([(prompts[place], samples) for place, samples in sampled])
            # Twice the length may not fit beside the prompt. Then there was no second attempt.
            if round_:
                new = [[raw for raw in raws if raw["fault"] != "too_long"] for raws in new]
            latest = [[] for _ in prompts]
            if round_ < self.config.retries:
                mine = [prompts[place] for place in places]
                for place, graded in zip(places, self._replies(mine, new), strict=True):
                    latest[place] = graded
                    replies[place] = replies[place] + graded
            for place, raws in zip(places, new, strict=True):
                completions[place] = completions[place] + raws
        return [{"replies": raws} for raws in completions]

    def _missing(
        self, replies: Sequence[Reply], latest: Sequence[Reply], round_: int
    ) -> tuple[int, bool]:
        """How many completions to request, and whether with twice the length, given the replies of
        all rounds and of the latest one."""
        if round_ == 0:
            return len(self.part), False
        again = [reply.fault for reply in latest if reply.fault in RETRIED_FAULTS]
        graded = sum(reply.fault is None for reply in replies)
        return min(len(again), len(self.part) - graded), "cut_off" in again

    def _request(self, prompt: Prompt, samples: int, round_: int, longer: bool) -> SamplingRequest:
        seed = derive(self.config.seed, "attempts", round_, task(prompt.messages), prompt.answer)
        # A request's samples have consecutive seeds: an attempt has the same one in every division.
        seed += self.part.start
        length = (self.config.max_tokens + self.config.thinking_tokens) * (2 if longer else 1)
        messages = self.config.shown(prompt.capability, prompt.messages)
        return SamplingRequest(messages, samples, self.config.temperature, length, seed)

    def _raw_completions(
        self, sampled: Sequence[tuple[Prompt, list[Completion]]]
    ) -> list[list[dict[str, Any]]]:
        """The completions as cached, with the judge's grade if the judge grades."""
        raws = [[_raw_completion(completion) for completion in ones] for _, ones in sampled]
        if self.config.graded_by == "judge":
            pairs = [
                (prompt, raw)
                for (prompt, _), ones in zip(sampled, raws, strict=True)
                for raw in ones
            ]
            finished = [
                (raw, _grading_question(prompt, text))
                for prompt, raw in pairs
                if (text := _finished_text(raw)) is not None
            ]
            grades = choose_with_retries(
                self.backend, [question for _, question in finished], self.config.retries
            )
            for (raw, _), choices in zip(finished, grades, strict=True):
                _add_grade(raw, last_choice(choices))
        return raws

    def _replies(
        self, prompts: Sequence[Prompt], completions: Sequence[Sequence[Mapping[str, Any]]]
    ) -> list[list[Reply]]:
        """The cached completions of each prompt, graded: by the first part of its reward, which is
        the task. Slow verifiers grade many prompts at once."""
        attempts = [[_finished_text(raw) for raw in raws] for raws in completions]
        graded = [self._grades(*pair) for pair in zip(prompts, attempts, strict=True)]
        return [
            [self._reply(*one) for one in zip(raws, texts, grades(), strict=True)]
            for raws, texts, grades in zip(completions, attempts, graded, strict=True)
        ]

    def _grades(
        self, prompt: Prompt, attempts: Sequence[str | None]
    ) -> Callable[[], list[Grade | None]]:
        """Begin to grade attempts; None for those that are not complete, and where the judge
        grades."""
        if self.config.graded_by == "judge":
            return lambda: [None] * len(attempts)
        finished = self.grader.submit(
            first_part(prompt), [text for text in attempts if text is not None]
        )

        def grades() -> list[Grade | None]:
            given = iter(finished())
            return [None if text is None else next(given) for text in attempts]

        return grades

    def _reply(self, raw: Mapping[str, Any], attempt: str | None, grade: Grade | None) -> Reply:
        """A cached completion with its grade."""
        text, finish, tokens, how = raw["text"], raw["finish"], raw["tokens"], raw.get("how", "")

        def fault(reason: str) -> Reply:
            return Reply(text, finish, tokens, None, None, reason, how=how)

        def graded(answer: str, correct: bool) -> Reply:
            return Reply(text, finish, tokens, answer, float(correct), None, how=how)

        if raw["fault"] is not None:
            return fault(raw["fault"])
        if attempt is None:
            return fault("cut_off")
        if grade is None:
            if not attempt.strip():
                return fault("unreadable")
            if raw["right"] <= 0.5 and _REFUSAL.match(attempt):
                return fault("refused")
            return graded(attempt, raw["right"] > 0.5)
        if grade.fault is not None:
            return fault(grade.fault)
        if not grade.correct and _REFUSAL.match(attempt):
            return fault("refused")
        if not grade.answer:
            return fault("unreadable")
        return graded(grade.answer, grade.correct)

    def verdicts(
        self, prompts: Sequence[Prompt], answers: Mapping[str, dict[str, Any]]
    ) -> list[Verdict]:
        completions = [answers[prompt.id]["replies"] for prompt in prompts]
        replies = self._replies(prompts, completions)
        return [self.verdict(*pair) for pair in zip(prompts, replies, strict=True)]

    def verdict(self, prompt: Prompt, replies: list[Reply], left: int = 0) -> Verdict:
        """The verdict from graded replies, with `left` attempts that were not asked for."""
        graded = [reply for reply in replies if reply.fault is None]
        if not graded:
            return Verdict(prompt.id, "attempts", replies, None, left=left)
        passed = sum(reply.value == 1.0 for reply in graded)
        low, high = beta_interval(passed, len(graded) - passed)
        ease = ease_of(passed, len(graded), self.config.attempts)
        return Verdict(prompt.id, "attempts", replies, ease, low, high, left)


def _raw_completion(completion: Completion) -> dict[str, Any]:
    """A completion as cached, in JSON values."""
    how = {"how": completion.how} if completion.how else {}
    return {
        "text": completion.text,
        "finish": completion.finish,
        "tokens": completion.tokens,
        **how,
    } | {"fault": completion.fault}


def _add_grade(raw: dict[str, Any], choice: Choice) -> None:
    """Add the judge's grade, and what it cost, to a cached completion."""
    raw["right"] = choice.weights["yes"] if choice.weights else None
    raw["fault"] = choice.fault
    if choice.fault in UNCACHED_FAULTS:  # the endpoint's error message says why there is no grade
        raw["text"] = choice.text
    raw["tokens"] += choice.tokens
    if choice.how:
        raw["how"] = choice.how


def _finished_text(raw: Mapping[str, Any]) -> str | None:
    """A completion's text without its reasoning; None if it was cut off or is a fault.

    Half an answer may look right or wrong by chance, and reasoning alone is no answer."""
    if raw["fault"] is not None or raw["finish"] == "length":
        return None
    answer = answer_part(raw["text"])
    return None if answer is not None and not answer.strip() and raw["text"].strip() else answer


def _grading_question(prompt: Prompt, attempt: str) -> Question:
    parts = {"task": task(prompt.messages), "answer": prompt.answer, "attempt": attempt}
    return Question(question("grader", **parts), "Right:", ("yes", "no"))


def ease_of(passed: int, graded: int, asked: int) -> float:
    """Posterior mean of the pass rate under a flat prior: 1 of 1 is less easy than 4 of 4.

    Ungraded attempts never increase the ease. The prior alone would make 0 of 1 easier than 0 of 4,
    so hard prompts, whose attempts are cut off, would be dropped first. Therefore the result is
    capped at the value that `asked` attempts with the same pass rate would give."""
    whole = max(asked, graded)
    return min((passed + 1) / (graded + 2), (passed * whole / graded + 1) / (whole + 2))


def probability_below(rate: float, passed: int, failed: int) -> float:
    """P(pass rate <= `rate`) under Beta(passed + 1, failed + 1): the probability of more than
    `passed` successes in passed + failed + 1 trials with success probability `rate`."""
    trials = passed + failed + 1
    return sum(
        comb(trials, k) * rate**k * (1 - rate) ** (trials - k)
        for k in range(passed + 1, trials + 1)
    )


def beta_interval(passed: int, failed: int, level: float = 0.9) -> tuple[float, float]:
    """Bounds of the central `level` interval of Beta(passed + 1, failed + 1), by bisection."""

    def quantile(share: float) -> float:
        low, high = 0.0, 1.0
        for _ in range(50):
            middle = (low + high) / 2
            below = probability_below(middle, passed, failed)
            low, high = (middle, high) if below < share else (low, middle)
        return (low + high) / 2

    return quantile((1 - level) / 2), quantile((1 + level) / 2)
