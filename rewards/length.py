"""The reward of an answer's length.

Soft overlong punishment of DAPO (Yu et al. 2025, arXiv:2503.14476, equation 13), moved up by 1 so
that it lies between 0 and 1: with cut_off = L_max and limit = L_max - L_cache it is 1, then
(cut_off - length) / (cut_off - limit), then 0. A constant that is added changes no advantage."""

from collections.abc import Sequence

from prompts.parts import LengthPart, RewardPart
from prompts.schema import Prompt
from rewards.interface import Answer, OpenVerifier, Resources, Result, Verifier


class Length(Verifier):
    """Reads no reference."""

    slow = False

    def check(self, prompt: Prompt, part: RewardPart) -> None:
        """Any prompt will do."""

    def open(self, part: RewardPart, resources: Resources) -> OpenVerifier:
        assert isinstance(part, LengthPart)
        return OpenLength(part)


class OpenLength(OpenVerifier):
    """One soft limit."""

    def __init__(self, part: LengthPart) -> None:
        self.limit, self.cut_off = part.limit, part.cut_off

    def grade(self, prompt: Prompt, answers: Sequence[Answer]) -> list[Result]:
        return [self._graded(answer) for answer in answers]

    def close(self) -> None:
        """Nothing was started."""

    def _graded(self, answer: Answer) -> Result:
        """An answer of unknown length, such as one from a file, is not penalised."""
        if answer.tokens is None:
            return Result(1.0)
        left = (self.cut_off - answer.tokens) / (self.cut_off - self.limit)
        return Result(min(1.0, max(0.0, left)), str(answer.tokens))
