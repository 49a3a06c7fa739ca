"""Words that end no sentence: articles, conjunctions, and forms of verbs that ask for more.

A word such as "no" ends sentences of one language and none of another, so it counts in the language
whose listed words are the most frequent in the text. Prepositions of English are not here, as it
ends questions and relative clauses with them."""

from collections.abc import Sequence

_LISTED = {
    "en": "the a an and or but because of from into than which whose while although if unless my"
    " your their our was were as every is are",
    "de": "der das dem den des ein eine einen einem einer und oder aber weil dass denn für mit von"
    " zum zur ist sind wurde wenn obwohl sondern",
    "fr": "le la les un une des du de et ou mais car que dans en avec pour par est sont qui",
    "es": "el la los las un una unos unas y o pero porque con por para del al de que en",
    "it": "il lo la gli i le un una e o ma perché con per di della dello dei delle nel nella che",
    "pt": "o a os as um uma e ou mas porque com sem por para do da dos das no na de que",
    "ru": "и или но что потому в во на с из для к по от о об когда если чтобы",
}
WORDS = {language: frozenset(listed.split()) for language, listed in _LISTED.items()}
"""In small letters, by language."""


def goes_on_after(words: Sequence[str]) -> bool:
    """Whether the last of `words` ends no sentence. A capital makes it a name, as in "vitamin
    A"."""
    if not words or not words[-1].islower():
        return False
    small = [word.lower() for word in words]
    counts = {name: sum(word in known for word in small) for name, known in WORDS.items()}
    most = max(counts.values())
    return any(counts[name] == most and words[-1] in known for name, known in WORDS.items())
