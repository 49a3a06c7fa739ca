"""A sample of prompts that keeps every capability's share."""

from collections import Counter
from collections.abc import Sequence

from common.quotas import apportion
from common.seeds import derive
from prompts.schema import Prompt


def sample(prompts: Sequence[Prompt], limit: int | None, seed: int) -> list[Prompt]:
    """At most `limit` prompts, in their order. The choice depends only on `seed` and the ids."""
    if limit is None or limit >= len(prompts):
        return list(prompts)
    quotas = apportion(limit, Counter(prompt.capability for prompt in prompts))
    chosen = set()
    for prompt in sorted(
        prompts, key=lambda prompt: (derive(seed, "sample", prompt.id), prompt.id)
    ):
        if quotas[prompt.capability]:
            quotas[prompt.capability] -= 1
            chosen.add(prompt.id)
    return [prompt for prompt in prompts if prompt.id in chosen]
