"""The verifier of demonstrations, `none`: it grades nothing.

A demonstration is learnt in SFT, rated by a judge and split as any prompt is. Stages that grade
answers refuse it, or leave it out, before they begin."""

from common.errors import BadInput
from prompts.part import RewardPart
from prompts.schema import Prompt
from rewards.interface import OpenVerifier, Resources, Verifier


class Ungraded(Verifier):
    """No verifier."""

    slow = False

    def check(self, prompt: Prompt, part: RewardPart) -> None:
        """Every answer can be shown."""

    def open(self, part: RewardPart, resources: Resources) -> OpenVerifier:
        raise BadInput(
            "demonstrations (verifier: none) have no verifier, so no answer to them can be graded",
            "use them in `sft` and in judges that grade nothing, or give their source a verifier",
        )
