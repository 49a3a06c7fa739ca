"""How hard a prompt is for a model: let it try a few times and let the prompt's verifier, or the
model, grade."""

import re
from collections.abc import Callable, Mapping, Sequence
from math import comb
from typing import Any

from common.seeds import derive
from common.thinking import answer_part
from judges.backend import Backend, Completion, Question, SamplingRequest, choose_again, in_one
from judges.config import AttemptsJudge
from judges.texts import question, task
from judges.verdict import REPEATED, UNKEPT, Kind, Reply, Verdict
from prompts.schema import Prompt
from rewards.grade import Grade

Grader = Callable[[Prompt, str], Grade]
_REFUSAL = re.compile(
    r"\W*(i['’]?m sorry|i am sorry|sorry,|i can(?:no|['’])t |(?:i am|i['’]?m) (?:unable|not able)"
    r" |as an ai )",
    re.IGNORECASE,
)


class Attempts:
    """A judge that tries. What is kept of a prompt are its completions: they are graded anew
    whenever they are read."""

    kind: Kind = "attempts"

    def __init__(self, config: AttemptsJudge, source: Backend, grade: Grader) -> None:
        self.config, self.source, self.grade = config, source, grade

    def items(self, prompts: Sequence[Prompt]) -> dict[str, tuple[Prompt, ...]]:
        """What to ask, by name."""
        return {prompt.id: (prompt,) for prompt in prompts}

    def ask(self, items: Sequence[tuple[Prompt, ...]]) -> list[dict[str, Any]]:
        """The completions of each prompt. Those that can be had better are asked for again, with
        another seed."""
        prompts = [prompt for (prompt,) in items]
        found: list[list[dict[str, Any]]] = [[] for _ in prompts]
        latest = found
        for round_ in range(self.config.retries + 1):
            requests, places = [], []
            for place, prompt in enumerate(prompts):
                wanted, longer = self._missing(prompt, found[place], latest[place], round_)
                if wanted:
                    places.append(place)
                    requests.append(self._request(prompt, wanted, round_, longer))
            if not requests:
                break
            replies = self.source.sample(requests)
            asked = [
                (prompts[place], replies_) for place, replies_ in zip(places, replies, strict=True)
            ]
            latest = [[] for _ in prompts]
            for place, new in zip(places, self._kept(asked), strict=True):
                # Twice the length may leave the prompt no room: then there was no second try.
                latest[place] = [one for one in new if not (round_ and one["fault"] == "too_long")]
                found[place] = found[place] + latest[place]
        return [{"replies": replies} for replies in found]

    def _missing(
        self, prompt: Prompt, found: list[dict[str, Any]], latest: list[dict[str, Any]], round_: int
    ) -> tuple[int, bool]:
        """How many completions to ask for, and whether longer ones, by the faults of the round
        before."""
        if round_ == 0:
            return self.config.attempts, False
        again = [fault for kept in latest if (fault := self._reply(prompt, kept).fault) in REPEATED]
        graded = sum(self._reply(prompt, kept).fault is None for kept in found)
        return min(len(again), self.config.attempts - graded), "cut_off" in again

    def _request(self, prompt: Prompt, wanted: int, round_: int, longer: bool) -> SamplingRequest:
        seed = derive(self.config.seed, "attempts", round_, task(prompt.messages), prompt.answer)
        length = (self.config.max_tokens + self.config.thinking_tokens) * (2 if longer else 1)
        messages = self.config.shown(prompt.capability, prompt.messages)
        return SamplingRequest(messages, wanted, self.config.temperature, length, seed)

    def _kept(self, asked: Sequence[tuple[Prompt, list[Completion]]]) -> list[list[dict[str, Any]]]:
        """What is kept of the completions: as they are, and how right they are for a judge that
        grades."""
        kept = [[_kept(completion) for completion in completions] for _, completions in asked]
        if self.config.graded_by == "judge":
            pairs = [
                (prompt, one) for (prompt, _), ones in zip(asked, kept, strict=True) for one in ones
            ]
            whole = [
                (one, _grading(prompt, text))
                for prompt, one in pairs
                if (text := _whole(one)) is not None
            ]
            replies = choose_again(
                self.source, [question for _, question in whole], self.config.retries
            )
            for (one, _), said in zip(whole, replies, strict=True):
                choice = in_one(said)
                one["right"] = choice.weights["yes"] if choice.weights else None
                one["fault"] = choice.fault
                if choice.fault in UNKEPT:  # why there is no grade, in the endpoint's words
                    one["text"] = choice.text
                one["tokens"] += choice.tokens
                one |= {"how": choice.how} if choice.how else {}
        return kept

    def _reply(self, prompt: Prompt, kept: Mapping[str, Any]) -> Reply:
        text, finish, tokens, how = (
            kept["text"],
            kept["finish"],
            kept["tokens"],
            kept.get("how", ""),
        )

        def fault(reason: str) -> Reply:
            return Reply(text, finish, tokens, None, None, reason, how=how)

        def graded(answer: str, correct: bool) -> Reply:
            return Reply(text, finish, tokens, answer, float(correct), None, how=how)

        if kept["fault"] is not None:
            return fault(kept["fault"])
        said = _whole(kept)
        if said is None:
            return fault("cut_off")
        if self.config.graded_by == "judge":
            if not said.strip():
                return fault("unreadable")
            if kept["right"] <= 0.5 and _REFUSAL.match(said):
                return fault("refused")
            return graded(said, kept["right"] > 0.5)
        got = self.grade(prompt, said)
        if got.fault is not None:
            return fault(got.fault)
        if not got.correct and _REFUSAL.match(said):
            return fault("refused")
        if not got.answer:
            return fault("unreadable")
        return graded(got.answer, got.correct)

    def verdicts(
        self, prompts: Sequence[Prompt], answers: Mapping[str, dict[str, Any]]
    ) -> list[Verdict]:
        return [self._verdict(prompt, answers[prompt.id]["replies"]) for prompt in prompts]

    def _verdict(self, prompt: Prompt, completions: Sequence[Mapping[str, Any]]) -> Verdict:
        replies = [self._reply(prompt, kept) for kept in completions]
        graded = [reply for reply in replies if reply.fault is None]
        if not graded:
            return Verdict(prompt.id, "attempts", replies, None)
        passed = sum(reply.value == 1.0 for reply in graded)
        low, high = beta_interval(passed, len(graded) - passed)
        return Verdict(
            prompt.id,
            "attempts",
            replies,
            ease_of(passed, len(graded), self.config.attempts),
            low,
            high,
        )


def _kept(completion: Completion) -> dict[str, Any]:
    """What is kept of a completion, as JSON values."""
    how = {"how": completion.how} if completion.how else {}
    return {
        "text": completion.text,
        "finish": completion.finish,
        "tokens": completion.tokens,
        **how,
    } | {"fault": completion.fault}


def _whole(kept: Mapping[str, Any]) -> str | None:
    """What a completion answers, without its reasoning; None if it was cut off before it did or is
    a fault.

    Half an answer may look right or wrong by chance, and reasoning alone is not even that.
    """
    if kept["fault"] is not None or kept["finish"] == "length":
        return None
    said = answer_part(kept["text"])
    return None if said is not None and not said.strip() and kept["text"].strip() else said


def _grading(prompt: Prompt, attempt: str) -> Question:
    parts = {"task": task(prompt.messages), "answer": prompt.answer, "attempt": attempt}
    return Question(question("grader", **parts), "Right:", ("yes", "no"))


def ease_of(passed: int, graded: int, asked: int) -> float:
    """Posterior mean of the pass rate under a flat prior: 1 of 1 is less easy than 4 of 4.

    What could not be graded never speaks for ease: the prior alone would make 0 of 1 easier than 0
    of 4, so that hard prompts, whose attempts are cut off, would be dropped first. There the
    missing ones count as the graded ones went."""
    whole = max(asked, graded)
    return min((passed + 1) / (graded + 2), (passed * whole / graded + 1) / (whole + 2))


def beta_interval(passed: int, failed: int, level: float = 0.9) -> tuple[float, float]:
    """The central interval of Beta(passed + 1, failed + 1), by bisection.

    P(rate <= x) is the probability of more than `passed` passes among passed + failed + 1 trials of
    chance x."""
    trials = passed + failed + 1

    def below(x: float) -> float:
        return sum(
            comb(trials, k) * x**k * (1 - x) ** (trials - k) for k in range(passed + 1, trials + 1)
        )

    def quantile(share: float) -> float:
        low, high = 0.0, 1.0
        for _ in range(50):
            middle = (low + high) / 2
            low, high = (middle, high) if below(middle) < share else (low, middle)
        return (low + high) / 2

    return quantile((1 - level) / 2), quantile((1 + level) / 2)
