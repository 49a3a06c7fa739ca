"""Constraints on the letters of an answer's words, and on how like another text it is."""

import regex

from common.config import Text
from rewards.instructions.constraint import Constraint, Position
from rewards.instructions.units import lines, sentences, words

_PRIMES = {n for n in range(2, 100) if all(n % divisor for divisor in range(2, n))}
_OVERLAP = 2.0
"""Percentage points by which an overlap may differ from the asked one."""


class ConsonantClusters(Constraint):
    """Each word has two or more consonants of English in a row."""

    id = "words:consonants"

    def followed(self, text: str) -> bool:
        found = [word.lower() for word in words(text)]
        consonants = regex.compile(r"[bcdfghjklmnpqrstvwxyz]{2}")
        return bool(found) and all(consonants.search(word) for word in found)


class PrimeLengths(Constraint):
    """The number of letters of each word is prime."""

    id = "words:prime_lengths"

    def followed(self, text: str) -> bool:
        lengths = {sum(map(str.isalnum, word)) for word in words(text)}
        return bool(lengths) and lengths <= _PRIMES


class ThreeVowels(Constraint):
    """One paragraph with at most three of the vowels a, e, i, o, u."""

    id = "words:vowel"

    def followed(self, text: str) -> bool:
        return len(lines(text)) == 1 and len(set("aeiou") & set(text.lower())) <= 3


class ParagraphLastFirst(Constraint):
    """Each paragraph, which is a line, ends with the word that it begins with."""

    id = "words:paragraph_last_first"

    def followed(self, text: str) -> bool:
        found = [line for one in lines(text) if (line := words(one.lower()))]
        return bool(found) and all(len(line) > 1 and line[0] == line[-1] for line in found)


class JapaneseWords(Constraint):
    """Every N-th word has a Japanese sign, or is a number. Words are what spaces separate."""

    id = "words:words_japanese"
    example = '"N": 3'
    N: Position

    def followed(self, text: str) -> bool:
        nth = [word for word in text.split() if regex.search(r"\w", word)][self.N - 1 :: self.N]
        japanese = r"[\p{Han}\p{Hiragana}\p{Katakana}]|^\W*\d+\W*$"
        return bool(nth) and all(regex.search(japanese, word) for word in nth)


class EqualSentences(Constraint):
    """Three sentences with equal numbers of characters and no word in two of them."""

    id = "ratio:sentence_words"

    def followed(self, text: str) -> bool:
        found = sentences(text)
        used = [set(words(sentence.lower())) for sentence in found]
        different = len(set().union(*used)) == sum(map(len, used))
        return len(found) == 3 and len(set(map(len, found))) == 1 and different


class Overlap(Constraint):
    """The share of the answer's different trigrams of characters that the reference text has too,
    in percent, is within 2 of `percentage`."""

    id = "ratio:overlap"
    example = '"reference_text": "Rain fell all night.", "percentage": 60'
    reference_text: Text
    percentage: float

    def followed(self, text: str) -> bool:
        given, wanted = _trigrams(text), _trigrams(self.reference_text)
        share = 100 * len(given & wanted) / len(given) if given else 0.0
        return abs(share - self.percentage) <= _OVERLAP


ALL = (
    ConsonantClusters,
    PrimeLengths,
    ThreeVowels,
    ParagraphLastFirst,
    JapaneseWords,
    EqualSentences,
    Overlap,
)


def _trigrams(text: str) -> set[str]:
    return {text[place : place + 3] for place in range(len(text) - 2)}
