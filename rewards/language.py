"""The verifier `language`: an answer is written in the asked language.

Code, formulas, addresses and numbers are in no language. What is left is divided into passages of a
sentence or more. A passage is in another language if its letters are of another script, or if
py3langid says so; one that is too short to tell, or that is only names, does not count."""

from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cache, lru_cache
from typing import Any

import regex

from common.errors import BadInput
from prompts.languages import NAMES, code_of
from prompts.part import RewardPart
from prompts.parts import LanguagePart
from prompts.schema import Prompt
from rewards.interface import Answer, BadPrompt, OpenVerifier, Resources, Result, Verifier

ENOUGH = 9
"""Weighted letters below which only the script of a passage counts."""
PASSAGE = 24
"""Weighted letters from which a passage is classified by itself; shorter ones join the next."""
SURE = 0.5
"""Probability from which a passage shorter than `PASSAGE` is in its likeliest language."""
POSSIBLE = 0.2
"""Probability up to which such a passage is not in the asked language, whichever it is in."""
LONGEST = 20_000
"""Characters of an answer that are classified, so that none takes more than a second."""
NAMES_ONLY = 4
"""Words up to which a passage of names is in no language."""
SURE_OF_NAMES = 0.95
"""Probability from which a longer passage of names is in its likeliest language."""
CONTEXT = 0.05
"""Added to a language's probability in the whole text, before a passage's is multiplied by it: what
is close to one language (Galician to Portuguese) is judged in context, and another language is
still seen."""
_SCRIPTS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("ar", "fa", "ur"), ("Arabic",)),
    **dict.fromkeys(("bg", "ru", "uk"), ("Cyrillic",)),
    **dict.fromkeys(("hi", "mr", "ne"), ("Devanagari",)),
    **{"bn": ("Bengali",), "el": ("Greek",), "gu": ("Gujarati",), "he": ("Hebrew",)},
    **{"kn": ("Kannada",), "ml": ("Malayalam",), "pa": ("Gurmukhi",), "ta": ("Tamil",)},
    **{"te": ("Telugu",), "th": ("Thai",)},
    **{"ja": ("Kana", "Han"), "ko": ("Hangul",), "zh": ("Han",)},
}
"""Scripts by language; all others are written in Latin letters."""
_DETECTED_AS = {
    "nn": "no",
    **dict.fromkeys(("yue", "wuu"), "zh"),
    **dict.fromkeys(("arz", "ary"), "ar"),
    "ms": "id",
}
"""Labels of the detector that count as one of our languages: written forms of it, and Malay."""
_OTHERS = (
    *("af", "am", "az", "be", "bs", "cy", "eu", "ga", "gl", "hr", "hy", "is", "ka", "kk", "km"),
    *("ky", "lo", "mk", "mn", "my", "or", "ps", "si", "so", "sq", "sr", "tg", "tl", "uz"),
)
"""Languages that a text may be found to be in besides `NAMES`. The detector's rarer ones are left
out: it takes lists of names for them."""
_UNSPACED = ("Han", "Kana", "Thai")
"""Scripts that are written without spaces."""
_LETTERS = {
    "Kana": regex.compile(r"[\p{Hiragana}\p{Katakana}]"),
    **{
        name: regex.compile(rf"\p{{{name}}}")
        for name in sorted({"Latin", *sum(_SCRIPTS.values(), ())} - {"Kana"})
    },
}
_WEIGHT = {"Han": 3, "Hangul": 3, "Kana": 3}
"""Latin letters that one sign of a script is worth; 1 unless it is here."""
_NO_LANGUAGE = regex.compile(
    r"(?s:```.*?(?:```|\Z))|(?s:~~~.*?(?:~~~|\Z))|`[^`\n]+`"  # code
    r"|(?s:\$\$.{0,999}?\$\$)|\$[^$\n]{0,99}[\\^_=0-9][^$\n]{0,199}\$"  # formulas
    r"|(?s:\\\[.{0,999}?\\\])|(?s:\\\(.{0,999}?\\\))|\\boxed\{.{0,199}?\}+"
    r"|\\[A-Za-z]+(?:\{[^{}\n]*\})*"
    r"|\bhttps?://\S+|\bwww\.\S+|(?<!\S)\S{1,64}@\S{1,255}"  # addresses
    r"|</?[A-Za-z][^<>\n]*>|(?<!\w)\w*\d\w*|(?<=\])\([^()\s]+\)"  # markup, numbers, links
)
"""Repetitions have bounds, so that a long text takes no quadratic time."""
_MARKS = regex.compile(r"[*_#>|~\[\]]+|^[ \t]*[-+•]\s", regex.MULTILINE)
_ENDS = regex.compile(
    r"(?<=[.!?؟।…][\"'”»)]{0,3})\s+|(?<=[。！？]['\"」』”]{0,3})(?!['\"」』”])|\n+"
)
_WORD = regex.compile(r"\p{L}[\p{L}\p{M}'’-]*")


class Language(Verifier):
    """The verifier, for any language. Needs no reference answer."""

    slow = False

    def check(self, prompt: Prompt, part: RewardPart) -> None:
        _asked(prompt, part)

    def open(self, part: RewardPart, resources: Resources) -> OpenVerifier:
        assert isinstance(part, LanguagePart)
        _detector()
        return OpenLanguage(part)


class OpenLanguage(OpenVerifier):
    """Compares answers with the language that a part, or their prompt, asks for."""

    def __init__(self, part: LanguagePart) -> None:
        self._part = part

    def grade(self, prompt: Prompt, answers: Sequence[Answer]) -> list[Result]:
        asked = _asked(prompt, self._part)
        return [self._graded(asked, answer.text) for answer in answers]

    def close(self) -> None:
        """The detector (90 MB) stays loaded: prompts of other parts use it too."""

    def _graded(self, asked: str, text: str) -> Result:
        found = languages_of(text, asked)
        return Result(float(_is_right(found, asked, self._part.min_share)), _shown(found))


def is_in(text: str, language: str, min_share: float = 0.8) -> bool:
    """Whether at least `min_share` of the letters of `text` are in `language`, a code from
    `prompts.languages`. A text that is in no language, such as a number, is in any."""
    return _is_right(languages_of(text, language), language, min_share)


def languages_of(text: str, asked: str) -> dict[str, float]:
    """Weighted letters of `text` by language, the most frequent first, without passages whose
    language cannot be told. `*` is one whose script is not that of `asked`, and unknown else."""
    found: dict[str, float] = {}
    words = _words_of(text)
    context = _probabilities(words)
    for passage in _passages(words):
        label = _language_of(passage, asked, context)
        if label is not None:
            found[label] = found.get(label, 0.0) + _size(passage)
    return dict(sorted(found.items(), key=lambda item: -item[1]))


def _is_right(found: dict[str, float], asked: str, min_share: float) -> bool:
    return not found or found.get(asked, 0.0) >= min_share * sum(found.values())


def _shown(found: dict[str, float]) -> str:
    total = sum(found.values())
    parts = [f"{100 * size / total:.0f} % {label}" for label, size in found.items()]
    return ", ".join(parts) or "no language in particular"


def _asked(prompt: Prompt, part: RewardPart) -> str:
    """The code of the language that the prompt, or else the part, asks for."""
    assert isinstance(part, LanguagePart)
    own = prompt.metadata.get("language")
    language = part.language if own is None else own
    example = 'give the row `"metadata": {"language": "de"}`, or the part `language: de`'
    if language is None:
        raise BadPrompt("has no `language` in its metadata, and neither has the part", example)
    try:
        return code_of(str(language))
    except BadInput as error:
        raise BadPrompt(f"has a `language` that {error.message}", error.remedy) from error


def _words_of(text: str) -> str:
    """`text` without what is in no language, as far as `LONGEST`."""
    return _MARKS.sub(" ", _NO_LANGUAGE.sub(" ", text))[:LONGEST]


def _passages(text: str) -> Iterator[str]:
    """The text in passages of one script and at least `PASSAGE` letters, as far as there are."""
    waiting = ""
    for sentence in _ENDS.split(text):
        if not _size(sentence):
            continue
        if waiting and _script(waiting) != _script(sentence):
            yield waiting
            waiting = ""
        waiting = f"{waiting} {sentence.strip()}".strip()
        if _size(waiting) >= PASSAGE:
            yield waiting
            waiting = ""
    if waiting:
        yield waiting


def _language_of(passage: str, asked: str, context: dict[str, float]) -> str | None:
    """The language of a passage; None where it cannot be told."""
    script, wanted = _script(passage), _SCRIPTS.get(asked, ("Latin",))
    words, size = _WORD.findall(passage), _size(passage)
    names = _are_names(words)
    if names and len(words) <= NAMES_ONLY and script in ("Latin", *wanted):
        return None
    alone = _probabilities(passage)
    weighed = {label: p * (CONTEXT + context.get(label, 0.0)) for label, p in alone.items()}
    likeliest = max(weighed, key=lambda label: weighed[label])
    if script not in wanted and not (names and script == "Latin"):
        return likeliest if likeliest != asked else "*"
    if size < ENOUGH or (len(words) == 1 and script not in _UNSPACED):
        return None
    if names and (likeliest not in NAMES or alone[likeliest] < SURE_OF_NAMES):
        return None
    total = sum(weighed.values())
    unsure = weighed[likeliest] < SURE * total and weighed[asked] > POSSIBLE * total
    return None if size < PASSAGE and unsure else likeliest


def _probabilities(text: str) -> dict[str, float]:
    """Probability of each of the detector's languages, which are more than `NAMES`."""
    found: dict[str, float] = {}
    for label, probability in _detector().rank(text):
        label = _DETECTED_AS.get(label, label)
        found[label] = found.get(label, 0.0) + float(probability)
    return found


def _are_names(words: Sequence[str]) -> bool:
    """Whether most of the words begin with a capital, as names do. Text in capitals does not
    count."""
    capitals = sum(word[0].isupper() for word in words)
    in_capitals = sum(len(word) > 1 and word.isupper() for word in words)
    return capitals >= 0.75 * len(words) and (
        len(words) <= NAMES_ONLY or in_capitals < capitals / 2
    )


def _script(passage: str) -> str:
    """The script of most letters. Latin words among letters of another script are names or terms,
    and count half."""
    sizes = _sizes(passage)
    if "Kana" in sizes and "Han" in sizes:  # Japanese is written in both
        sizes["Kana"] += sizes.pop("Han")
    if len(sizes) > 1 and "Latin" in sizes:
        sizes["Latin"] /= 2
    return max(sizes, key=lambda script: sizes[script]) if sizes else "*"


def _size(passage: str) -> float:
    return sum(_sizes(passage).values())


def _sizes(passage: str) -> dict[str, float]:
    """Weighted letters by script."""
    counts = Counter(map(_script_of, passage))
    del counts[""]
    return {script: float(count * _WEIGHT.get(script, 1)) for script, count in counts.items()}


@lru_cache(maxsize=1 << 16)
def _script_of(sign: str) -> str:
    """The script of a letter; `*` for one of a script that none of our languages has, and an empty
    text for what is no letter."""
    known = (script for script, letters in _LETTERS.items() if letters.match(sign))
    return next(known, "*" if sign.isalpha() else "")


@cache
def _detector() -> Any:
    """py3langid; loads in half a second. Classifying changes nothing in it, so threads share it."""
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    detector = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    detector.set_languages([*NAMES, *_DETECTED_AS, *_OTHERS])
    return detector
