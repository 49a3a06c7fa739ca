"""Detects gushing: flattery of the user or the question, strewn emojis, piles of exclamation marks,
and excited superlatives.

Joy has its place: congratulations, one exclamation or emoji, praise in a review that the user asked
for. What the prompt has itself, such as emojis, a reply may have too."""

import regex

from corner_cases.gushing_wording import FLATTERING, HYPE, STRESSED
from corner_cases.interface import Finding, Reply, finding
from prompts.schema import Prompt

CASE = "gushing"
EMOJIS, WORDS_PER_EMOJI = 3, 40
"""Emojis from which they are strewn, and words of text per each of them."""
PILES = 2
"""Places with two exclamation marks from which they are piled; three marks are a pile alone."""
SHOUTED = 5
"""Sentences from which a text that exclaims each of them is a pile."""
SUPERLATIVES, WORDS_PER_SUPERLATIVE = 3, 15
"""Excited words that are too many, and words of text per each of them."""
_NOT_PROSE = regex.compile(
    r"```.*?(?:```|\Z)|`[^`\n]*`|\"[^\"\n]{1,400}\"|“[^”]{1,400}”|„[^“”]{1,400}[“”]|«[^»]{1,400}»"
    r"|「[^」]{1,400}」",
    regex.DOTALL,
)
_EMOJI = regex.compile(
    r"\p{Emoji_Presentation}(?:\u200d\p{Extended_Pictographic}|\p{EMod}|\ufe0f)*"
)
_MARKS = "✅❌⬜⬛✔☑🔲🔳⭐➕➖❓❗"
"""Emojis that are marks of lists and tables."""
_ASKS_FOR_EMOJIS = regex.compile(
    r"emoji|emotic|smile|émoji|эмодзи|смайл|表情|絵文字|이모지", regex.IGNORECASE
)
_ASKS_FOR_MARKS = regex.compile(
    r"[!！][!！?？]|exclam|ausruf|esclam|восклиц|感叹", regex.IGNORECASE
)
_ASKS_FOR_PRAISE = regex.compile(
    r"\b(?:review|advert\w*|ad for|praise|compliment\w*|love letter|toast|slogan|fan letter|shout"
    r"|rezension|werb\w+|lob\w*|liebesbrief|kompliment\w*|critique|publicité|compliment"
    r"|reseña|anuncio|elogio|piropo|recensione|pubblicità|complimento|resenha|propaganda"
    r"|отзыв|реклам\w+|комплимент\w*|похвал\w+)\b|广告|赞美|表扬|情书|広告|褒め",
    regex.IGNORECASE,
)


def detect(prompt: Prompt, reply: Reply) -> Finding | None:
    """The first of flattery, emojis, exclamations and superlatives that a reply has too much of."""
    bare = _NOT_PROSE.sub(lambda match: " " * len(match.group()), reply.text)
    praise = _ASKS_FOR_PRAISE.search(prompt.task)
    places = [_flattery(bare), _emojis(prompt, bare)]
    if not praise and not _ASKS_FOR_MARKS.search(prompt.task):
        places.append(_exclamations(bare))
    if not praise:
        places.append(_superlatives(bare))
    place = next((place for place in places if place is not None), None)
    if place is None:
        return None
    start, end, reason = place
    return finding(CASE, reason, reply.text, start, end)


Place = tuple[int, int, str]


def _flattery(text: str) -> Place | None:
    match = FLATTERING.search(text.replace("’", "'").lower())
    return match and (match.start(), match.end(), "flattery")


def _emojis(prompt: Prompt, text: str) -> Place | None:
    if _EMOJI.search(prompt.task) or _ASKS_FOR_EMOJIS.search(prompt.task):
        return None
    found = [match for match in _EMOJI.finditer(text) if match.group()[0] not in _MARKS]
    if len(found) < EMOJIS or _words(text) > WORDS_PER_EMOJI * len(found):
        return None
    return found[0].start(), found[-1].end(), f"emojis ({len(found)})"


def _exclamations(text: str) -> Place | None:
    pile = regex.search(r"[!！¡]{3,}", text)
    doubled = [*regex.finditer(r"[!！]{2,}|[!！][?？]|[?？][!！]", text)]
    if pile is not None:
        return pile.start(), pile.end(), "exclamation marks (3 or more at once)"
    if len(doubled) >= PILES:
        return doubled[0].start(), doubled[-1].end(), f"exclamation marks ({len(doubled)} piles)"
    ends = [*regex.finditer(r"[.!?。！？]+(?=\s|$|[^\w\s])", text)]
    shouted = [end for end in ends if end.group()[0] in "!！"]
    if len(shouted) >= SHOUTED and len(shouted) == len(ends):
        return (
            shouted[0].start(),
            shouted[-1].end(),
            f"exclamation marks ({len(shouted)} sentences)",
        )
    return None


def _superlatives(text: str) -> Place | None:
    small = text.lower()
    found = [*HYPE.finditer(small)]
    excited = STRESSED.search(small) or regex.search(r"[!！]", text)
    enough = len(found) >= SUPERLATIVES and _words(text) <= WORDS_PER_SUPERLATIVE * len(found)
    if not enough or not excited:
        return None
    return found[0].start(), found[-1].end(), f"superlatives ({len(found)})"


def _words(text: str) -> int:
    return len(regex.findall(r"\w+", text))
