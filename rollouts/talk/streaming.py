"""The rollout engine with one thing more: a completion can be read while it grows."""

from collections.abc import Iterator

from rollouts import sampling
from rollouts.engine import Engine
from rollouts.interface import Rollout


class StreamingEngine(Engine):
    """An engine for conversations."""

    def stream(
        self,
        prompt: list[int],
        *,
        temperature: float,
        max_tokens: int,
        seed: int,
        top_p: float = 1.0,
    ) -> Iterator[tuple[str, Rollout | None]]:
        """One completion while it grows: its text so far and, in the last place, the completion.

        Closing the iterator ends the request."""
        self._require_room(prompt, max_tokens)
        settings = sampling.generating(1, temperature, top_p, max_tokens, seed)
        engine = self._llm.llm_engine
        inputs = engine.renderer.render_cmpl([{"prompt_token_ids": prompt}])
        name = engine.add_request("stream", *inputs, settings)
        try:
            while engine.has_unfinished_requests():
                for output in engine.step():
                    (one,) = sampling.sampled(output)
                    ended = output.finished
                    whole = sampling.rollout(self._tokenizer, prompt, one) if ended else None
                    yield one.text if whole is None else whole.text, whole
        finally:
            engine.abort_request([name])
