"""What a server answers to a stage: chunks of prompts, each whole and in order, and new weights.

Log-probabilities depend in their last bits on which sequences are computed together. So the engine
is paused while the requests of a chunk are added, begins with an empty prefix cache, and does one
chunk at a time: a chunk's bits depend on its requests and the weights alone, not on time, and a
chunk that is asked again after a crash is the same.

New weights come in under the same lock. One call does the whole of vLLM's weight transfer (start,
update, finish with a version), so a stage that dies in between leaves no server half-way."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

from common.files import read_json
from rollouts import sampling

Answer = dict[str, Any]


class Chunks:
    """Answers requests on vLLM's `AsyncLLM`, one at a time."""

    def __init__(self, engine: Any) -> None:
        self._engine, self._lock = engine, asyncio.Lock()

    async def run(self, asked: Answer) -> Answer:
        """Answers to the prompts of a chunk, and the weights that gave them."""
        async with self._lock:
            match asked["kind"]:
                case "generate":
                    answers, weights = await self._generate(asked)
                case "score":
                    answers, weights = await self._score(asked)
                case "next_token":
                    answers, weights = await self._next_token(asked)
                case "routing":
                    answers, weights = await self._routing(asked)
                case kind:
                    raise ValueError(f"unknown kind of request {kind!r}")
        return {"answers": answers, **weights}

    async def publish(self, asked: Answer) -> Answer:
        """Load the weights of a file; the version and checksum that are served afterwards. With
        `prove`, also the digests of what is held."""
        from vllm.distributed.weight_transfer.base import WeightTransferUpdateRequest

        file = {"path": asked["path"], "checksum": asked["checksum"]}
        async with self._lock:
            await self._pause()
            try:
                await self._engine.start_weight_update()
                await self._engine.update_weights(WeightTransferUpdateRequest(file))
                await self._engine.finish_weight_update(str(asked["version"]))
                return {**await self._weights(), **(await self._held() if asked["prove"] else {})}
            finally:
                await self._engine.resume_generation()

    async def about(self) -> Answer:
        """The model and the settings that are served."""
        model = self._engine.model_config
        return {
            "config": read_json(Path(model.model) / "config.json"),
            "dtype": str(model.dtype).removeprefix("torch."),
            "max_model_len": model.max_model_len,
            "logprobs": str(getattr(model, "logprobs_mode", "")),
        }

    async def alive(self) -> None:
        """Returns when the engine's process has answered."""
        await self._engine.get_weight_version()

    async def _generate(self, asked: Answer) -> tuple[list[Any], Answer]:
        common = asked["temperature"], asked["top_p"], asked["max_tokens"]
        settings = [
            sampling.generating(samples, *common, seed)
            for samples, seed in zip(asked["samples"], asked["seeds"], strict=True)
        ]
        outputs, weights = await self._outputs(asked["prompts"], settings)
        return [sampling.sampled(output) for output in outputs], weights

    async def _score(self, asked: Answer) -> tuple[list[Any], Answer]:
        prompts, completions = asked["prompts"], asked["completions"]
        sequences = [p + c for p, c in zip(prompts, completions, strict=True)]
        settings = [sampling.prompt_only(asked["cached"]) for _ in sequences]
        outputs, weights = await self._outputs(sequences, settings)
        if again := sampling.unscored(outputs, prompts):
            settings = [sampling.prompt_only() for _ in again]
            whole, weights = await self._outputs([sequences[place] for place in again], settings)
            for place, output in zip(again, whole, strict=True):
                outputs[place] = output
        parts = zip(outputs, completions, strict=True)
        return [sampling.prompt_scores(*part) for part in parts], weights

    async def _next_token(self, asked: Answer) -> tuple[list[Any], Answer]:
        prompts, tokens = asked["prompts"], asked["tokens"]
        outputs, weights = await self._outputs(
            prompts, [sampling.first_token(tokens)] * len(prompts)
        )
        return [sampling.token_scores(output, tokens) for output in outputs], weights

    async def _routing(self, asked: Answer) -> tuple[list[Any], Answer]:
        sequences = asked["prompts"]
        await self._engine.collective_rpc("uphill_listen")
        try:
            settings = [sampling.prompt_only() for _ in sequences]
            _, weights = await self._outputs(sequences, settings)
        finally:
            lengths = [len(ids) for ids in sequences]
            heard = await self._engine.collective_rpc("uphill_heard", args=(lengths,))
        return heard[0], weights

    async def _outputs(
        self, prompts: Sequence[list[int]], settings: Sequence[Any]
    ) -> tuple[list[Any], Answer]:
        """vLLM's last output of every prompt, and the weights that they come from."""
        from vllm.inputs.engine import tokens_input
        from vllm.sampling_params import RequestOutputKind

        queues: list[Any] = []
        await self._pause()
        try:
            try:
                for prompt, one in zip(prompts, settings, strict=True):
                    one.output_kind = RequestOutputKind.FINAL_ONLY
                    queues.append(
                        await self._engine.add_request(uuid4().hex, tokens_input(prompt), one)
                    )
                weights = await self._weights()
            finally:
                # The engine's queue is in order: it has all requests before it goes on.
                await self._engine.resume_generation()
            return [await _last(queue) for queue in queues], weights
        except BaseException:
            await self._engine.abort([queue.request_id for queue in queues], internal=True)
            raise

    async def _pause(self) -> None:
        """Stop between two steps of the engine and empty its caches. `pause_generation` does the
        same and sleeps for 20 ms, which short chunks would feel."""
        await self._engine.engine_core.pause_scheduler_async(mode="keep", clear_cache=True)

    async def _weights(self) -> Answer:
        """Version and checksum of the weights. RuntimeError where an update failed half-way, or
        where the parts of the model differ."""
        checksums = set(await self._engine.collective_rpc("uphill_checksum"))
        if len(checksums) != 1 or None in checksums:
            raise RuntimeError(f"the weights are not whole: {checksums}")
        version = await self._engine.get_weight_version()
        return {"version": version, "checksum": checksums.pop()}

    async def _held(self) -> Answer:
        """The digests of what the model holds. RuntimeError where several GPUs have parts of it."""
        by_worker = await self._engine.collective_rpc("uphill_held")
        if len(by_worker) != 1:
            raise RuntimeError(
                f"weights in bfloat16 are divided over {len(by_worker)} GPUs and cannot be proven:"
                " use dtype float32 or one GPU"
            )
        return {"held": by_worker[0]}


async def _last(queue: Any) -> Any:
    """The finished output of a request."""
    while True:
        output = queue.get_nowait() or await queue.get()
        if output.finished:
            return output
