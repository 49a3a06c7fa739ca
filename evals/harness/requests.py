"""What a harness asks of a model, put to one of our engines: log-likelihoods of completions,
whether they are what greedy decoding gives, and texts up to a stop string. All in tokens, in the
order of the requests. Needs no package of a harness."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import log
from typing import NamedTuple, TypeVar

from common.errors import BadInput
from common.seeds import derive
from rollouts.interface import AnsweringEngine

PIECE = 64
"""Tokens that greedy decoding goes on for until stop strings are looked for."""
HALF = log(0.5)
"""A token that is likelier than this is the likeliest one."""

T = TypeVar("T")
Pair = tuple[list[int], list[int]]
"""A context and the completion to score after it."""


class Writing(NamedTuple):
    """How the text of a request is written."""

    stops: tuple[str, ...]
    max_tokens: int
    temperature: float = 0.0


def until_stop(text: str, stops: Sequence[str]) -> str:
    """The text before the first stop string."""
    for stop in filter(None, stops):
        text = text.split(stop)[0]
    return text


@dataclass
class Requests:
    """Answers requests with an engine. What does not fit loses its beginning, as in the harness."""

    engine: AnsweringEngine
    decode: Callable[[list[int]], str]
    """The text of tokens, without special ones."""
    batch: int
    """Requests per call of the engine."""
    asked: Callable[[int], None]
    """Called with the number of requests after each batch. What it raises ends the asking."""
    total: int = 0
    """Requests until now."""
    shortened: int = 0
    """Those of them that lost their beginning."""

    def loglikelihoods(self, pairs: Sequence[Pair]) -> list[tuple[float, bool]]:
        """The log-likelihood of each completion, in nats, and whether it is the greedy one."""
        answers: list[tuple[float, bool]] = []
        for part in self._batches(pairs):
            fitting = [self._fitting(*pair) for pair in part]
            contexts, completions = map(list, zip(*fitting, strict=True))
            scores = self.engine.score(contexts, completions, cached=True)
            greedy = self._greedy(fitting, scores)
            answers += [(sum(one), same) for one, same in zip(scores, greedy, strict=True)]
            self.asked(len(part))
        return answers

    def texts(self, prompts: Sequence[list[int]], how: Writing) -> list[str]:
        """What follows each prompt, up to the first stop string."""
        room = self.engine.max_model_len - how.max_tokens
        if room < 1:
            raise BadInput(
                f"a task asks for texts of {how.max_tokens} tokens, which leave no room for a"
                f" prompt in max_model_len ({self.engine.max_model_len})",
                f"give a --max-model-len above {how.max_tokens}",
            )
        texts = []
        for part in self._batches(prompts):
            self.shortened += sum(len(prompt) > room for prompt in part)
            written = self._written([prompt[-room:] for prompt in part], how)
            texts += [until_stop(self.decode(tokens), how.stops) for tokens in written]
            self.asked(len(part))
        return texts

    def _batches(self, requests: Sequence[T]) -> Iterator[Sequence[T]]:
        for start in range(0, len(requests), self.batch):
            part = requests[start : start + self.batch]
            yield part
            self.total += len(part)

    def _fitting(self, context: list[int], completion: list[int]) -> Pair:
        """The end of the context that fits; the engine keeps one token free."""
        room = self.engine.max_model_len - 1 - len(completion)
        if room < 1:
            raise BadInput(
                f"a task scores a text of {len(completion)} tokens, and max_model_len is"
                f" {self.engine.max_model_len}",
                f"give a --max-model-len above {len(completion) + 1}",
            )
        self.shortened += len(context) > room
        return context[-room:], completion

    def _greedy(self, pairs: Sequence[Pair], scores: Sequence[list[float]]) -> list[bool]:
        """Whether each completion is what greedy decoding gives. The engine's scores do not say it:
        one token is decoded where it is in doubt, place by place while the completion agrees."""
        alike = [True] * len(pairs)
        for place in range(max((len(completion) for _, completion in pairs), default=0)):
            doubtful = [
                number
                for number, one in enumerate(scores)
                if alike[number] and place < len(one) and one[place] <= HALF
            ]
            before = {n: (*pairs[n][0], *pairs[n][1][:place]) for n in doubtful}
            next_tokens = self._next(list(dict.fromkeys(before.values())))
            for number, context in before.items():
                alike[number] = next_tokens[context] == pairs[number][1][place]
        return alike

    def _next(self, contexts: Sequence[tuple[int, ...]]) -> dict[tuple[int, ...], int]:
        """The greedy token after each context."""
        if not contexts:
            return {}
        groups = self.engine.generate(
            [list(one) for one in contexts],
            samples=1,
            temperature=0.0,
            max_tokens=1,
            seeds=[0] * len(contexts),
        )
        tokens = [group[0].token_ids[0] for group in groups]
        return dict(zip(contexts, tokens, strict=True))

    def _written(self, prompts: Sequence[list[int]], how: Writing) -> list[list[int]]:
        """The tokens after each prompt. Greedy decoding goes on piece by piece and ends soon after
        a stop string, which the engine does not know."""
        written: list[list[int]] = [[] for _ in prompts]
        unfinished = list(range(len(prompts)))
        piece = how.max_tokens if how.temperature else PIECE
        for start in range(0, how.max_tokens, piece):
            if not unfinished:
                break
            groups = self.engine.generate(
                [prompts[n] + written[n] for n in unfinished],
                samples=1,
                temperature=how.temperature,
                max_tokens=min(piece, how.max_tokens - start),
                # Repeats of a request are other samples.
                seeds=[derive(0, "requests", self.total + n) for n in unfinished],
            )
            for number, (rollout,) in zip(unfinished, groups, strict=True):
                written[number] += rollout.token_ids
            ended = {
                n for n, (one,) in zip(unfinished, groups, strict=True) if one.finish == "stop"
            }
            unfinished = [
                n for n in unfinished if n not in ended and not self._stopped(written[n], how)
            ]
        return written

    def _stopped(self, tokens: list[int], how: Writing) -> bool:
        text = self.decode(tokens)
        return until_stop(text, how.stops) != text
