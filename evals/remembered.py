"""An engine that is asked only what it has not answered before.

The replies of a checkpoint are kept in a file, one entry per request: the checkpoint's weights, the
prompt's tokens and how the answer is sampled. So another evaluation of the same checkpoint, or one
that goes on after a stop, generates only what is missing. Grades are not kept: every evaluation
grades anew. The engine starts with the first request that has no entry."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from common.artifacts import CHECKPOINT
from common.files import read_sealed
from common.fingerprint import fingerprint
from common.reply_cache import ReplyCache
from common.versions import versions
from rollouts.config import RolloutConfig
from rollouts.interface import AnsweringEngine, Rollout

WHAT = "evaluation cache"
_RECORD = "record.json"


class RememberedEngine(AnsweringEngine):
    """An engine with a memory. `start` gives the one that is asked."""

    def __init__(
        self,
        start: Callable[[], AnsweringEngine],
        checkpoint: Path,
        config: RolloutConfig,
        cache: ReplyCache,
        weights: str,
    ) -> None:
        """`checkpoint` has the tokenizer; `weights` identifies its content (`content_of`)."""
        from models.checkpoint import load_tokenizer

        self._start, self._cache, self._config = start, cache, config
        self._tokenizer: Any = load_tokenizer(checkpoint)
        self._engine: AnsweringEngine | None = None
        self._scope = fingerprint([weights, config.model_dump(mode="json"), versions()])
        self.known = self.asked = 0
        """Requests that had an entry, and those that were put to the engine."""

    @property
    def max_model_len(self) -> int:
        return self._config.max_model_len

    def encode(self, messages: list[dict[str, str]]) -> list[int]:
        from models.chat import encode_chat

        return encode_chat(self._tokenizer, messages)

    def encode_text(self, text: str) -> list[int]:
        from models.chat import encode_text

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
        counts = [samples] * len(prompts) if isinstance(samples, int) else list(samples)
        how = [temperature, max_tokens, top_p]
        keys = [
            self._key("generate", prompt, [count, *how, seed if temperature else 0])
            for prompt, count, seed in zip(prompts, counts, seeds, strict=True)
        ]

        def missing(places: Sequence[int]) -> list[dict[str, Any]]:
            groups = self._opened().generate(
                [prompts[place] for place in places],
                samples=[counts[place] for place in places],
                temperature=temperature,
                max_tokens=max_tokens,
                seeds=[seeds[place] for place in places],
                top_p=top_p,
            )
            return [{"rollouts": [asdict(one) for one in group]} for group in groups]

        entries = self._entries(keys, missing)
        return [[Rollout(**one) for one in entry["rollouts"]] for entry in entries]

    def score(
        self,
        prompts: Sequence[list[int]],
        completions: Sequence[list[int]],
        *,
        cached: bool = False,
    ) -> list[list[float]]:
        pairs = list(zip(prompts, completions, strict=True))
        keys = [self._key("score", prompt, completion) for prompt, completion in pairs]

        def missing(places: Sequence[int]) -> list[dict[str, Any]]:
            questions, options = zip(*(pairs[place] for place in places), strict=True)
            scores = self._opened().score(questions, options, cached=cached)
            return [{"logprobs": one} for one in scores]

        return [entry["logprobs"] for entry in self._entries(keys, missing)]

    def close(self) -> None:
        if self._engine is not None:
            self._engine.close()

    def _opened(self) -> AnsweringEngine:
        if self._engine is None:
            self._engine = self._start()
        return self._engine

    def _key(self, call: str, prompt: list[int], how: Iterable[Any]) -> str:
        return fingerprint([self._scope, call, prompt, list(how)])

    def _entries(
        self, keys: Sequence[str], missing: Callable[[Sequence[int]], list[dict[str, Any]]]
    ) -> list[Mapping[str, Any]]:
        """The entry of each key. `missing` makes those at the given places."""
        entries: dict[str, Mapping[str, Any]] = dict(self._cache.get(keys))
        places = [place for place, key in enumerate(keys) if key not in entries]
        if places:
            new = {keys[place]: one for place, one in zip(places, missing(places), strict=True)}
            self._cache.put(new)
            entries |= new
        self.known += len(keys) - len(places)
        self.asked += len(places)
        return [entries[key] for key in keys]


def content_of(stage: Path, cache: ReplyCache) -> str:
    """Identifies the content of the checkpoint in the folder of a stage: the checksums of its
    record, or of the files themselves where there is none."""
    folder = CHECKPOINT.path(stage)
    if not (stage / _RECORD).is_file():
        return cache.folder_sum(folder)
    place = f"{CHECKPOINT.file}/"
    files = read_sealed(stage / _RECORD)["files"]
    return fingerprint(
        {
            name.removeprefix(place): known["sha256"]
            for name, known in files.items()
            if name.startswith(place)
        }
    )
