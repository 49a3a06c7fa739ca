"""The verifier `rubric`: a judge says of each item of a written rubric whether an answer does it.

Each item is a question of its own, answered with yes or no. The reward is the mean of the
probabilities of yes, weighted by the items' weights."""

from collections.abc import Sequence
from typing import Any

from pydantic import ValidationError

from common.config import InvalidValue
from judges.backend import Choice, Question
from judges.open_judge import Judges
from judges.reward_checks import check_reference, fault_of, reference_part, require_judge
from judges.texts import question, task
from prompts.judge_parts import RubricItem, RubricPart, require_different
from prompts.part import RewardPart
from prompts.schema import Prompt
from rewards.interface import Answer, BadPrompt, OpenVerifier, Resources, Result, Verifier

LABELS = ("yes", "no")
OWN = "rubric"
"""Name of a prompt's own rubric in its metadata."""
_EXAMPLE = '"metadata": {"rubric": [{"item": "states the unit", "weight": 2}]}'


class Rubric(Verifier):
    """Grades by a rubric."""

    slow = True

    def __init__(self, judges: Judges) -> None:
        self._judges = judges

    def check(self, prompt: Prompt, part: RewardPart) -> None:
        """BadPrompt where the prompt has no rubric, or a wrong one."""
        assert isinstance(part, RubricPart)
        check_reference(prompt, part)
        items_of(prompt, part)

    def require(self, part: RewardPart) -> None:
        """BadInput where the judge cannot be asked."""
        assert isinstance(part, RubricPart)
        require_judge(part)

    def open(self, part: RewardPart, resources: Resources) -> OpenVerifier:
        assert isinstance(part, RubricPart)
        return OpenRubric(part, self._judges, resources)


class OpenRubric(OpenVerifier):
    """A rubric's judge."""

    def __init__(self, part: RubricPart, judges: Judges, resources: Resources) -> None:
        self._part, self._judges = part, judges
        self._judge = judges.open(part, resources)

    def grade(self, prompt: Prompt, answers: Sequence[Answer]) -> list[Result]:
        items = items_of(prompt, self._part)
        questions = [self._question(prompt, one, item) for one in answers for item in items]
        choices = iter(self._judge.choose(questions))
        return [_result(items, [next(choices) for _ in items]) for _ in answers]

    def _question(self, prompt: Prompt, answer: Answer, item: RubricItem) -> Question:
        name, reference = reference_part("item", prompt, self._part)
        parts = {"task": task(prompt.messages), "answer": answer.text, "item": item.item}
        return Question(question(name, **parts, **reference), "Met:", LABELS)

    def close(self) -> None:
        self._judges.close(self._part)


def _result(items: Sequence[RubricItem], choices: Sequence[Choice]) -> Result:
    """One answer's result. An item without a reply leaves the reward unknown."""
    tokens = sum(one.tokens for one in choices)
    missing = next((one for one in choices if one.weights is None), None)
    if missing is not None:
        return Result(fault=fault_of(missing), judge_tokens=tokens)
    met = [one.weights["yes"] for one in choices if one.weights is not None]
    total = sum(item.weight for item in items)
    reward = sum(item.weight * p for item, p in zip(items, met, strict=True)) / total
    checks = {item.item: p for item, p in zip(items, met, strict=True)}
    return Result(min(1.0, reward), checks=checks, judge_tokens=tokens)


def items_of(prompt: Prompt, part: RubricPart) -> tuple[RubricItem, ...]:
    """The prompt's own rubric, otherwise that of its part. Raises BadPrompt where neither is there,
    or the prompt's is wrong."""
    given = prompt.metadata.get(OWN)
    if given is None:
        if not part.items:
            raise BadPrompt(
                f"has no rubric: it has no metadata.rubric, and {part.label} has no `items`",
                f"give the row {_EXAMPLE}, or the part `items: [{{item: states the unit}}]`",
            )
        return part.items
    if not isinstance(given, list) or not given:
        raise _wrong_rubric(f"metadata.rubric is not a list of items, got {given!r:.80}")
    items = tuple(_item(number, one) for number, one in enumerate(given))
    try:
        require_different(items)
    except InvalidValue as error:
        raise BadPrompt(f"has a wrong metadata.rubric: {error}", error.remedy) from error
    return items


def _item(number: int, given: Any) -> RubricItem:
    try:
        return RubricItem.model_validate(given, strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join([f"metadata.rubric[{number}]", *map(str, first["loc"])])
        raise _wrong_rubric(
            f"{place} {_wrong(first['type'])}, got {first['input']!r:.80}"
        ) from None


def _wrong_rubric(what: str) -> BadPrompt:
    return BadPrompt(f"has a wrong rubric: {what}", f"write {_EXAMPLE}")


def _wrong(kind: str) -> str:
    """What is wrong with an item, by the name that pydantic has for it."""
    words = {
        "missing": "is missing",
        "extra_forbidden": "is no field of an item, which has `item` and `weight`",
        "value_error": "is blank",
        "string_type": "is not a text",
        "model_type": "is not an object with `item` and `weight`",
    }
    return words.get(kind, "is not a number above 0")
