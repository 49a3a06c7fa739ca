"""Constraints on words and letters that an answer must have, or must not have."""

from collections import Counter
from itertools import pairwise
from typing import Annotated

import regex
from pydantic import Field

from common.config import Text
from rewards.instructions.constraint import Constraint, Count, Position, Relation, Texts, holds
from rewards.instructions.units import sentences, times, words

_CONJUNCTIONS = {"and", "but", "for", "nor", "or", "so", "yet"}
_PRONOUNS = {
    *("i", "me", "my", "mine", "myself", "we", "us", "our", "ours", "ourselves"),
    *("you", "your", "yours", "yourself", "yourselves"),
    *("he", "him", "his", "himself", "she", "her", "hers", "herself", "it", "its", "itself"),
    *("they", "them", "their", "theirs", "themselves"),
}


class Keywords(Constraint):
    """Every keyword occurs as a whole word, whatever its case."""

    id = "keywords:existence"
    example = '"keywords": ["river", "bridge"]'
    keywords: Texts

    def followed(self, text: str) -> bool:
        return all(times(text, keyword) for keyword in self.keywords)


class KeywordFrequency(Constraint):
    id = "keywords:frequency"
    example = '"keyword": "river", "relation": "at least", "frequency": 3'
    keyword: Text
    relation: Relation
    frequency: Count

    def followed(self, text: str) -> bool:
        return holds(times(text, self.keyword), self.relation, self.frequency)


class ForbiddenWords(Constraint):
    """None of the words occurs as a whole word, whatever its case."""

    id = "keywords:forbidden_words"
    example = '"forbidden_words": ["very", "really"]'
    forbidden_words: Texts

    def followed(self, text: str) -> bool:
        return not any(times(text, word) for word in self.forbidden_words)


class LetterFrequency(Constraint):
    """How often a letter or sign occurs, whatever its case."""

    id = "keywords:letter_frequency"
    example = '"letter": "q", "let_relation": "less than", "let_frequency": 4'
    letter: Annotated[str, Field(min_length=1, max_length=1)]
    let_relation: Relation
    let_frequency: Count

    def followed(self, text: str) -> bool:
        given = text.lower().count(self.letter.lower())
        return holds(given, self.let_relation, self.let_frequency)


class KeySentences(Constraint):
    """Exactly `num_sentences` of the given sentences occur as whole sentences."""

    id = "keywords:key_sentences"
    example = '"key_sentences": ["It rained.", "We left."], "num_sentences": 1'
    key_sentences: Texts
    num_sentences: Count

    def followed(self, text: str) -> bool:
        there = {" ".join(sentence.split()) for sentence in sentences(text)}
        wanted = {" ".join(sentence.split()) for sentence in self.key_sentences}
        return len(wanted & there) == self.num_sentences


class KeywordsMultiple(Constraint):
    """Five keywords, exactly 1, 2, 3, 5 and 7 times."""

    id = "count:keywords_multiple"
    example = (
        '"keyword1": "ash", "keyword2": "bay", "keyword3": "cape", "keyword4": "dune",'
        ' "keyword5": "elm"'
    )
    keyword1: Text
    keyword2: Text
    keyword3: Text
    keyword4: Text
    keyword5: Text

    def followed(self, text: str) -> bool:
        wanted = {
            self.keyword1: 1,
            self.keyword2: 2,
            self.keyword3: 3,
            self.keyword4: 5,
            self.keyword5: 7,
        }
        return all(times(text, keyword) == count for keyword, count in wanted.items())


class KeywordInSentence(Constraint):
    """The word occurs in the N-th sentence."""

    id = "sentence:keyword"
    example = '"word": "river", "N": 2'
    word: Text
    N: Position

    def followed(self, text: str) -> bool:
        return any(times(one, self.word) for one in sentences(text)[self.N - 1 : self.N])


class KeywordPosition(Constraint):
    """The m-th word of the n-th sentence is the keyword."""

    id = "words:keywords_specific_position"
    example = '"keyword": "river", "n": 2, "m": 4'
    keyword: Text
    n: Position
    m: Position

    def followed(self, text: str) -> bool:
        sentence = "".join(sentences(text)[self.n - 1 : self.n])
        there = words(sentence)[self.m - 1 : self.m]
        return [word.lower() for word in there] == [self.keyword.strip().lower()]


class SecondAndLastButOne(Constraint):
    """The second word and the last but one are the keyword."""

    id = "words:words_position"
    example = '"keyword": "river"'
    keyword: Text

    def followed(self, text: str) -> bool:
        found = [word.lower() for word in words(text)]
        return len(found) > 2 and found[1] == found[-2] == self.keyword.strip().lower()


class Repeats(Constraint):
    """No word occurs more than `small_n` times."""

    id = "words:repeats"
    example = '"small_n": 3'
    small_n: Position

    def followed(self, text: str) -> bool:
        counts = Counter(word.lower() for word in words(text))
        return 0 < max(counts.values(), default=0) <= self.small_n


class Conjunctions(Constraint):
    """At least `small_n` different ones of and, but, for, nor, or, so, yet."""

    id = "count:conjunctions"
    example = '"small_n": 3'
    small_n: Count

    def followed(self, text: str) -> bool:
        return len(_CONJUNCTIONS & {word.lower() for word in words(text)}) >= self.small_n


class Pronouns(Constraint):
    """At least N personal and possessive pronouns of English, "it's" counted as one."""

    id = "count:pronouns"
    example = '"N": 5'
    N: Count

    def followed(self, text: str) -> bool:
        parts = [
            part
            for word in words(text.replace("/", " "))
            for part in regex.split("['’-]", word.lower())[:1]
        ]
        return sum(part in _PRONOUNS for part in parts) >= self.N


class Numbers(Constraint):
    """Exactly N numbers in digits; "1,000" and "3.5" are one each."""

    id = "count:numbers"
    example = '"N": 3'
    N: Count

    def followed(self, text: str) -> bool:
        return len(regex.findall(r"\p{Nd}+(?:[.,]\p{Nd}+)*", text)) == self.N


class NoConsecutive(Constraint):
    """No two words in a row begin with the same letter."""

    id = "words:no_consecutive"

    def followed(self, text: str) -> bool:
        found = [word.lower() for word in words(text)]
        return bool(found) and all(before[0] != after[0] for before, after in pairwise(found))


class LastFirst(Constraint):
    """The last word of each sentence is the first word of the next."""

    id = "words:last_first"

    def followed(self, text: str) -> bool:
        found = [words(sentence.lower()) for sentence in sentences(text)]
        return len(found) > 1 and all(before[-1] == after[0] for before, after in pairwise(found))


class Alphabet(Constraint):
    """Each word begins with the next letter of the alphabet; A follows Z."""

    id = "words:alphabet"

    def followed(self, text: str) -> bool:
        places = [ord(word[0].lower()) - ord("a") for word in words(text)]
        letters = bool(places) and all(0 <= place < 26 for place in places)
        return letters and all((before + 1) % 26 == after for before, after in pairwise(places))


class Palindromes(Constraint):
    """At least ten words of five letters or more that read the same backwards."""

    id = "words:palindrome"

    def followed(self, text: str) -> bool:
        found = [word.lower() for word in words(text)]
        return sum(len(word) >= 5 and word == word[::-1] for word in found) >= 10


ALL = (
    Keywords,
    KeywordFrequency,
    ForbiddenWords,
    LetterFrequency,
    KeySentences,
    KeywordsMultiple,
    KeywordInSentence,
    KeywordPosition,
    SecondAndLastButOne,
    Repeats,
    Conjunctions,
    Pronouns,
    Numbers,
    NoConsecutive,
    LastFirst,
    Alphabet,
    Palindromes,
)
