"""What is asked of vLLM, and what is read from its answers, in this process or in a server.

Importing this module does not load vllm."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from common.errors import BadInput, RunFailed
from models.chat import with_thinking_marks
from rollouts.interface import Rollout


class Sampled(NamedTuple):
    """One completion as vLLM returns it."""

    token_ids: list[int]
    logprobs: list[float]
    text: str
    """Without special tokens."""
    finish: str | None
    """vLLM's reason for its end."""


def counts(samples: int | Sequence[int], prompts: Sequence[Any]) -> list[int]:
    """The number of completions of each prompt. ValueError unless there is one for each."""
    each = [samples] * len(prompts) if isinstance(samples, int) else list(samples)
    if len(each) != len(prompts):
        raise ValueError(f"{len(each)} numbers of samples for {len(prompts)} prompts")
    return each


def generating(samples: int, temperature: float, top_p: float, max_tokens: int, seed: int) -> Any:
    """Settings that sample `samples` completions of one prompt."""
    from vllm import SamplingParams

    return SamplingParams(
        n=samples,
        temperature=temperature,
        top_p=top_p,
        max_tokens=max_tokens,
        seed=seed,
        logprobs=0,
        detokenize=True,
    )


def prompt_only(cached: bool = False) -> Any:
    """Settings that compute a prompt's log-probabilities and sample the one token that vLLM asks
    for. Every token is computed, or with `cached` those that the prefix cache does not hold: there
    are no log-probabilities of the others."""
    from vllm import SamplingParams

    return SamplingParams(
        temperature=0.0,
        max_tokens=1,
        prompt_logprobs=0,
        detokenize=False,
        skip_reading_prefix_cache=not cached,
    )


def first_token(tokens: Sequence[int]) -> Any:
    """Settings that compute the log-probabilities of `tokens` after a prompt."""
    from vllm import SamplingParams

    # At temperature 1 the processed log-probabilities are the model's own.
    return SamplingParams(
        temperature=1.0, max_tokens=1, logprob_token_ids=list(tokens), seed=0, detokenize=False
    )


def sampled(output: Any) -> list[Sampled]:
    """The completions of a vLLM output."""
    return [
        Sampled(
            list(one.token_ids),
            [row[token].logprob for row, token in zip(one.logprobs, one.token_ids, strict=True)],
            one.text,
            one.finish_reason,
        )
        for one in output.outputs
    ]


def unscored(outputs: Sequence[Any], prompts: Sequence[Sequence[int]]) -> list[int]:
    """Indices of the vLLM outputs of prompt and completion in which the prefix cache held the whole
    prompt: a part of the completion has no log-probability, as the last token of the prompt gives
    the first."""
    pairs = zip(outputs, prompts, strict=True)
    return [
        n for n, (output, prompt) in enumerate(pairs) if output.num_cached_tokens >= len(prompt)
    ]


def prompt_scores(output: Any, completion: Sequence[int]) -> list[float]:
    """The log-probabilities of `completion`, with which the prompt of a vLLM output ends."""
    # From the end: some of vLLM's runners leave out the rows of cached tokens.
    rows = output.prompt_logprobs[len(output.prompt_logprobs) - len(completion) :]
    return [row[token].logprob for row, token in zip(rows, completion, strict=True)]


def token_scores(output: Any, tokens: Sequence[int]) -> list[float]:
    """The log-probabilities of `tokens` in the vLLM output of a prompt."""
    row = output.outputs[0].logprobs[0]
    return [row[token].logprob for token in tokens]


def rollout(tokenizer: Any, prompt: list[int], one: Sampled) -> Rollout:
    """A completion of `prompt` as a rollout; RunFailed if it did not end as one can."""
    if one.finish not in ("stop", "length"):
        raise RunFailed(f"vLLM ended a completion with {one.finish!r}", "see the stage's log")
    text = with_thinking_marks(tokenizer, prompt, one.token_ids, one.text)
    return Rollout(one.token_ids, one.logprobs, text, one.finish)


def require_room(prompt: Sequence[int], new_tokens: int, max_model_len: int) -> None:
    """BadInput where `prompt` and `new_tokens` do not fit the engine's context together."""
    if len(prompt) + new_tokens > max_model_len:
        raise BadInput(
            f"{len(prompt)} prompt tokens and {new_tokens} new ones do not fit max_model_len"
            f" {max_model_len}",
            "raise rollouts.max_model_len or drop the prompt",
        )
