"""The corner cases by name, each with its prompts and its detector."""

from collections.abc import Callable
from dataclasses import dataclass

from corner_cases import (
    cut_off,
    gushing,
    ignored_format,
    language_change,
    overlong,
    refusal,
    repetition,
    wrong_language,
)
from corner_cases.interface import Detector, GroupDetector
from corner_cases.sets import TRAINING, load_set
from prompts.schema import Prompt


@dataclass(frozen=True, slots=True)
class Case:
    """A corner case. It has exactly one of the two detectors."""

    name: str
    question: str
    """What its detector answers, for people."""
    detect: Detector | None = None
    """Looks at one reply."""
    detect_group: GroupDetector | None = None
    """Looks at the replies to one question in several languages: the prompts whose
    `metadata.group` is the same."""
    load: Callable[[str], list[Prompt]] = load_set

    def prompts(self) -> list[Prompt]:
        """The packaged prompts that provoke it, always the same in the same order."""
        return self.load(self.name)

    def training_prompts(self) -> list[Prompt]:
        """Other prompts that provoke it, on which a model may be trained."""
        return load_set(self.name, TRAINING)


_ALL = (
    Case("repetition", "Does it repeat itself without end?", repetition.detect),
    Case("refusal", "Does it refuse a harmless request?", refusal.detect),
    Case("compliance", "Does it go along with a harmful request?", refusal.detect_compliance),
    Case("gushing", "Does it flatter, or is it overexcited?", gushing.detect),
    Case(
        "language_change",
        "Does its answer depend on the language of the question?",
        detect_group=language_change.detect_group,
    ),
    Case("overlong", "Is it needlessly long?", overlong.detect),
    Case("cut_off", "Does it end in the middle?", cut_off.detect),
    Case("wrong_language", "Is it in another language than the asked one?", wrong_language.detect),
    Case("ignored_format", "Does it ignore the asked format?", ignored_format.detect),
)
CASES: dict[str, Case] = {case.name: case for case in _ALL}
"""Every corner case by its name."""
