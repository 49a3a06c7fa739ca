"""A judge on a rollout engine: its replies and its likelihoods."""

import math
from collections import defaultdict
from collections.abc import Sequence

from common.errors import BadInput
from judges.backend import Choice, Completion, Likelihood, Question, SamplingRequest
from prompts.schema import Prompt
from rollouts.interface import RolloutEngine


class EngineBackend:
    """The `Backend` of a judge on a rollout engine. A question that leaves no room for its reply in
    the context gets the fault `too_long`."""

    def __init__(self, engine: RolloutEngine) -> None:
        self._engine = engine

    def close(self) -> None:
        self._engine.close()

    def sample(self, requests: Sequence[SamplingRequest]) -> list[list[Completion]]:
        """`samples` completions per request."""
        ids = [self._engine.encode(request.messages) for request in requests]
        completions = [
            [Completion("", "none", fault="too_long")] * request.samples for request in requests
        ]
        by_settings: defaultdict[tuple[int, float, int], list[int]] = defaultdict(list)
        for place, request in enumerate(requests):
            if self._fits(ids[place], request.max_tokens):
                settings = request.samples, request.temperature, request.max_tokens
                by_settings[settings].append(place)
        for (samples, temperature, max_tokens), places in by_settings.items():
            groups = self._engine.generate(
                [ids[place] for place in places],
                samples=samples,
                temperature=temperature,
                max_tokens=max_tokens,
                seeds=[requests[place].seed for place in places],
            )
            for place, rollouts in zip(places, groups, strict=True):
                completions[place] = [
                    Completion(one.text, one.finish, len(one.token_ids)) for one in rollouts
                ]
        return completions

    def choose(self, questions: Sequence[Question]) -> list[Choice]:
        """The labels' probabilities per question. The reply begins with the question's `lead`; the
        first token in which the labels differ decides.

        BadInput when the labels do not differ in a single token each.
        """
        choices = [Choice(None, "", fault="too_long") for _ in questions]
        by_labels: defaultdict[tuple[str, tuple[str, ...]], list[int]] = defaultdict(list)
        for place, question in enumerate(questions):
            by_labels[question.lead, question.labels].append(place)
        for (lead, labels), places in by_labels.items():
            common, tokens = self._label_tokens(lead, labels)
            ids = {
                place: self._engine.encode(questions[place].messages) + common for place in places
            }
            fitting = [p for p in places if self._fits(ids[p], 1 + questions[p].max_tokens)]
            if not fitting:
                continue
            logprobs = self._engine.next_token([ids[place] for place in fitting], tokens)
            for place, row in zip(fitting, logprobs, strict=True):
                choices[place] = _choice(lead, labels, row)
        return self._with_reasons(questions, choices)

    def _label_tokens(self, lead: str, labels: tuple[str, ...]) -> tuple[list[int], list[int]]:
        """Tokens of the lead and of what all labels begin with; then the token of each label."""
        wholes = [self._engine.encode_text(f"{lead} {label}") for label in labels]
        same = [len(set(column)) == 1 for column in zip(*wholes, strict=False)]
        common = wholes[0][: [*same, False].index(False)]
        rests = [ids[len(common) :] for ids in wholes]
        if any(len(ids) != 1 for ids in rests):
            raise BadInput(
                f"the judge's tokenizer has no single token for each of {', '.join(labels)} after"
                f" {lead!r}",
                "take another judge, or kind: attempts",
            )
        return common, [ids[0] for ids in rests]

    def _with_reasons(self, questions: Sequence[Question], choices: list[Choice]) -> list[Choice]:
        """The choices, each with the reason that the judge gives for its likeliest label where the
        question asks for one and the context has room for it."""
        by_length: defaultdict[int, list[int]] = defaultdict(list)
        for place, question in enumerate(questions):
            if question.reason and choices[place].weights is not None:
                by_length[question.max_tokens].append(place)
        for max_tokens, places in by_length.items():
            begun = {place: choices[place].text + questions[place].reason for place in places}
            ids = {
                place: self._engine.encode(questions[place].messages)
                + self._engine.encode_text(begun[place])
                for place in places
            }
            fitting = [place for place in places if self._fits(ids[place], max_tokens)]
            if not fitting:
                continue
            groups = self._engine.generate(
                [ids[place] for place in fitting],
                samples=1,
                temperature=0.0,
                max_tokens=max_tokens,
                seeds=[0] * len(fitting),
            )
            for place, rollouts in zip(fitting, groups, strict=True):
                choice, reason = choices[place], rollouts[0]
                tokens = choice.tokens + len(reason.token_ids)
                choices[place] = Choice(choice.weights, begun[place] + reason.text, tokens)
        return choices

    def likelihoods(self, prompts: Sequence[Prompt]) -> list[Likelihood]:
        """Mean log-probability of each prompt's reference answer, in nats per token."""
        ids = [self._engine.encode(prompt.messages) for prompt in prompts]
        answers = [self._engine.encode_text(prompt.answer) for prompt in prompts]
        likelihoods: list[Likelihood] = []
        for prompt_ids, answer in zip(ids, answers, strict=True):
            # A score needs room for one token more than the sequence.
            fits = self._fits(prompt_ids, len(answer) + 1)
            fault = None if fits and answer else "too_long" if answer else "empty_answer"
            likelihoods.append((None, fault))
        places = [place for place, (_, fault) in enumerate(likelihoods) if fault is None]
        if places:
            scores = self._engine.score(
                [ids[place] for place in places], [answers[place] for place in places], cached=True
            )
            for place, logprobs in zip(places, scores, strict=True):
                likelihoods[place] = mean_logprob(logprobs)
        return likelihoods

    def _fits(self, prompt: list[int], new_tokens: int) -> bool:
        return len(prompt) + new_tokens <= self._engine.max_model_len


def mean_logprob(logprobs: Sequence[float]) -> Likelihood:
    """(mean, None), or (None, fault) when there is no finite mean."""
    if not logprobs:
        return None, "empty_answer"
    if not all(map(math.isfinite, logprobs)):
        return None, "not_finite"
    return math.fsum(logprobs) / len(logprobs), None


def weights_of(logprobs: dict[str, float]) -> dict[str, float]:
    """The labels' probabilities given that one of them comes: the softmax of their
    log-probabilities."""
    top = max(logprobs.values())
    parts = {label: math.exp(value - top) for label, value in logprobs.items()}
    total = math.fsum(parts.values())
    return {label: part / total for label, part in parts.items()}


def _choice(lead: str, labels: tuple[str, ...], logprobs: Sequence[float]) -> Choice:
    likeliest = labels[max(range(len(labels)), key=logprobs.__getitem__)]
    weights = weights_of(dict(zip(labels, logprobs, strict=True)))
    return Choice(weights, f"{lead} {likeliest}", 1)
