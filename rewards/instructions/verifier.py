"""The verifier `instructions`: an answer follows the constraints that its prompt lists.

Strict and loose are those of IFEval (Zhou et al. 2023, arXiv:2311.07911, section 2)."""

from collections.abc import Sequence

from prompts.part import RewardPart
from prompts.parts import InstructionsPart
from prompts.schema import Prompt
from rewards.instructions.constraint import Constraint
from rewards.instructions.registry import constraints_of
from rewards.interface import Answer, OpenVerifier, Resources, Result, Verifier


class Instructions(Verifier):
    """The verifier, strict or loose. Needs no reference answer."""

    slow = False

    def check(self, prompt: Prompt, part: RewardPart) -> None:
        constraints_of(prompt)

    def open(self, part: RewardPart, resources: Resources) -> OpenVerifier:
        assert isinstance(part, InstructionsPart)
        return OpenInstructions(part)


class OpenInstructions(OpenVerifier):
    """Compares answers with their prompt's constraints."""

    def __init__(self, part: InstructionsPart) -> None:
        self._part = part

    def grade(self, prompt: Prompt, answers: Sequence[Answer]) -> list[Result]:
        constraints = constraints_of(prompt)
        return [self._graded(constraints, answer.text) for answer in answers]

    def close(self) -> None:
        """Nothing was started."""

    def _graded(self, constraints: Sequence[Constraint], text: str) -> Result:
        texts = [text] if self._part.mode == "strict" else loosened(text)
        verdicts = [follows(constraint, texts) for constraint in constraints]
        share = sum(verdicts) / len(verdicts)
        names = _named(constraints)
        missed = [name for name, verdict in zip(names, verdicts, strict=True) if not verdict]
        return Result(
            reward=share if self._part.partial else float(all(verdicts)),
            read=f"does not follow {', '.join(missed)}" if missed else "follows all",
            checks=dict(zip(names, map(float, verdicts), strict=True)),
        )


def follows(constraint: Constraint, texts: Sequence[str]) -> bool:
    """Whether one of `texts` follows the constraint. A blank text follows none."""
    return any(text.strip() and constraint.followed(text) for text in texts)


def loosened(text: str) -> list[str]:
    """The eight texts of which one must follow a constraint: with and without the first line, the
    last line, and asterisks. So an introduction, a closing remark or bold print breaks none."""
    lines = text.strip().split("\n")
    cut = [lines, lines[1:], lines[:-1], lines[1:-1]]
    texts = ["\n".join(part).strip() for part in cut]
    return [text, *texts[1:], *(part.replace("*", "") for part in texts)]


def _named(constraints: Sequence[Constraint]) -> list[str]:
    """Their ids; the second of equal ones has ` (2)` behind it, and so on."""
    ids = [constraint.id for constraint in constraints]
    counts = [ids[: place + 1].count(name) for place, name in enumerate(ids)]
    return [
        f"{name} ({count})" if count > 1 else name for name, count in zip(ids, counts, strict=True)
    ]
