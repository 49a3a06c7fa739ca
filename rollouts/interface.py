"""What the rest of the code knows of a rollout engine: it samples from one policy, scores sequences
under it, and takes new weights from the trainer.

`rollouts.engine.Engine` implements it in the caller's process, `rollouts.served.pool.ServedEngine`
with servers. Importing this module loads neither torch nor vllm."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from torch import Tensor

UNPUBLISHED = -1
"""Policy version of an engine that still holds the checkpoint that it was started with."""


@dataclass(frozen=True, slots=True)
class Rollout:
    """One sampled completion."""

    token_ids: list[int]
    """Completion tokens, the end token included when it was sampled."""
    logprobs: list[float]
    """Log-probability of each token, in nats, in the distribution that it was sampled from:
    temperature and top-p included."""
    text: str
    """The completion as text, without special tokens."""
    finish: str
    """`stop` (end token) or `length` (cut off at the limit)."""


class AnsweringEngine(Protocol):
    """Samples and scores under one policy, on token ids of the checkpoint's tokenizer.

    Results are in the order of the prompts. Up to rounding they do not depend on the other prompts
    of the call. No prompt is cut: `generate`, `score` and `next_token` raise BadInput for one that
    does not fit `max_model_len` together with its new tokens.
    """

    @property
    def max_model_len(self) -> int:
        """Longest prompt plus completion, in tokens."""
        ...

    def encode(self, messages: list[dict[str, str]]) -> list[int]:
        """Token ids of a chat that ends where the assistant's answer begins.

        Raises what the checkpoint's chat template raises, which may be any exception.
        """
        ...

    def encode_text(self, text: str) -> list[int]:
        """Token ids of `text` alone: no special token is added and none is read from it."""
        ...

    def generate(
        self,
        prompts: Sequence[list[int]],
        *,
        samples: int | Sequence[int],
        temperature: float,
        max_tokens: int,
        seeds: Sequence[int],
        top_p: float = 1.0,
    ) -> list[list[Rollout]]:
        """`samples` completions per prompt, one number for all or one for each, of at most
        `max_tokens` tokens.

        One seed per prompt. Temperature 0 is greedy decoding. Raises RunFailed when a completion
        ended neither with its end token nor at the limit.
        """
        ...

    def score(
        self,
        prompts: Sequence[list[int]],
        completions: Sequence[list[int]],
        *,
        cached: bool = False,
    ) -> list[list[float]]:
        """Log-probability, in nats, of each completion token after its prompt at temperature 1.

        `cached`: tokens with which several of the prompts begin are computed once. Otherwise every
        token of every sequence is computed. Prompt and completion must leave one token of
        `max_model_len` free.
        """
        ...

    def close(self) -> None:
        """Free the engine's memory. The engine cannot be used afterwards."""
        ...


class RolloutEngine(AnsweringEngine, Protocol):
    """What training needs besides: more about the policy, and new weights for it."""

    @property
    def version(self) -> int:
        """Version of the policy that answers: the one published last, UNPUBLISHED before any."""
        ...

    def next_token(self, prompts: Sequence[list[int]], tokens: Sequence[int]) -> list[list[float]]:
        """Log-probability, in nats, of each of `tokens` as the first token after each prompt:
        (prompts, tokens)."""
        ...

    def routing(self, sequences: Sequence[list[int]]) -> "Tensor | None":
        """The experts that every token of the sequences is routed to: int64 on the CPU, (MoE
        layers, tokens of all sequences, top-k), sorted within a token.

        None where the engine does not expose its routers' choices.
        """
        ...

    def publish(self, weights: "Iterable[tuple[str, Tensor]]", version: int) -> None:
        """Replace the weights with those of policy version `version`, by the checkpoint's tensor
        names, adapters merged.

        Every later result comes from them. Nothing may be sampling during the call.
        """
        ...


@runtime_checkable
class SeveralCopies(Protocol):
    """What an engine has besides where several copies of the policy answer, each for itself."""

    def score_each(
        self, prompts: Sequence[list[int]], completions: Sequence[list[int]]
    ) -> list[list[list[float]]]:
        """What `RolloutEngine.score` returns, from every copy: (copies, sequences, tokens)."""
        ...
