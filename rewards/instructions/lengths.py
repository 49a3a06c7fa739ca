"""Constraints on how long an answer is and how it is divided."""

from itertools import pairwise
from typing import Literal

import regex

from common.config import Text
from rewards.instructions.constraint import Constraint, Count, Position, Relation, holds
from rewards.instructions.units import lines, paragraphs, sentences, words


class NumberOfWords(Constraint):
    id = "length_constraints:number_words"
    example = '"relation": "at least", "num_words": 100'
    relation: Relation
    num_words: Count

    def followed(self, text: str) -> bool:
        return holds(len(words(text)), self.relation, self.num_words)


class WordRange(Constraint):
    id = "count:word_count_range"
    example = '"min_words": 50, "max_words": 80'
    min_words: Count
    max_words: Count

    def followed(self, text: str) -> bool:
        return self.min_words <= len(words(text)) <= self.max_words


class NumberOfSentences(Constraint):
    id = "length_constraints:number_sentences"
    example = '"relation": "less than", "num_sentences": 6'
    relation: Relation
    num_sentences: Count

    def followed(self, text: str) -> bool:
        return holds(len(sentences(text)), self.relation, self.num_sentences)


class NumberOfParagraphs(Constraint):
    """Paragraphs are separated by `***`, as IFEval asks for; with `"separator": "blank line"`, by
    blank lines."""

    id = "length_constraints:number_paragraphs"
    example = '"num_paragraphs": 3'
    num_paragraphs: Position
    relation: Relation = "exactly"
    separator: Literal["***", "blank line"] = "***"

    def followed(self, text: str) -> bool:
        if self.separator == "blank line":
            return holds(len(paragraphs(text)), self.relation, self.num_paragraphs)
        parts = regex.split(r"(?<!\*)\*\*\*(?!\*)", text)
        filled = [bool(part.strip()) for part in parts]
        if not all(filled[1:-1]):
            return False
        return holds(sum(filled), self.relation, self.num_paragraphs)


class NumberOfLines(Constraint):
    """Lines that are not blank."""

    id = "length_constraints:number_lines"
    example = '"relation": "exactly", "num_lines": 4'
    relation: Relation
    num_lines: Count

    def followed(self, text: str) -> bool:
        return holds(len(lines(text)), self.relation, self.num_lines)


class NumberOfCharacters(Constraint):
    """Characters, spaces among them, without the space around the answer."""

    id = "length_constraints:number_characters"
    example = '"relation": "at most", "num_characters": 280'
    relation: Relation
    num_characters: Count

    def followed(self, text: str) -> bool:
        return holds(len(text.strip()), self.relation, self.num_characters)


class ParagraphFirstWord(Constraint):
    """The number of paragraphs (between blank lines), and the first word of one of them."""

    id = "length_constraints:nth_paragraph_first_word"
    example = '"num_paragraphs": 3, "nth_paragraph": 2, "first_word": "however"'
    num_paragraphs: Position
    nth_paragraph: Position
    first_word: Text

    def followed(self, text: str) -> bool:
        parts = paragraphs(text)
        if len(parts) != self.num_paragraphs or self.nth_paragraph > len(parts):
            return False
        first = words(parts[self.nth_paragraph - 1])[:1]
        return [word.lower() for word in first] == [self.first_word.strip().lower()]


class UniqueWords(Constraint):
    id = "count:unique_word_count"
    example = '"N": 40'
    N: Count

    def followed(self, text: str) -> bool:
        return len({word.lower() for word in words(text)}) >= self.N


class SentencesGrow(Constraint):
    """Each sentence has exactly `small_n` more words than the one before."""

    id = "sentence:increment"
    example = '"small_n": 2'
    small_n: Count

    def followed(self, text: str) -> bool:
        counts = [len(words(sentence)) for sentence in sentences(text)]
        steps = [after - before for before, after in pairwise(counts)]
        return bool(steps) and all(step == self.small_n for step in steps)


ALL = (
    NumberOfWords,
    WordRange,
    NumberOfSentences,
    NumberOfParagraphs,
    NumberOfLines,
    NumberOfCharacters,
    ParagraphFirstWord,
    UniqueWords,
    SentencesGrow,
)
