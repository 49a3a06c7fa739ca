"""The vLLM engine, in the same process as the trainer: generate, score, take new weights.

Seeds belong to requests, so what is sampled depends on prompt, seed and weights. The engine is
eager: compiled mode on a CPU bakes the packed weights in and would go on serving the old ones after
an update, without an error."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from common.errors import BadInput, RunFailed
from common.execution import ExecutionConfig
from common.files import read_json
from models.chat import encode_chat, encode_text, with_thinking_marks
from rollouts import environment, routes, sync
from rollouts.config import BATCH_TOKENS, RolloutConfig


@dataclass(frozen=True, slots=True)
class Rollout:
    """One sampled completion."""

    token_ids: list[int]
    """Completion tokens, the end token included when it was sampled."""
    logprobs: list[float]
    """Log-probability of each token in the distribution it was sampled from, temperature and top-p
    included."""
    text: str
    """The completion as text, special tokens left out."""
    finish: str
    """`stop` (end token) or `length` (cut off at the limit)."""


class Engine:
    """vLLM on one checkpoint."""

    def __init__(
        self,
        checkpoint: Path,
        config: RolloutConfig,
        seed: int,
        execution: ExecutionConfig | None = None,
    ) -> None:
        execution = execution or ExecutionConfig()
        _require_one_expert_a_token(checkpoint)
        environment.prepare(execution.kv_cache_gib)
        from vllm import LLM

        from models.checkpoint import load_tokenizer

        self.config = config
        self.max_model_len = config.max_model_len
        self.tokenizer: Any = load_tokenizer(checkpoint)
        rng = torch.random.get_rng_state()
        self.llm = LLM(
            str(checkpoint),
            dtype=config.dtype,
            seed=seed,
            enforce_eager=True,
            distributed_executor_backend="external_launcher",
            max_model_len=config.max_model_len,
            max_num_seqs=execution.max_num_seqs,
            max_num_batched_tokens=max(BATCH_TOKENS, config.max_model_len),
            # A prompt split over two batches would need a seeded generator's offset, which CPU
            # generators lack.
            enable_chunked_prefill=False,
            # The smallest block that vLLM's CPU attention takes (its default is 128): a group
            # shares whole blocks only.
            block_size=None if torch.cuda.is_available() else 32,
            logprobs_mode="processed_logprobs",
            disable_log_stats=True,
        )
        # vLLM seeds the process's generators; whoever shares the process keeps its own.
        torch.random.set_rng_state(rng)

    def encode(self, messages: list[dict[str, str]]) -> list[int]:
        """Token ids of a chat that ends where the assistant's answer begins."""
        return encode_chat(self.tokenizer, messages)

    def encode_text(self, text: str) -> list[int]:
        """Token ids of `text` alone: no special tokens added, none read out of it."""
        return encode_text(self.tokenizer, text)

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
        """`samples` completions for each prompt (token ids), one seed a prompt."""
        from vllm import SamplingParams

        requests = []
        for prompt, seed in zip(prompts, seeds, strict=True):
            self._require_room(prompt, max_tokens)
            params = SamplingParams(
                n=samples,
                temperature=temperature,
                top_p=top_p,
                max_tokens=max_tokens,
                seed=seed,
                logprobs=0,
                detokenize=True,
            )
            requests.append(({"prompt_token_ids": prompt}, params))
        outputs = self.llm.generate(
            [p for p, _ in requests], [s for _, s in requests], use_tqdm=False
        )
        return [
            [self._rollout(prompt, completion) for completion in output.outputs]
            for prompt, output in zip(prompts, outputs, strict=True)
        ]

    def score(
        self, prompts: Sequence[list[int]], completions: Sequence[list[int]]
    ) -> list[list[float]]:
        """Log-probability of each completion token after its prompt, under the engine's policy."""
        from vllm import SamplingParams

        for prompt, completion in zip(prompts, completions, strict=True):
            self._require_room(prompt + completion, 1)
        params = SamplingParams(temperature=0.0, max_tokens=1, prompt_logprobs=0, detokenize=False)
        inputs = [{"prompt_token_ids": p + c} for p, c in zip(prompts, completions, strict=True)]
        outputs = self.llm.generate(inputs, params, use_tqdm=False)
        scored = []
        for output, prompt, completion in zip(outputs, prompts, completions, strict=True):
            rows = output.prompt_logprobs[len(prompt) :]
            scored.append([row[token].logprob for row, token in zip(rows, completion, strict=True)])
        return scored

    def next_token(self, prompts: Sequence[list[int]], tokens: Sequence[int]) -> list[list[float]]:
        """Log-probability of each of `tokens` as the one that follows each prompt (token ids)."""
        from vllm import SamplingParams

        for prompt in prompts:
            self._require_room(prompt, 1)
        # At temperature 1 the processed log-probabilities are the model's own.
        params = SamplingParams(
            temperature=1.0, max_tokens=1, logprob_token_ids=list(tokens), seed=0, detokenize=False
        )
        outputs = self.llm.generate(
            [{"prompt_token_ids": prompt} for prompt in prompts], params, use_tqdm=False
        )
        return [
            [output.outputs[0].logprobs[0][token].logprob for token in tokens] for output in outputs
        ]

    def routing(self, sequences: Sequence[list[int]]) -> Tensor | None:
        """The experts that every token of the sequences (token ids) chooses: (MoE layers, tokens,
        top-k), sorted within a token. None where the engine cannot tell."""
        from vllm import SamplingParams

        # Prompt log-probabilities keep the prefix cache out: every token goes through the routers.
        params = SamplingParams(temperature=0.0, max_tokens=1, prompt_logprobs=0, detokenize=False)
        found = []
        for ids in sequences:
            with routes.listening(self.llm) as chosen:
                self.llm.generate([{"prompt_token_ids": ids}], params, use_tqdm=False)
            if not any(chosen.values()):
                return None
            layers = [torch.cat(chosen[layer])[: len(ids)] for layer in sorted(chosen)]
            found.append(torch.stack(layers).long().sort(-1).values)
        return torch.cat(found, dim=1)

    def sync(self, weights: Iterable[tuple[str, Tensor]]) -> None:
        """Put the policy's weights into the running engine."""
        sync.load_weights(self.llm, weights)

    def close(self) -> None:
        """Free the engine's memory. The engine cannot be used afterwards."""
        self.llm.llm_engine.engine_core.shutdown()
        del self.llm

    def _rollout(self, prompt: list[int], completion: Any) -> Rollout:
        if completion.finish_reason not in ("stop", "length"):
            raise RunFailed(
                f"vLLM ended a completion with {completion.finish_reason!r}", "see the stage's log"
            )
        ids = list(completion.token_ids)
        logprobs = [row[token].logprob for row, token in zip(completion.logprobs, ids, strict=True)]
        text = with_thinking_marks(self.tokenizer, prompt, ids, completion.text)
        return Rollout(ids, logprobs, text, completion.finish_reason)

    def _require_room(self, prompt: list[int], new_tokens: int) -> None:
        if len(prompt) + new_tokens > self.max_model_len:
            raise BadInput(
                f"{len(prompt)} prompt tokens and {new_tokens} new ones do not fit max_model_len"
                f" {self.max_model_len}",
                "raise rollouts.max_model_len or drop the prompt",
            )


def _require_one_expert_a_token(checkpoint: Path) -> None:
    path = checkpoint / "config.json"
    chosen = read_json(path).get("num_experts_per_tok") if path.is_file() else None
    if chosen is not None and chosen > 1:
        raise BadInput(
            f"{checkpoint}: {chosen} experts a token, and vLLM weights the experts' input for one"
            " only",
            "roll out a checkpoint with num_experts_per_tok 1",
        )
