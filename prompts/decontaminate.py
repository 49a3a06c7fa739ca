"""Finds training prompts that overlap evaluation prompts. They are dropped before judging and
training.

An overlap is one of

- `exact`: the two prompts have the same text after `normalised`;
- `ngram`: a text of the training prompt shares 13 consecutive words with one of the evaluation
  prompt. Both have two texts: the question, and what SFT would learn (the worked solution, or else
  the answer). 13 is the N of GPT-3's overlap analysis (Brown et al. 2020, appendix C). A text of
  fewer words has no n-gram and can only overlap exactly."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

from prompts.repeats import normalised
from prompts.schema import Prompt

N = 13
"""Words in an n-gram."""
LONGEST_EXCERPT = 200
"""Characters of the matched text that an overlap shows."""
_CALCULATOR = re.compile(r"<<[^<>]*>>")
"""GSM8K has `<<2+3=5>>` in its solutions; copies of the set often do not."""

NGram = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Asked:
    """What an evaluation prompt says, as overlaps are found in it."""

    suite: str
    id: str
    question: str
    """Normalised, as the target is."""
    target: str

    @classmethod
    def by(cls, suite: str, prompt: Prompt) -> "Asked":
        return cls(suite, prompt.id, normalised(prompt), _target(prompt))


@dataclass(frozen=True)
class Overlap:
    """A training prompt and the first evaluation prompt that it overlaps, exact before n-gram."""

    id: str
    place: str
    source: str
    capability: str
    how: Literal["exact", "ngram"]
    suite: str
    matched: str
    """Id of the evaluation prompt."""
    text: str
    """Start of the text that the two share, normalised."""


class _Index:
    """The texts and n-grams of evaluation prompts, each with the first prompt that has it."""

    def __init__(self, evaluation: Sequence[Asked]) -> None:
        self._evaluation = evaluation
        self.texts: dict[str, Asked] = {}
        for asked in evaluation:
            self.texts.setdefault(asked.question, asked)

    @cached_property
    def ngrams(self) -> dict[NGram, Asked]:
        """Needed where a training prompt has as many words, which short tasks have not."""
        ngrams: dict[NGram, Asked] = {}
        for asked in self._evaluation:
            for text in (asked.question, asked.target):
                for ngram in _ngrams(text):
                    ngrams.setdefault(ngram, asked)
        return ngrams


def decontaminate(
    training: Sequence[Prompt], evaluation: Sequence[Asked]
) -> tuple[list[Prompt], list[Overlap]]:
    """The prompts of `training` that do not overlap `evaluation`, and the overlaps of the others.

    Both keep the order of `training`. Time is linear in the words of both arguments.
    """
    index = _Index(evaluation)
    kept, overlaps = [], []
    for prompt in training:
        overlap = _overlap(prompt, index)
        if overlap is None:
            kept.append(prompt)
        else:
            overlaps.append(overlap)
    return kept, overlaps


def _overlap(prompt: Prompt, index: _Index) -> Overlap | None:
    question = normalised(prompt)
    if question in index.texts:
        return _between(prompt, "exact", index.texts[question], question)
    for text in (question, _target(prompt)):
        first = next(_ngrams(text), None)
        if first is None:
            continue
        # `filter` over `zip` is faster than a loop of the interpreter.
        ngram = next(filter(index.ngrams.__contains__, _ngrams(text)), None)
        if ngram is not None:
            return _between(prompt, "ngram", index.ngrams[ngram], " ".join(ngram))
    return None


def _between(prompt: Prompt, how: Literal["exact", "ngram"], asked: Asked, text: str) -> Overlap:
    ours = (prompt.id, prompt.place, prompt.source, prompt.capability)
    return Overlap(*ours, how, asked.suite, asked.id, text[:LONGEST_EXCERPT])


def _target(prompt: Prompt) -> str:
    """The text that SFT would learn, normalised like a prompt's text."""
    return normalised(replace(prompt, messages=[{"role": "assistant", "content": prompt.target}]))


def _ngrams(text: str) -> Iterator[NGram]:
    """All N consecutive words of a normalised text."""
    words = _CALCULATOR.sub("", text).split()
    return zip(*(words[start:] for start in range(N)), strict=False)
