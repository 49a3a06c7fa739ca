"""The rollout engine on vLLM, in the trainer's process.

A seed belongs to a request, so a sample depends on prompt, seed and weights alone. The engine is
eager: on a CPU compiled mode builds the packed weights into the program and serves the old ones
after an update, without an error."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from common.errors import BadInput, RunFailed
from common.files import read_json
from models.chat import encode_chat, encode_text, with_thinking_marks
from rollouts import environment, routes, sync
from rollouts.config import BATCH_TOKENS, RolloutConfig
from rollouts.interface import UNPUBLISHED, Rollout, RolloutEngine

CPU_BLOCK_SIZE = 32
"""Tokens per cache block on a CPU, the fewest that vLLM's attention takes there. Its default is
128, and the rollouts of a group share whole blocks only."""


class Engine(RolloutEngine):
    """vLLM on one checkpoint. Raises BadInput for a checkpoint with more than one expert per token,
    and RunFailed where the environment is set for several processes."""

    def __init__(self, checkpoint: Path, config: RolloutConfig, seed: int) -> None:
        _require_one_expert_per_token(checkpoint)
        environment.prepare(config.kv_cache_gib)
        from vllm import LLM

        from models.checkpoint import load_tokenizer

        self._tokenizer: Any = load_tokenizer(checkpoint)
        self._max_model_len = config.max_model_len
        self._version = UNPUBLISHED
        generator_state = torch.random.get_rng_state()
        self._llm = LLM(**_llm_settings(checkpoint, config, seed))
        # vLLM seeds the process's generators; the rest of the process keeps its own state.
        torch.random.set_rng_state(generator_state)

    @property
    def max_model_len(self) -> int:
        return self._max_model_len

    @property
    def version(self) -> int:
        return self._version

    def encode(self, messages: list[dict[str, str]]) -> list[int]:
        return encode_chat(self._tokenizer, messages)

    def encode_text(self, text: str) -> list[int]:
        return encode_text(self._tokenizer, text)

    def generate(
        self,
        prompts: Sequence[list[int]],
        *,
        samples: int,
        temperature: float,
        max_tokens: int,
        seeds: Sequence[int],
        top_p: float = 1.0,
    ) -> list[list[Rollout]]:
        from vllm import SamplingParams

        settings = []
        for prompt, seed in zip(prompts, seeds, strict=True):
            self._require_room(prompt, max_tokens)
            one = SamplingParams(
                n=samples,
                temperature=temperature,
                top_p=top_p,
                max_tokens=max_tokens,
                seed=seed,
                logprobs=0,
                detokenize=True,
            )
            settings.append(one)
        return [
            [self._rollout(prompt, completion) for completion in output.outputs]
            for prompt, output in zip(prompts, self._run(prompts, settings), strict=True)
        ]

    def score(
        self, prompts: Sequence[list[int]], completions: Sequence[list[int]]
    ) -> list[list[float]]:
        sequences = [p + c for p, c in zip(prompts, completions, strict=True)]
        for sequence in sequences:
            self._require_room(sequence, 1)
        outputs = self._run(sequences, _prompt_only())
        scores = []
        for output, prompt, completion in zip(outputs, prompts, completions, strict=True):
            rows = output.prompt_logprobs[len(prompt) :]
            scores.append([row[token].logprob for row, token in zip(rows, completion, strict=True)])
        return scores

    def next_token(self, prompts: Sequence[list[int]], tokens: Sequence[int]) -> list[list[float]]:
        from vllm import SamplingParams

        for prompt in prompts:
            self._require_room(prompt, 1)
        # At temperature 1 the processed log-probabilities are the model's own.
        settings = SamplingParams(
            temperature=1.0, max_tokens=1, logprob_token_ids=list(tokens), seed=0, detokenize=False
        )
        rows = [output.outputs[0].logprobs[0] for output in self._run(prompts, settings)]
        return [[row[token].logprob for token in tokens] for row in rows]

    def routing(self, sequences: Sequence[list[int]]) -> Tensor | None:
        parts = []
        for ids in sequences:
            with routes.listening(self._llm) as chosen:
                self._run([ids], _prompt_only())
            if not any(chosen.values()):
                return None
            layers = [torch.cat(chosen[layer])[: len(ids)] for layer in sorted(chosen)]
            parts.append(torch.stack(layers).long().sort(-1).values)
        return torch.cat(parts, dim=1)

    def publish(self, weights: Iterable[tuple[str, Tensor]], version: int) -> None:
        sync.load_weights(self._llm, weights)
        self._version = version

    def close(self) -> None:
        self._llm.llm_engine.engine_core.shutdown()
        del self._llm

    def _run(self, prompts: Sequence[list[int]], settings: Any) -> list[Any]:
        """vLLM's outputs for `prompts`; `settings` for all of them or one per prompt."""
        inputs = [{"prompt_token_ids": prompt} for prompt in prompts]
        outputs: list[Any] = self._llm.generate(inputs, settings, use_tqdm=False)
        return outputs

    def _rollout(self, prompt: list[int], completion: Any) -> Rollout:
        if completion.finish_reason not in ("stop", "length"):
            raise RunFailed(
                f"vLLM ended a completion with {completion.finish_reason!r}", "see the stage's log"
            )
        ids = list(completion.token_ids)
        logprobs = [row[token].logprob for row, token in zip(completion.logprobs, ids, strict=True)]
        text = with_thinking_marks(self._tokenizer, prompt, ids, completion.text)
        return Rollout(ids, logprobs, text, completion.finish_reason)

    def _require_room(self, prompt: list[int], new_tokens: int) -> None:
        if len(prompt) + new_tokens > self._max_model_len:
            raise BadInput(
                f"{len(prompt)} prompt tokens and {new_tokens} new ones do not fit max_model_len"
                f" {self._max_model_len}",
                "raise rollouts.max_model_len or drop the prompt",
            )


def _llm_settings(checkpoint: Path, config: RolloutConfig, seed: int) -> dict[str, Any]:
    return {
        "model": str(checkpoint),
        "dtype": config.dtype,
        "seed": seed,
        "enforce_eager": True,
        "distributed_executor_backend": "external_launcher",
        "max_model_len": config.max_model_len,
        "max_num_seqs": config.max_num_seqs,
        "max_num_batched_tokens": max(BATCH_TOKENS, config.max_model_len),
        # A prompt split over two batches would need a seeded generator's offset, which CPU
        # generators lack.
        "enable_chunked_prefill": False,
        "block_size": None if torch.cuda.is_available() else CPU_BLOCK_SIZE,
        "logprobs_mode": "processed_logprobs",
        "disable_log_stats": True,
    }


def _prompt_only() -> Any:
    """Settings that compute a prompt's log-probabilities and sample the one token that vLLM asks
    for. Prompt log-probabilities turn the prefix cache off, so every token is computed."""
    from vllm import SamplingParams

    return SamplingParams(temperature=0.0, max_tokens=1, prompt_logprobs=0, detokenize=False)


def _require_one_expert_per_token(checkpoint: Path) -> None:
    path = checkpoint / "config.json"
    top_k = read_json(path).get("num_experts_per_tok") if path.is_file() else None
    if top_k is not None and top_k > 1:
        raise BadInput(
            f"{checkpoint}: {top_k} experts per token, and vLLM weights the experts' input for one"
            " only",
            "roll out a checkpoint with num_experts_per_tok 1",
        )
