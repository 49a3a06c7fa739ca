"""Training prompts that overlap evaluation prompts, so that they are dropped before anything is
judged or learnt.

An overlap is either of

- `exact`: the two prompts have the same text, as `normalised` evens it out;
- `ngram`: a text of the training prompt shares 13 words in a row with one of the evaluation prompt.
  The texts of both are what is asked and what SFT would learn (the worked solution, or else the
  answer). 13 is the N of GPT-3's overlap analysis (Brown et al. 2020, appendix C). A text of fewer
  words has no n-gram: of it, exact is all there is."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from prompts.repeats import normalised
from prompts.schema import Prompt

N = 13
"""Words in an n-gram."""
LONGEST_EXCERPT = 200
"""Characters of the matched text that a finding shows."""
_CALCULATOR = re.compile(r"<<[^<>]*>>")
"""GSM8K writes `<<2+3=5>>` into its solutions; copies of the set often come without."""

NGram = tuple[str, ...]
Evaluation = tuple[str, Prompt]
"""Name of the suite, and one of its prompts."""


@dataclass(frozen=True)
class Finding:
    """A training prompt and the evaluation prompt that it overlaps: the first found, exact before
    n-gram."""

    id: str
    place: str
    source: str
    capability: str
    how: Literal["exact", "ngram"]
    suite: str
    matched: str
    """Id of the evaluation prompt."""
    text: str
    """Start of what the two share, normalised."""


@dataclass(frozen=True)
class _Index:
    """What evaluation prompts say, and who says it first."""

    texts: dict[str, Evaluation] = field(default_factory=dict)
    ngrams: dict[NGram, Evaluation] = field(default_factory=dict)

    @classmethod
    def of(cls, evaluation: Iterable[Evaluation]) -> "_Index":
        index = cls()
        for pair in evaluation:
            asked = normalised(pair[1])
            index.texts.setdefault(asked, pair)
            for text in (asked, _learnt(pair[1])):
                for ngram in _ngrams(text):
                    index.ngrams.setdefault(ngram, pair)
        return index


def decontaminate(
    training: Sequence[Prompt], evaluation: Iterable[Evaluation]
) -> tuple[list[Prompt], list[Finding]]:
    """The prompts of `training` that overlap nothing of `evaluation`, and a finding for each of the
    others.

    Both keep the order of `training`. Time is linear in the words of both.
    """
    index = _Index.of(evaluation)
    kept, findings = [], []
    for prompt in training:
        found = _overlap(prompt, index)
        if found is None:
            kept.append(prompt)
        else:
            findings.append(found)
    return kept, findings


def _overlap(prompt: Prompt, index: _Index) -> Finding | None:
    asked = normalised(prompt)
    if asked in index.texts:
        return _finding(prompt, "exact", index.texts[asked], asked)
    for text in (asked, _learnt(prompt)):
        # `filter` over `zip` walks the words outside the interpreter's loop.
        ngram = next(filter(index.ngrams.__contains__, _ngrams(text)), None)
        if ngram is not None:
            return _finding(prompt, "ngram", index.ngrams[ngram], " ".join(ngram))
    return None


def _finding(
    prompt: Prompt, how: Literal["exact", "ngram"], pair: Evaluation, text: str
) -> Finding:
    suite, matched = pair
    excerpt = text[:LONGEST_EXCERPT]
    return Finding(
        prompt.id, prompt.place, prompt.source, prompt.capability, how, suite, matched.id, excerpt
    )


def _learnt(prompt: Prompt) -> str:
    """What SFT would learn, normalised as a prompt's text is."""
    return normalised(replace(prompt, messages=[{"role": "assistant", "content": prompt.target}]))


def _ngrams(text: str) -> Iterator[NGram]:
    """Every N words in a row of a normalised text."""
    words = _CALCULATOR.sub("", text).split()
    return zip(*(words[start:] for start in range(N)), strict=False)
