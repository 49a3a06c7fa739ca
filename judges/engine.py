"""A judge that runs here: replies and likelihoods from a rollout engine."""

import math
from collections import defaultdict
from collections.abc import Sequence
from typing import Protocol

from common.errors import BadInput
from judges.backend import Choice, Completion, Likelihood, Messages, Question, SamplingRequest
from prompts.schema import Prompt


class Sampled(Protocol):
    """One completion of an engine."""

    @property
    def token_ids(self) -> list[int]: ...
    @property
    def text(self) -> str: ...
    @property
    def finish(self) -> str: ...


class Sampler(Protocol):
    """What a judge needs of a rollout engine."""

    @property
    def max_model_len(self) -> int: ...
    def encode(self, messages: Messages) -> list[int]: ...
    def encode_text(self, text: str) -> list[int]: ...
    def generate(
        self,
        prompts: list[list[int]],
        *,
        samples: int,
        temperature: float,
        max_tokens: int,
        seeds: list[int],
    ) -> Sequence[Sequence[Sampled]]: ...
    def score(
        self, prompts: list[list[int]], completions: list[list[int]]
    ) -> list[list[float]]: ...
    def next_token(self, prompts: list[list[int]], tokens: list[int]) -> list[list[float]]: ...
    def close(self) -> None: ...


class EngineBackend:
    """Replies of an engine. What leaves no room for a reply in the context is the fault
    `too_long`."""

    def __init__(self, engine: Sampler) -> None:
        self._engine = engine

    def close(self) -> None:
        self._engine.close()

    def sample(self, requests: Sequence[SamplingRequest]) -> list[list[Completion]]:
        ids = [self._engine.encode(request.messages) for request in requests]
        found = [
            [Completion("", "none", fault="too_long")] * request.samples for request in requests
        ]
        alike: defaultdict[tuple[int, float, int], list[int]] = defaultdict(list)
        for place, request in enumerate(requests):
            if len(ids[place]) + request.max_tokens <= self._engine.max_model_len:
                alike[request.samples, request.temperature, request.max_tokens].append(place)
        for (samples, temperature, max_tokens), places in alike.items():
            sampled = self._engine.generate(
                [ids[place] for place in places],
                samples=samples,
                temperature=temperature,
                max_tokens=max_tokens,
                seeds=[requests[place].seed for place in places],
            )
            for place, rollouts in zip(places, sampled, strict=True):
                found[place] = [
                    Completion(one.text, one.finish, len(one.token_ids)) for one in rollouts
                ]
        return found

    def choose(self, questions: Sequence[Question]) -> list[Choice]:
        """Every reply begins with the question's `lead`; the first token in which the labels differ
        decides."""
        found = [Choice(None, "", fault="too_long") for _ in questions]
        alike: defaultdict[tuple[str, tuple[str, ...]], list[int]] = defaultdict(list)
        for place, question in enumerate(questions):
            alike[question.lead, question.labels].append(place)
        for (lead, labels), places in alike.items():
            common, tokens = self._labels(lead, labels)
            ids = {
                place: self._engine.encode(questions[place].messages) + common for place in places
            }
            room = {
                p: len(ids[p]) + 1 + questions[p].max_tokens <= self._engine.max_model_len
                for p in places
            }
            fit = [place for place in places if room[place]]
            if not fit:
                continue
            for place, logprobs in zip(
                fit, self._engine.next_token([ids[p] for p in fit], tokens), strict=True
            ):
                found[place] = _choice(lead, labels, logprobs)
        return self._with_reasons(questions, found)

    def _labels(self, lead: str, labels: tuple[str, ...]) -> tuple[list[int], list[int]]:
        """Tokens of the lead (and of what all labels begin with), and the token of each label."""
        whole = [self._engine.encode_text(f"{lead} {label}") for label in labels]
        same = [len(set(column)) == 1 for column in zip(*whole, strict=False)]
        common = whole[0][: [*same, False].index(False)]
        rest = [ids[len(common) :] for ids in whole]
        if any(len(ids) != 1 for ids in rest):
            raise BadInput(
                f"the judge's tokenizer has no single token for each of {', '.join(labels)} after"
                f" {lead!r}",
                "take another judge, or kind: attempts",
            )
        return common, [ids[0] for ids in rest]

    def _with_reasons(self, questions: Sequence[Question], found: list[Choice]) -> list[Choice]:
        """The choices with the reason that the judge gives for the likeliest label."""
        alike: defaultdict[int, list[int]] = defaultdict(list)
        for place, question in enumerate(questions):
            if question.reason and found[place].weights is not None:
                alike[question.max_tokens].append(place)
        for max_tokens, places in alike.items():
            begun = [f"{found[place].text}{questions[place].reason}" for place in places]
            asked = [
                self._engine.encode(questions[place].messages) + self._engine.encode_text(text)
                for place, text in zip(places, begun, strict=True)
            ]
            fit = [
                n
                for n, ids in enumerate(asked)
                if len(ids) + max_tokens <= self._engine.max_model_len
            ]
            if not fit:
                continue
            said = self._engine.generate(
                [asked[n] for n in fit],
                samples=1,
                temperature=0.0,
                max_tokens=max_tokens,
                seeds=[0] * len(fit),
            )
            for n, replies in zip(fit, said, strict=True):
                choice, reply = found[places[n]], replies[0]
                found[places[n]] = Choice(
                    choice.weights, begun[n] + reply.text, choice.tokens + len(reply.token_ids)
                )
        return found

    def likelihoods(self, prompts: Sequence[Prompt]) -> list[Likelihood]:
        ids = [self._engine.encode(prompt.messages) for prompt in prompts]
        answers = [self._engine.encode_text(prompt.answer) for prompt in prompts]
        found: list[Likelihood] = []
        for prompt_ids, answer in zip(ids, answers, strict=True):
            # Strictly less: to score a text the engine samples one token after it.
            fits = len(prompt_ids) + len(answer) < self._engine.max_model_len
            found.append(
                (None, None if fits and answer else "too_long" if answer else "empty_answer")
            )
        places = [place for place, (_, note) in enumerate(found) if note is None]
        if places:
            scores = self._engine.score(
                [ids[place] for place in places], [answers[place] for place in places]
            )
            for place, logprobs in zip(places, scores, strict=True):
                found[place] = mean_logprob(logprobs)
        return found


def mean_logprob(logprobs: Sequence[float]) -> Likelihood:
    """(mean, None), or (None, why not) when there is no finite mean."""
    if not logprobs:
        return None, "empty_answer"
    mean = math.fsum(logprobs) / len(logprobs) if all(map(math.isfinite, logprobs)) else None
    return mean, None if mean is not None else "not_finite"


def _choice(lead: str, labels: tuple[str, ...], logprobs: Sequence[float]) -> Choice:
    return Choice(
        weights_of(dict(zip(labels, logprobs, strict=True))), f"{lead} {labels[_best(logprobs)]}", 1
    )


def weights_of(logprobs: dict[str, float]) -> dict[str, float]:
    """The labels' probabilities among each other (softmax)."""
    top = max(logprobs.values())
    parts = {label: math.exp(value - top) for label, value in logprobs.items()}
    total = math.fsum(parts.values())
    return {label: part / total for label, part in parts.items()}


def _best(values: Sequence[float]) -> int:
    return max(range(len(values)), key=values.__getitem__)
