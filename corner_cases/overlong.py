"""Detects replies that are needlessly long for what was asked.

What is long enough stands in the prompt: a limit in its metadata, or its reference answer, beside
which a reply may have a sentence or two of explanation. A prompt with neither says nothing about
length, and nothing is found."""

import regex

from corner_cases.interface import Finding, Reply, finding
from prompts.schema import Prompt
from rewards.instructions.units import sentences

CASE = "overlong"
SLACK, SPARE_WORDS = 1.2, 3
"""A limit of words may be exceeded by this factor and so many words."""
SENTENCE_SLACK = 1.5
"""A limit of sentences may be exceeded by this factor."""
EXPLANATION, TIMES_REFERENCE = 40, 3
"""Words of a reply that has no limit, besides this many times those of the reference answer."""
SIGNS_PER_WORD = 1.6
"""Signs of Chinese and Japanese that say as much as a word of English."""
_SIGN = r"[\p{Han}\p{Hiragana}\p{Katakana}ー]"
_WORD = regex.compile(rf"{_SIGN}|(?:(?!{_SIGN})\S)*(?!{_SIGN})[\p{{L}}\p{{N}}](?:(?!{_SIGN})\S)*")


def detect(prompt: Prompt, reply: Reply) -> Finding | None:
    """The part of a reply that is beyond `metadata.max_words`, `metadata.max_sentences`, or else
    beyond what the reference answer needs."""
    max_words, max_sentences = (prompt.metadata.get(k) for k in ("max_words", "max_sentences"))
    if max_sentences is not None:
        count = len(sentences(reply.text))
        if count > max(SENTENCE_SLACK * max_sentences, max_sentences + 1):
            reason = f"too many sentences ({count}, asked for {max_sentences})"
            return finding(CASE, reason, reply.text, _start_of(reply.text, max_sentences))
    if max_words is not None:
        return _beyond(reply.text, SLACK * max_words + SPARE_WORDS, f"asked for {max_words}")
    if max_sentences is None and prompt.answer.strip():
        reference = size(prompt.answer)
        enough = EXPLANATION + TIMES_REFERENCE * reference
        return _beyond(reply.text, enough, f"the reference has {reference:.0f}")
    return None


def size(text: str) -> float:
    """The number of words; signs of Chinese and Japanese count `1 / SIGNS_PER_WORD` each."""
    return sum(map(_size, _WORD.findall(text)))


def _size(word: str) -> float:
    return 1 / SIGNS_PER_WORD if regex.match(_SIGN, word) else 1.0


def _beyond(text: str, enough: float, why: str) -> Finding | None:
    counted, total = 0.0, size(text)
    if total <= enough:
        return None
    for word in _WORD.finditer(text):
        counted += _size(word.group())
        if counted > enough:
            return finding(CASE, f"too many words ({total:.0f}, {why})", text, word.start())
    return None


def _start_of(text: str, number: int) -> int:
    """Where the sentence after `number` others begins; 0 where that is not found."""
    return max(0, text.find(sentences(text)[number]))
