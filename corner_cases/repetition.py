"""Detects endless repetition: a character, word, phrase, sentence or line that follows itself again
and again.

The shorter a unit, the more often it may repeat: people write "no, no, no" and draw lines of
hyphens, but no sentence three times in a row. What repeats with other text in between, as a refrain
does, is no loop."""

from collections import Counter
from itertools import pairwise

import regex

from corner_cases.interface import Finding, Reply, finding
from corner_cases.loops import Loop, first_loop
from prompts.schema import Prompt
from rewards.instructions.units import sentences

CASE = "repetition"
LONGEST = 20_000
"""Characters of a text that are looked at, from its end: loops do not end."""
WIDE = 2.5
"""Letters that one sign of Chinese or Japanese is worth."""
REPEATS = ((4, 16), (8, 10), (16, 5), (20, 4), (LONGEST, 3))
"""Repeats from which a unit shorter than so many letters is a loop."""
NUMBER_REPEATS = 20
"""The same for a unit of numbers, which stand in one line."""
LINE_REPEATS, BARE_LINE_REPEATS = 4, 10
"""The same for whole lines, with letters and without."""
COUNTED_REPEATS, COUNTED_WORDS = 6, 2
"""The same for a unit that differs in one counter, and the words that it needs besides: `print(1)`
has too few."""
SENTENCE_REPEATS, SENTENCE_SHARE = 5, 0.6
"""How often a sentence stands in a text that consists of it, with others in between."""
_WIDE = r"[\p{Han}\p{Hiragana}\p{Katakana}ー\p{Thai}]"
_ITEM = regex.compile(
    rf"{_WIDE}|\p{{Extended_Pictographic}}|(?:(?!{_WIDE})[\p{{L}}\p{{M}}\p{{N}}])+", regex.V1
)
_LETTER = regex.compile(r"\p{L}|\p{So}")
_SAME = regex.compile(
    r"(?P<letter>\p{L})(?P=letter){24,}"
    r"|(?P<digit>\p{N})(?P=digit){59,}"
    r"|(?P<layout>[-=_.*#~+─━═·•\s|])(?P=layout){299,}"
    r"|(?P<other>[^\p{L}\p{N}\s\-=_.*#~+─━═·•|])(?P=other){19,}"
    r"|(?P<part>(?P<first>\p{L})(?!(?P=first))[\p{L}\p{M}]{1,11}?)(?P=part){11,}"
)
"""One sign, or a part of a word, again and again. Numbers have many zeros, and layout lines."""


def detect(prompt: Prompt, reply: Reply) -> Finding | None:
    """The first loop in a reply that is longer than `metadata.repeats` of its prompt asks for."""
    offset = max(0, len(reply.text) - LONGEST)
    text = reply.text[offset:]
    allowed = _allowed(prompt)
    for look in (_of_signs, _of_words, _of_lines, _of_counted, _of_sentences):
        place = look(text, allowed)
        if place is not None:
            start, end, reason = place
            return finding(CASE, reason, reply.text, offset + start, offset + end)
    return None


Place = tuple[int, int, str]


def _allowed(prompt: Prompt) -> float:
    """Repeats that the prompt asks for, and a fifth more; 0 where it asks for none."""
    asked = prompt.metadata.get("repeats", 0)
    return 1.2 * asked + 1 if asked else 0.0


def _of_signs(text: str, allowed: float) -> Place | None:
    for match in _SAME.finditer(text):
        unit = next(group for group in match.groups() if group is not None)
        repeats = len(match.group()) // len(unit)
        if repeats > allowed:
            return match.start(), match.end(), f"signs in a loop ({repeats} times)"
    return None


def _of_words(text: str, allowed: float) -> Place | None:
    """A loop of words, wherever lines break; of numbers in one line only, as matrices repeat."""
    items = list(_ITEM.finditer(text))
    words = [item.group().lower() for item in items]

    def counts(loop: Loop) -> bool:
        unit = words[loop.start : loop.start + loop.period]
        needed = _needed(unit)
        if not any(map(_LETTER.search, unit)):
            inside = text[items[loop.start].start() : items[loop.end - 1].end()]
            return "\n" not in inside and NUMBER_REPEATS <= loop.repeats > allowed
        return needed <= loop.repeats > allowed

    loop = first_loop(words, counts)
    if loop is None:
        return None
    start, end = items[loop.start].start(), items[loop.end - 1].end()
    return start, end, f"words in a loop ({loop.repeats} times)"


def _needed(unit: list[str]) -> int:
    size = sum(WIDE * len(word) if regex.match(_WIDE, word) else len(word) for word in unit)
    return next(repeats for letters, repeats in REPEATS if size < letters)


def _of_lines(text: str, allowed: float) -> Place | None:
    places = list(regex.finditer(r"[^\n]*\S[^\n]*", text))
    lines = [place.group().rstrip().lower() for place in places]  # blocks of code end in steps

    def counts(loop: Loop) -> bool:
        unit = lines[loop.start : loop.start + loop.period]
        bare = not any(map(_LETTER.search, unit))
        return (BARE_LINE_REPEATS if bare else LINE_REPEATS) <= loop.repeats > allowed

    loop = first_loop(lines, counts)
    if loop is None:
        return None
    start, end = places[loop.start].start(), places[loop.end - 1].end()
    return start, end, f"lines in a loop ({loop.repeats} times)"


def _of_counted(text: str, allowed: float) -> Place | None:
    """A loop of words that differs in one counter alone, such as "Step 4: check the cable."."""
    items = list(_ITEM.finditer(regex.sub(r"```.*?```", _blank, text, flags=regex.DOTALL)))
    words = ["#" if item.group().isdecimal() else item.group().lower() for item in items]

    def counts(loop: Loop) -> bool:
        unit = words[loop.start : loop.start + loop.period]
        rest = [word for word in unit if word != "#"]
        inside = [item.group() for item in items[loop.start : loop.end]]
        counters = [int(word) for word in inside if word.isdecimal()]
        climbs = all(after == before + 1 for before, after in pairwise(counters))
        enough = COUNTED_REPEATS <= loop.repeats > allowed and len(rest) >= COUNTED_WORDS
        return enough and unit.count("#") == 1 and climbs

    loop = first_loop(words, counts)
    if loop is None:
        return None
    start, end = items[loop.start].start(), items[loop.end - 1].end()
    return start, end, f"steps in a loop ({loop.repeats} times)"


def _blank(match: "regex.Match[str]") -> str:
    return " " * len(match.group())


def _of_sentences(text: str, allowed: float) -> Place | None:
    """One sentence of which most of the text consists, with others in between."""
    there = [" ".join(sentence.lower().split()) for sentence in sentences(text)]
    if not there:
        return None
    sentence, count = Counter(there).most_common(1)[0]
    share = count * len(sentence) / sum(map(len, there))
    if count < SENTENCE_REPEATS or share < SENTENCE_SHARE or count <= allowed:
        return None
    start = text.lower().find(sentence)
    start, end = (start, start + len(sentence)) if start >= 0 else (0, len(text))
    return start, end, f"a sentence again and again ({count} times)"
