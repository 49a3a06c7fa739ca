"""Which prompts SFT can learn from. A prompt that is only rewarded, by a rubric or by tests, may
have no answer."""

from collections.abc import Sequence

from common.errors import BadInput
from prompts.schema import Prompt


def learnable(prompts: Sequence[Prompt]) -> list[Prompt]:
    """The prompts that have an answer or a worked solution. BadInput if none has."""
    taught = [prompt for prompt in prompts if prompt.target.strip()]
    if prompts and not taught:
        raise BadInput(
            f"none of {len(prompts)} prompts has an answer that SFT could learn, such as"
            f" {prompts[0].named}",
            "give rows an `answer` or a `solution`, or leave the SFT stage out",
        )
    return taught
