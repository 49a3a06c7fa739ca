"""The kinds of the suite `instructions`: what is asked about a topic, the constraints that tell the
verifier so, a reply that follows them, and one that does not."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from rewards.instructions.units import words


@dataclass(frozen=True)
class Topic:
    """What is written about."""

    noun: str
    name: str
    words: list[str]
    sentences: list[str]

    @property
    def text(self) -> str:
        """All of its sentences."""
        return " ".join(self.sentences)

    def first(self, count: int) -> str:
        return " ".join(self.sentences[:count])


@dataclass(frozen=True)
class Task:
    """One kind of instruction about a topic."""

    capability: str
    asked: str
    constraints: list[dict[str, Any]]
    reply: str
    wrong: str


Kind = Callable[[Topic], Task]
_EXACTLY, _LEAST, _MOST = {"relation": "exactly"}, {"relation": "at least"}, {"relation": "at most"}


def _c(id: str, **arguments: Any) -> list[dict[str, Any]]:
    return [{"id": id, **arguments}]


def words_at_most(t: Topic) -> Task:
    n = 12 + len(t.noun)
    rule = _c("length_constraints:number_words", **_MOST, num_words=n)
    return Task("length", f"Use at most {n} words.", rule, t.first(1), t.text)


def words_at_least(t: Topic) -> Task:
    n = len(words(t.text)) - 3
    rule = _c("length_constraints:number_words", **_LEAST, num_words=n)
    return Task("length", f"Use at least {n} words.", rule, t.text, t.first(2))


def words_between(t: Topic) -> Task:
    n = len(words(t.first(3)))
    rule = _c("count:word_count_range", min_words=n - 4, max_words=n + 4)
    return Task("length", f"Use {n - 4} to {n + 4} words.", rule, t.first(3), t.text + t.text)


def words_exactly(t: Topic) -> Task:
    n = len(words(t.sentences[1]))
    rule = _c("length_constraints:number_words", **_EXACTLY, num_words=n)
    return Task("length", f"Use exactly {n} words.", rule, t.sentences[1], t.first(2))


def sentences_exactly(t: Topic) -> Task:
    n = 2 + len(t.noun) % 3
    rule = _c("length_constraints:number_sentences", **_EXACTLY, num_sentences=n)
    return Task("length", f"Write exactly {n} sentences.", rule, t.first(n), t.first(1))


def sentences_below(t: Topic) -> Task:
    rule = _c("length_constraints:number_sentences", relation="less than", num_sentences=4)
    return Task("length", "Write fewer than four sentences.", rule, t.first(2), t.text)


def paragraphs(t: Topic) -> Task:
    rule = _c("length_constraints:number_paragraphs", num_paragraphs=3, separator="blank line")
    asked = "Write three paragraphs with a blank line between them."
    return Task("length", asked, rule, "\n\n".join(t.sentences[:3]), t.text)


def lines(t: Topic) -> Task:
    rule = _c("length_constraints:number_lines", **_EXACTLY, num_lines=4)
    asked = "Write exactly four lines, each of them one sentence."
    return Task("length", asked, rule, "\n".join(t.sentences[:4]), t.first(3))


def characters(t: Topic) -> Task:
    n = len(t.first(2)) + 20
    rule = _c("length_constraints:number_characters", **_MOST, num_characters=n)
    asked = f"Use at most {n} characters, spaces included."
    return Task("length", asked, rule, t.first(2), t.text)


def keywords(t: Topic) -> Task:
    used = [t.sentences[1].split()[-1].strip("."), t.sentences[3].split()[-1].strip(".")]
    rule = _c("keywords:existence", keywords=used)
    asked = f'Use both of the words "{used[0]}" and "{used[1]}".'
    return Task("words", asked, rule, t.text, t.first(1))


def without_noun(t: Topic) -> Task:
    rule = _c("keywords:forbidden_words", forbidden_words=[t.noun])
    asked = f'Do not use the word "{t.noun}" itself.'
    return Task("words", asked, rule, " ".join(t.sentences[1:4]), t.first(2))


def without_filler(t: Topic) -> Task:
    rule = _c("keywords:forbidden_words", forbidden_words=["very", "really", "is", "was"])
    asked = 'Do not use the words "very", "really", "is" and "was".'
    kept = [s for s in t.sentences if not {"is", "was"} & set(s.strip(".").split())][:2]
    return Task("words", asked, rule, " ".join(kept), f"{' '.join(kept)} It is very nice.")


def noun_twice(t: Topic) -> Task:
    rule = _c("keywords:frequency", keyword=t.noun, **_LEAST, frequency=2)
    asked = f'Use the word "{t.noun}" at least twice.'
    reply = f"{t.first(2)} The word for that is {t.noun}."
    return Task("words", asked, rule, reply, " ".join(t.sentences[1:]))


def few_letters(t: Topic) -> Task:
    n = t.first(2).lower().count("s") + 1
    rule = _c("keywords:letter_frequency", letter="s", let_relation="less than", let_frequency=n)
    asked = f'The letter "s" may occur fewer than {n} times in the whole answer.'
    return Task("words", asked, rule, t.first(2), f"{t.text} Its sides possess stresses.")


def word_in_sentence(t: Topic) -> Task:
    word = t.sentences[2].split()[-1].strip(".")
    rule = _c("sentence:keyword", word=word, N=3)
    asked = f'The third sentence must have the word "{word}".'
    return Task("words", asked, rule, t.first(4), t.first(2))


def bullets(t: Topic) -> Task:
    n = 3 + len(t.noun) % 3
    rule = _c("detectable_format:number_bullet_lists", num_bullets=n)
    reply = "\n".join(f"- {word}" for word in t.words[:n])
    asked = f"Answer with a list of exactly {n} bullet points."
    return Task("format", asked, rule, reply, ", ".join(t.words))


def marked_list(t: Topic) -> Task:
    rule = _c("format:list", sep="...")
    asked = "Give a list whose items begin with ... instead of a bullet, on lines of their own."
    reply = "\n".join(f"... {word}" for word in t.words)
    return Task("format", asked, rule, reply, "\n".join(f"- {word}" for word in t.words))


def sub_bullets(t: Topic) -> Task:
    asked = "Use bullet points with *, each with at least one sub-bullet with - below it."
    pairs = zip(t.words[:3], t.sentences[1:4], strict=True)
    reply = "\n".join(f"* {word}\n  - {sentence}" for word, sentence in pairs)
    wrong = "\n".join(f"* {word}" for word in t.words)
    return Task("format", asked, _c("format:sub-bullets"), reply, wrong)


def highlights(t: Topic) -> Task:
    rule = _c("detectable_format:number_highlighted_sections", num_highlights=2)
    asked = "Highlight at least two parts of the answer with asterisks, like *this*."
    reply = f"*{t.sentences[0]}* {t.sentences[1]} *{t.sentences[2]}*"
    return Task("format", asked, rule, reply, f"*{t.sentences[0]}* {t.sentences[1]}")


def placeholders(t: Topic) -> Task:
    rule = _c("detectable_content:number_placeholders", num_placeholders=3)
    asked = "Leave at least three placeholders in square brackets, such as [name]."
    reply = f"{t.first(2)} Come with [name] to [address] on [date]."
    return Task("format", asked, rule, reply, f"{t.first(2)} Come with [name].")


def title(t: Topic) -> Task:
    asked = "Begin with a title in double angular brackets, such as <<My title>>."
    reply = f"<<About {t.name}>>\n\n{t.first(2)}"
    return Task("format", asked, _c("detectable_format:title"), reply, f"# About\n\n{t.first(2)}")


def as_json(t: Topic) -> Task:
    asked = 'The whole answer must be a JSON object with the keys "topic" and "text".'
    reply = json.dumps({"topic": t.noun, "text": t.first(2)})
    return Task("format", asked, _c("detectable_format:json_format"), reply, f"topic: {t.noun}")


def sections(t: Topic) -> Task:
    rule = _c("detectable_format:multiple_sections", section_spliter="Section", num_sections=2)
    asked = "Divide the answer into two sections that begin with the lines Section 1 and Section 2."
    reply = f"Section 1\n{t.first(2)}\n\nSection 2\n{t.sentences[2]}"
    return Task("format", asked, rule, reply, f"Section 1\n{t.text}")


def two_responses(t: Topic) -> Task:
    asked = "Give two different answers with six asterisks (******) between them."
    reply = f"{t.first(2)}\n******\n{t.sentences[2]}"
    rule = _c("combination:two_responses")
    return Task("format", asked, rule, reply, f"{t.first(2)}\n\n{t.sentences[2]}")


def lowercase(t: Topic) -> Task:
    rule = _c("change_case:english_lowercase")
    asked = "Write in small letters only."
    return Task("case", asked, rule, t.first(3).lower(), t.first(3))


def capitals(t: Topic) -> Task:
    rule = _c("change_case:english_capital")
    return Task("case", "Write in capital letters only.", rule, t.first(3).upper(), t.first(3))


def some_capitals(t: Topic) -> Task:
    rule = _c(
        "change_case:capital_word_frequency", capital_relation="at least", capital_frequency=3
    )
    asked = "Write at least three words in capital letters."
    reply = f"{t.sentences[0]} {' '.join(t.words[:3]).upper()}."
    return Task("case", asked, rule, reply, t.first(3))


def no_comma(t: Topic) -> Task:
    asked = "Do not use any comma."
    wrong = f"{t.first(2)} There are {', '.join(t.words)}."
    return Task("punctuation", asked, _c("punctuation:no_comma"), t.first(3), wrong)


def quoted(t: Topic) -> Task:
    asked = "Put the whole answer in double quotation marks."
    return Task("punctuation", asked, _c("startend:quotation"), f'"{t.first(3)}"', t.first(3))


def ending(t: Topic) -> Task:
    phrase = f"That is all about {t.name}."
    asked = f'End with the sentence "{phrase}" and write nothing after it.'
    rule = _c("startend:end_checker", end_phrase=phrase)
    return Task("start and end", asked, rule, f"{t.first(2)} {phrase}", f"{phrase} {t.first(2)}")


def beginning(t: Topic) -> Task:
    phrase = f"Here is what I know about {t.name}:"
    asked = f'Begin with the words "{phrase}"'
    rule = _c("multi-turn:constrained_start", starter=phrase)
    return Task("start and end", asked, rule, f"{phrase} {t.first(2)}", t.first(2))


def postscript(t: Topic) -> Task:
    rule = _c("detectable_content:postscript", postscript_marker="P.S.")
    asked = "Add a postscript at the end, on a line of its own that begins with P.S."
    reply = f"{t.first(2)}\n\nP.S. {t.sentences[2]}"
    return Task("start and end", asked, rule, reply, t.first(3))


ALONE: tuple[Kind, ...] = (
    *(words_at_most, words_at_least, words_between, words_exactly, sentences_exactly),
    *(sentences_below, paragraphs, lines, characters, keywords, without_noun, without_filler),
    *(noun_twice, few_letters, word_in_sentence, bullets, marked_list, sub_bullets, highlights),
    *(placeholders, title, as_json, sections, two_responses, lowercase, capitals, some_capitals),
    *(no_comma, quoted, ending, beginning, postscript),
)
