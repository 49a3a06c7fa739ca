"""The rollout engine on vLLM, in the trainer's process.

A seed belongs to a request, so a sample depends on prompt, seed and weights alone. The engine is
eager: on a CPU compiled mode builds the packed weights into the program and serves the old ones
after an update, without an error."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from common.devices import InProcess
from common.execution import ExecutionConfig
from models.chat import encode_chat, encode_text
from rollouts import environment, routes, sampling, sync
from rollouts.config import RolloutConfig
from rollouts.held import Published, held
from rollouts.interface import UNPUBLISHED, Rollout, RolloutEngine
from rollouts.vllm_settings import require_one_expert_per_token, vllm_settings


class Engine(RolloutEngine):
    """vLLM on one checkpoint. Raises BadInput for a checkpoint with more than one expert per token,
    and RunFailed where the environment is set for several processes."""

    def __init__(
        self,
        checkpoint: Path,
        config: RolloutConfig,
        seed: int,
        execution: ExecutionConfig | None = None,
    ) -> None:
        execution = execution or ExecutionConfig()
        require_one_expert_per_token(checkpoint)
        from models.checkpoint import load_tokenizer

        self._tokenizer: Any = load_tokenizer(checkpoint)
        self._config = config
        self._version = UNPUBLISHED
        generator_state = torch.random.get_rng_state()
        settings = vllm_settings(
            str(checkpoint), config.dtype, config.max_model_len, execution.max_num_seqs, seed
        )
        layout = execution.devices.engine
        if torch.cuda.is_available() and isinstance(layout, InProcess):
            settings["gpu_memory_utilization"] = layout.memory_share
        with environment.launched(execution.kv_cache_gib):
            from vllm import LLM

            self._llm = LLM(distributed_executor_backend="external_launcher", **settings)
        # vLLM seeds the process's generators; the rest of the process keeps its own state.
        torch.random.set_rng_state(generator_state)

    @property
    def max_model_len(self) -> int:
        return self._config.max_model_len

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
        samples: int | Sequence[int],
        temperature: float,
        max_tokens: int,
        seeds: Sequence[int],
        top_p: float = 1.0,
    ) -> list[list[Rollout]]:
        for prompt in prompts:
            self._require_room(prompt, max_tokens)
        settings = [
            sampling.generating(count, temperature, top_p, max_tokens, seed)
            for count, seed in zip(sampling.counts(samples, prompts), seeds, strict=True)
        ]
        outputs = self._run(prompts, settings)
        return [
            [sampling.rollout(self._tokenizer, prompt, one) for one in sampling.sampled(output)]
            for prompt, output in zip(prompts, outputs, strict=True)
        ]

    def score(
        self,
        prompts: Sequence[list[int]],
        completions: Sequence[list[int]],
        *,
        cached: bool = False,
    ) -> list[list[float]]:
        sequences = [p + c for p, c in zip(prompts, completions, strict=True)]
        for sequence in sequences:
            self._require_room(sequence, 1)
        if cached:  # only this call's tokens: the last bits depend on nothing that came before
            self._llm.reset_prefix_cache()
        outputs = self._run(sequences, sampling.prompt_only(cached))
        if again := sampling.unscored(outputs, prompts):
            whole = self._run([sequences[place] for place in again], sampling.prompt_only())
            for place, output in zip(again, whole, strict=True):
                outputs[place] = output
        return [
            sampling.prompt_scores(output, completion)
            for output, completion in zip(outputs, completions, strict=True)
        ]

    def next_token(self, prompts: Sequence[list[int]], tokens: Sequence[int]) -> list[list[float]]:
        for prompt in prompts:
            self._require_room(prompt, 1)
        outputs = self._run(prompts, sampling.first_token(tokens))
        return [sampling.token_scores(output, tokens) for output in outputs]

    def routing(self, sequences: Sequence[list[int]]) -> Tensor | None:
        with routes.listening(self._llm) as chosen:
            self._run(sequences, sampling.prompt_only())
        return routes.stacked(chosen, sum(map(len, sequences)))

    def publish(self, weights: Iterable[tuple[str, Tensor]], version: int) -> None:
        if self._config.exact:
            sync.load_weights(self._llm, weights)
        else:
            published = Published()
            sync.load_weights(self._llm, published.noting(weights))
            published.require(self._llm.apply_model(held)[0], "the engine")
        self._version = version

    def close(self) -> None:
        self._llm.llm_engine.engine_core.shutdown()
        del self._llm

    def _run(self, prompts: Sequence[list[int]], settings: Any) -> list[Any]:
        """vLLM's outputs for `prompts`; `settings` for all of them or one per prompt."""
        inputs = [{"prompt_token_ids": prompt} for prompt in prompts]
        outputs: list[Any] = self._llm.generate(inputs, settings, use_tqdm=False)
        return outputs

    def _require_room(self, prompt: list[int], new_tokens: int) -> None:
        sampling.require_room(prompt, new_tokens, self._config.max_model_len)
