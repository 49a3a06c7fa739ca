"""A judge that runs here: attempts and reference likelihoods from a rollout engine."""

from collections.abc import Sequence
from typing import Protocol

from judges.attempts import Completion, Reply, mean_logprob
from judges.config import AttemptsJudge
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
    def encode(self, messages: list[dict[str, str]]) -> list[int]: ...
    def encode_text(self, text: str) -> list[int]: ...
    def generate(
        self, prompts: list[list[int]], *, samples: int, temperature: float, max_tokens: int, seeds: list[int]
    ) -> Sequence[Sequence[Sampled]]: ...
    def score(self, prompts: list[list[int]], completions: list[list[int]]) -> list[list[float]]: ...


class EngineSource:
    """Attempts of an engine. A prompt that leaves no room for an attempt in the context is the fault `too_long`."""

    def __init__(self, engine: Sampler, config: AttemptsJudge) -> None:
        self._engine = engine
        self._config = config

    def ask(self, prompts: Sequence[Prompt], seeds: Sequence[int]) -> list[Reply]:
        ids = [self._engine.encode(prompt.messages) for prompt in prompts]
        limit = self._engine.max_model_len - self._config.max_tokens
        short = [place for place, tokens in enumerate(ids) if len(tokens) <= limit]
        completions = [self._too_long() for _ in prompts]
        if short:
            sampled = self._engine.generate(
                [ids[place] for place in short],
                samples=self._config.attempts,
                temperature=self._config.temperature,
                max_tokens=self._config.max_tokens,
                seeds=[seeds[place] for place in short],
            )
            for place, rollouts in zip(short, sampled, strict=True):
                completions[place] = [Completion(one.text, one.finish, len(one.token_ids)) for one in rollouts]
        references = self._references(prompts, ids)
        return [Reply(tried, *reference) for tried, reference in zip(completions, references, strict=True)]

    def _too_long(self) -> list[Completion]:
        return [Completion("", "none", fault="too_long")] * self._config.attempts

    def _references(self, prompts: Sequence[Prompt], ids: Sequence[list[int]]) -> list[tuple[float | None, str | None]]:
        """(mean log-probability a token, None) or (None, why not) for each prompt's reference answer."""
        answers = [self._engine.encode_text(prompt.answer) for prompt in prompts]
        found: list[tuple[float | None, str | None]] = []
        for prompt_ids, answer in zip(ids, answers, strict=True):
            # Strictly less: to score a text the engine samples one token after it.
            fits = len(prompt_ids) + len(answer) < self._engine.max_model_len
            found.append((None, None if fits and answer else "too_long" if answer else "empty_answer"))
        places = [place for place, (_, note) in enumerate(found) if note is None]
        if places:
            scores = self._engine.score([ids[place] for place in places], [answers[place] for place in places])
            for place, logprobs in zip(places, scores, strict=True):
                found[place] = mean_logprob(logprobs)
        return found
