"""Prompts as tokens: behind which system prompt, and whether they leave room for a completion."""

import logging
from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import islice

from common.errors import BadInput
from common.faults import NOT_ENCODED, TOO_LONG, remedy_of
from common.seeds import derive
from prompts.schema import Prompt, with_system
from rollouts.interface import RolloutEngine
from stages.lengths import require_room

CACHED = 4096
"""Prompts whose tokens are kept in memory."""
_log = logging.getLogger(__name__)


class PromptEncoder:
    """Encodes prompts with the engine's chat template, when they are drawn."""

    def __init__(
        self,
        prompts: Mapping[str, Prompt],
        engine: RolloutEngine,
        system_prompts: Sequence[str],
        max_completion: int,
        seed: int,
    ) -> None:
        self.prompts, self.engine, self.seed = prompts, engine, seed
        self.system_prompts = system_prompts
        self.limit = engine.max_model_len - max_completion
        """Longest prompt that leaves room for a completion, in tokens."""
        self.variants = lru_cache(maxsize=CACHED)(self._variants)
        """Token ids of a prompt (by id) behind each of the system prompts; behind none, where there
        are none. A variant that cannot be encoded is empty."""

    def system_of(self, id: str, step: int) -> int:
        """Index of the system prompt that a prompt is behind at a step."""
        return derive(self.seed, "system", step, id) % max(len(self.system_prompts), 1)

    def encoded(self, id: str, step: int) -> list[int]:
        """Token ids of a prompt at a step."""
        return self.variants(id)[self.system_of(id, step)]

    def unusable(self, id: str) -> str | None:
        """Why a prompt cannot be rolled out behind each of the system prompts (`too_long`,
        `not_encoded`); None if it can."""
        variants = self.variants(id)
        if not all(variants):
            return NOT_ENCODED
        return TOO_LONG if max(map(len, variants)) > self.limit else None

    def usable(self, count: int) -> list[str]:
        """The ids of the first `count` prompts that can be rolled out. BadInput if there is
        none."""
        usable = list(islice((id for id in self.prompts if not self.unusable(id)), count))
        if not usable:
            self._refuse()
        return usable

    def _refuse(self) -> None:
        lengths = {
            self.prompts[id].named: max(map(len, self.variants(id)))
            for id in self.prompts
            if self.unusable(id) == TOO_LONG
        }
        remedy = (
            "raise rollouts.max_model_len, lower max_tokens, or set max_prompt_tokens of their"
            " source"
        )
        require_room(lengths, self.limit, "rollouts.max_model_len less max_tokens, a room", remedy)
        raise BadInput(
            f"not one of {len(self.prompts)} prompts can be encoded", remedy_of(NOT_ENCODED)
        )

    def _variants(self, id: str) -> list[list[int]]:
        systems: Sequence[str | None] = self.system_prompts or [None]
        messages = [with_system(self.prompts[id].messages, system) for system in systems]
        try:
            return [self.engine.encode(one) for one in messages]
        # A chat template is a program that came with the checkpoint: it may raise anything.
        except Exception:
            _log.warning("prompt %s cannot be encoded", id, exc_info=True)
            return [[] for _ in systems]
