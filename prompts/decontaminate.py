"""Finds training prompts that overlap evaluation prompts. They are dropped before judging and
training.

An overlap is one of

- `exact`: the two prompts have the same text after `normalised`;
- `ngram`: a text of the training prompt shares 13 consecutive words with one of the evaluation
  prompt. Both have two texts: the question, and what SFT would learn (the worked solution, or else
  the answer). 13 is the N of GPT-3's overlap analysis (Brown et al. 2020, appendix C). A text of
  fewer words has no n-gram and can only overlap exactly."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
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
Evaluation = tuple[str, Prompt]
"""Name of the suite, and one of its prompts."""


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


@dataclass(frozen=True)
class _Index:
    """The texts and n-grams of evaluation prompts, each with the first prompt that has it."""

    texts: dict[str, Evaluation] = field(default_factory=dict)
    ngrams: dict[NGram, Evaluation] = field(default_factory=dict)

    @classmethod
    def of(cls, evaluation: Iterable[Evaluation]) -> "_Index":
        index = cls()
        for pair in evaluation:
            question = normalised(pair[1])
            index.texts.setdefault(question, pair)
            for text in (question, _target(pair[1])):
                for ngram in _ngrams(text):
                    index.ngrams.setdefault(ngram, pair)
        return index


def decontaminate(
    training: Sequence[Prompt], evaluation: Iterable[Evaluation]
) -> tuple[list[Prompt], list[Overlap]]:
    """The prompts of `training` that do not overlap `evaluation`, and the overlaps of the others.

    Both keep the order of `training`. Time is linear in the words of both arguments.
    """
    index = _Index.of(evaluation)
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
        # `filter` over `zip` is faster than a loop of the interpreter.
        ngram = next(filter(index.ngrams.__contains__, _ngrams(text)), None)
        if ngram is not None:
            return _between(prompt, "ngram", index.ngrams[ngram], " ".join(ngram))
    return None


def _between(
    prompt: Prompt, how: Literal["exact", "ngram"], pair: Evaluation, text: str
) -> Overlap:
    suite, matched = pair
    excerpt = text[:LONGEST_EXCERPT]
    return Overlap(
        prompt.id, prompt.place, prompt.source, prompt.capability, how, suite, matched.id, excerpt
    )


def _target(prompt: Prompt) -> str:
    """The text that SFT would learn, normalised like a prompt's text."""
    return normalised(replace(prompt, messages=[{"role": "assistant", "content": prompt.target}]))


def _ngrams(text: str) -> Iterator[NGram]:
    """All N consecutive words of a normalised text."""
    words = _CALCULATOR.sub("", text).split()
    return zip(*(words[start:] for start in range(N)), strict=False)
