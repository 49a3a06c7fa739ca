"""Constraints on an answer's case, punctuation, beginning, end and language, and on repeating."""

import regex
from pydantic import Field, field_validator

from common.config import Text
from common.errors import BadInput
from prompts.languages import code_of
from rewards.instructions.constraint import Constraint, Count, Relation, holds
from rewards.instructions.units import sentences, words
from rewards.language import is_in

_COMMAS = ",，،、"
_AROUND = " \t\r\n\"'“”*_`"
_EMOJI = r"(?:\p{Extended_Pictographic}|\p{Regional_Indicator}{2}|[0-9#*]\uFE0F?\u20E3)[\uFE0F\u200D\p{EMod}\p{Extended_Pictographic}]*"  # noqa: E501

_LONGEST_EMOJI = 16
"""Code points of an emoji, at most."""


class Capitals(Constraint):
    """English in capital letters only."""

    id = "change_case:english_capital"

    def followed(self, text: str) -> bool:
        return text.isupper() and is_in(text, "en")


class Lowercase(Constraint):
    """English without a capital letter."""

    id = "change_case:english_lowercase"

    def followed(self, text: str) -> bool:
        return text.islower() and is_in(text, "en")


class CapitalWords(Constraint):
    """How many words of two letters or more are in capitals; "I" and "A" are none."""

    id = "change_case:capital_word_frequency"
    example = '"capital_relation": "at least", "capital_frequency": 5'
    capital_relation: Relation
    capital_frequency: Count

    def followed(self, text: str) -> bool:
        found = [word for word in words(text) if word.isupper() and sum(map(str.isalpha, word)) > 1]
        return holds(len(found), self.capital_relation, self.capital_frequency)


class TitleCase(Constraint):
    """Each word begins with a capital. Some may have a second one, or be an abbreviation in
    capitals; not most."""

    id = "format:title_case"

    def followed(self, text: str) -> bool:
        parts = [part for word in words(text) for part in regex.split(r"[^\p{L}\p{N}'’]+", word)]
        parts = [part for part in parts if regex.search(r"\p{L}", part)]
        in_capitals = [part for part in parts if len(part) > 1 and part.isupper()]
        others = [part for part in parts if part not in in_capitals]
        return 0 < len(parts) >= 2 * len(in_capitals) and all(
            not part[0].islower() and sum(map(str.isupper, part[1:])) < 2 for part in others
        )


class NoComma(Constraint):
    """No comma, of any script."""

    id = "punctuation:no_comma"

    def followed(self, text: str) -> bool:
        return not set(_COMMAS) & set(text)


class AllPunctuation(Constraint):
    """Full stop, comma, exclamation mark, question mark, colon, semicolon and an interrobang."""

    id = "count:punctuation"

    def followed(self, text: str) -> bool:
        rest = regex.sub(r"\?!|!\?|‽", "", text, count=1)
        return rest != text and set(".,!?:;") <= set(rest)


class Quotation(Constraint):
    """The whole answer is in double quotation marks."""

    id = "startend:quotation"

    def followed(self, text: str) -> bool:
        text = text.strip()
        inside = text[1:-1]
        if text[:1] == "“" and text[-1:] == "”":
            return bool(inside.strip()) and _closed_last(text, "“", "”")
        if len(text) < 2 or text[0] != '"' or text[-1] != '"' or not inside.strip():
            return False
        depth = 0
        for quote in regex.finditer(r'(?<!\\)"', inside):
            before = inside[: quote.start()][-1:]
            opens = not before or before.isspace() or before in "([{—–-:"
            depth += 1 if opens else -1
            if depth < 0:
                return False
        return True


class Ending(Constraint):
    """Ends with the phrase, whatever its case and what quotes it."""

    id = "startend:end_checker"
    example = '"end_phrase": "Is there anything else I can help with?"'
    end_phrase: Text

    def followed(self, text: str) -> bool:
        phrase, text = _alike(self.end_phrase, text)
        before = text[: len(text) - len(phrase)][-1:]
        return text.endswith(phrase) and not (before.isalnum() and phrase[0].isalnum())


class Start(Constraint):
    """Begins with the phrase, whatever its case and what quotes it."""

    id = "multi-turn:constrained_start"
    example = '"starter": "In my opinion"'
    starter: Text

    def followed(self, text: str) -> bool:
        phrase, text = _alike(self.starter, text)
        after = text[len(phrase) :][:1]
        return text.startswith(phrase) and not (after.isalnum() and phrase[-1].isalnum())


class RepeatPrompt(Constraint):
    """Begins with the given text, word for word whatever its case, and then says something."""

    id = "combination:repeat_prompt"
    example = '"prompt_to_repeat": "Write a poem about rain."'
    prompt_to_repeat: Text

    def followed(self, text: str) -> bool:
        asked, given = _alike(self.prompt_to_repeat, text)
        return given.startswith(asked) and bool(words(given[len(asked) :]))


class RepeatChanged(Constraint):
    """The given text with another first word, and nothing else."""

    id = "repeat:repeat_change"
    example = '"prompt_to_repeat": "Write a poem about rain."'
    prompt_to_repeat: Text

    def followed(self, text: str) -> bool:
        asked, given = self.prompt_to_repeat.split(), text.strip(_AROUND).split()
        return given[1:] == asked[1:] and given[:1] != asked[:1] and bool(given)


class RepeatSpan(Constraint):
    """Words `n_start` to `n_end` of the given text, from 0, without the last; nothing else."""

    id = "repeat:repeat_span"
    example = '"prompt_to_repeat": "Write a poem about rain.", "n_start": 2, "n_end": 4'
    prompt_to_repeat: Text
    n_start: Count
    n_end: Count = Field(ge=1)

    def followed(self, text: str) -> bool:
        wanted = self.prompt_to_repeat.lower().split()[self.n_start : self.n_end]
        return text.strip(_AROUND).lower().split() == wanted


class Language(Constraint):
    """The whole answer is in the language, which is given by its code or English name."""

    id = "language:response_language"
    example = '"language": "de"'
    language: Text

    @field_validator("language")
    @classmethod
    def _is_known(cls, value: str) -> str:
        try:
            return code_of(value)
        except BadInput as error:
            raise ValueError(f"{error.message}; {error.remedy}") from error

    def followed(self, text: str) -> bool:
        return is_in(text, self.language)


class EmojiAtEnds(Constraint):
    """Every sentence has an emoji at its end, before or after the stop."""

    id = "format:emoji"

    def followed(self, text: str) -> bool:
        joined = regex.sub(rf"((?<![.!?…])[.!?…]+[\"'”’)]*)\s*((?:{_EMOJI}\s*)+)", r" \2\1 ", text)
        ends = [
            sentence.rstrip(" \t\n.!?…\"'”’)")[-_LONGEST_EMOJI:] for sentence in sentences(joined)
        ]
        return bool(ends) and all(regex.search(rf"{_EMOJI}$", end) for end in ends)


class SentenceTypes(Constraint):
    """Two statements for each question."""

    id = "ratio:sentence_type"

    def followed(self, text: str) -> bool:
        statements, questions, _ = _types(text)
        return questions > 0 and statements == 2 * questions


class SentenceBalance(Constraint):
    """As many statements as questions as exclamations."""

    id = "ratio:sentence_balance"

    def followed(self, text: str) -> bool:
        statements, questions, exclamations = _types(text)
        return statements == questions == exclamations > 0


ALL = (
    Capitals,
    Lowercase,
    CapitalWords,
    TitleCase,
    NoComma,
    AllPunctuation,
    Quotation,
    Ending,
    Start,
    RepeatPrompt,
    RepeatChanged,
    RepeatSpan,
    Language,
    EmojiAtEnds,
    SentenceTypes,
    SentenceBalance,
)


def _alike(phrase: str, text: str) -> tuple[str, str]:
    """Both in small letters, with single spaces, straight quotes and nothing that quotes them; of a
    phrase such as `***`, which is nothing else, all of it counts."""
    around = _AROUND if phrase.strip(_AROUND) else None
    return _plain(phrase, around), _plain(text, around)


def _plain(text: str, around: str | None) -> str:
    straight = text.replace("’", "'").replace("“", '"').replace("”", '"')
    return " ".join(straight.strip(around).lower().split())


def _closed_last(text: str, opening: str, closing: str) -> bool:
    """Whether the mark that opens `text` is closed by its last character, not before."""
    depth = 0
    for place, sign in enumerate(text):
        depth += (sign == opening) - (sign == closing)
        if depth == 0:
            return place == len(text) - 1
    return False


def _types(text: str) -> tuple[int, int, int]:
    """Numbers of sentences that end in a full stop, a question mark, an exclamation mark."""
    ends = [sentence.rstrip(" \t\n\"'”’)*_")[-1:] for sentence in sentences(text)]
    return ends.count("."), ends.count("?"), ends.count("!")
