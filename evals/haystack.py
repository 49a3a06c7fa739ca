"""Makes the prompts of a suite that hides a sentence in a long text.

Each has a number of its own, and shows the text from a place of its own. All follow from the
suite's name and settings."""

import re
from collections.abc import Iterator
from itertools import accumulate, chain, islice
from pathlib import Path

from common.errors import BadInput
from common.seeds import derive
from evals.needle import Haystack, Needle
from prompts.records import records
from prompts.schema import Prompt
from prompts.shards import shards

SEED = 20261128
"""Independent of the run: all checkpoints of all runs get equal prompts."""
SHORTEST_LINE = 20
"""Words of a line that is text; a shorter one is a heading or the like."""
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+(?=[A-Z])")
_COLOURS = ("red", "blue", "green", "white", "black", "yellow", "grey", "brown", "pink", "orange")
_THINGS = ("cabin", "gate", "locker", "garage", "workshop", "cellar", "boathouse", "barn", "shed")
_PLACES = ("Norvik", "Altenau", "Pelham Cross", "Sorrel Bay", "Kaskino", "Lindmark", "Oreval")
_PROMPT = (
    "Read this text. A question about it follows.\n\n{text}\n\nQuestion: What is the access code of"
    " the {thing}? Answer with the number alone."
)


def needle_prompts(name: str, needle: Needle, text: Haystack) -> list[Prompt]:
    """The prompts of the suite `name`. `text` is that of `needle` with its place. Raises BadInput
    where it cannot be read, or is shorter than the longest text that is to be shown."""
    paragraphs = _paragraphs(text)
    there, longest = sum(map(_size, chain(*paragraphs))), max(needle.words)
    if there < longest:
        raise BadInput(
            f"{text.described}: has {there:,} words in lines of {SHORTEST_LINE} or more, and the"
            f" suite {name} asks for {longest:,}",
            "give it a longer text, or smaller `words`",
        )
    return [
        _prompt(name, paragraphs, length, depth, number)
        for length in needle.words
        for depth in needle.depths
        for number in range(needle.count)
    ]


def _paragraphs(text: Haystack) -> list[list[str]]:
    """The different lines of the text that are long enough, each as its sentences."""
    lines = chain.from_iterable(one.splitlines() for one in _texts(text))
    kept = dict.fromkeys(line.strip() for line in lines if _size(line) >= SHORTEST_LINE)
    return [_SENTENCE_END.split(line) for line in kept]


def _texts(text: Haystack) -> Iterator[str]:
    if text.fields is not None:
        yield from (str(row["text"]) for _, row in records(text))
        return
    for file in shards(Path(text.path), "file"):
        try:
            yield file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise BadInput(f"{file}: cannot be read: {error}", "save it as UTF-8") from error


def _prompt(name: str, paragraphs: list[list[str]], length: int, depth: int, number: int) -> Prompt:
    id = f"{length}-{depth}-{number}"
    seed = derive(SEED, name, id)
    sentences = _shown(paragraphs, seed % len(paragraphs), length)
    text = " ".join(sentence for sentence, _ in sentences)
    code = code_for(seed, text)
    thing = f"{_pick(_COLOURS, seed, 1)} {_pick(_THINGS, seed, 2)} in {_pick(_PLACES, seed, 3)}"
    hidden = f"The access code of the {thing} is {code}."
    shown = _joined(sentences, _after(sentences, depth), hidden)
    return Prompt(
        id=f"{name}:{id}",
        messages=[{"role": "user", "content": _PROMPT.format(text=shown, thing=thing)}],
        answer=str(code),
        verifier="number",
        capability=f"{length} words at {depth} %",
        source=name,
        solution=None,
        metadata={},
        place=f"{length} words at {depth} %:{number + 1}",
    )


_Sentences = list[tuple[str, bool]]
"""Each sentence, and whether a paragraph begins with it."""


def _shown(paragraphs: list[list[str]], start: int, length: int) -> _Sentences:
    """Whole sentences of at most `length` words, from a paragraph on; after the last paragraph
    comes the first."""
    turned = chain(islice(paragraphs, start, None), islice(paragraphs, start))
    every = ((one, not place) for lines in turned for place, one in enumerate(lines))
    shown: _Sentences = []
    left = length
    for sentence, begins in every:
        left -= _size(sentence)
        if left < 0:
            break
        shown.append((sentence, begins))
    return shown


def _after(sentences: _Sentences, depth: int) -> int:
    """Number of the sentences before the hidden one, whose share of the words is nearest to
    `depth` percent."""
    before = [0, *accumulate(_size(sentence) for sentence, _ in sentences)]
    wanted = before[-1] * depth / 100
    return min(range(len(before)), key=lambda place: abs(before[place] - wanted))


def _joined(sentences: _Sentences, place: int, hidden: str) -> str:
    """The text with the hidden sentence after the first `place` ones, in their paragraph."""
    whole = [*sentences[:place], (hidden, not place), *sentences[place:]]
    marked = (("\n\n" if begins else " ") + sentence for sentence, begins in whole)
    return "".join(marked).strip()


def code_for(seed: int, text: str) -> int:
    """A number of five digits that is not in the text."""
    free = (10_000 + derive(seed, "code", turn) % 90_000 for turn in range(1_000))
    return next(code for code in free if str(code) not in text)


def _pick(words: tuple[str, ...], seed: int, turn: int) -> str:
    return words[derive(seed, "word", turn) % len(words)]


def _size(text: str) -> int:
    return len(text.split())
