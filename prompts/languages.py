"""The languages that an answer may be asked in: their ISO 639-1 codes and English names; light."""

from difflib import get_close_matches

from common.errors import BadInput

NAMES: dict[str, str] = {
    "ar": "Arabic",
    "bg": "Bulgarian",
    "bn": "Bengali",
    "ca": "Catalan",
    "cs": "Czech",
    "da": "Danish",
    "de": "German",
    "el": "Greek",
    "en": "English",
    "es": "Spanish",
    "et": "Estonian",
    "fa": "Persian",
    "fi": "Finnish",
    "fr": "French",
    "gu": "Gujarati",
    "he": "Hebrew",
    "hi": "Hindi",
    "hu": "Hungarian",
    "id": "Indonesian",
    "it": "Italian",
    "ja": "Japanese",
    "kn": "Kannada",
    "ko": "Korean",
    "lt": "Lithuanian",
    "lv": "Latvian",
    "ml": "Malayalam",
    "mr": "Marathi",
    "ne": "Nepali",
    "nl": "Dutch",
    "no": "Norwegian",
    "pa": "Punjabi",
    "pl": "Polish",
    "pt": "Portuguese",
    "ro": "Romanian",
    "ru": "Russian",
    "sk": "Slovak",
    "sl": "Slovenian",
    "sv": "Swedish",
    "sw": "Swahili",
    "ta": "Tamil",
    "te": "Telugu",
    "th": "Thai",
    "tr": "Turkish",
    "uk": "Ukrainian",
    "ur": "Urdu",
    "vi": "Vietnamese",
    "zh": "Chinese",
}
"""Code and English name. Each has texts in `tests/rewards/language/texts.jsonl`."""
_ALSO = {
    "farsi": "fa",
    "iw": "he",
    "nb": "no",
    "nn": "no",
    "norwegian bokmål": "no",
    "norwegian nynorsk": "no",
    "panjabi": "pa",
    "zh-cn": "zh",
    "zh-hans": "zh",
    "zh-hant": "zh",
    "zh-tw": "zh",
    "pt-br": "pt",
    "pt-pt": "pt",
    "en-gb": "en",
    "en-us": "en",
}
"""Other codes and names in use."""
_CODES = {**{name.lower(): code for code, name in NAMES.items()}, **{c: c for c in NAMES}, **_ALSO}


def code_of(language: str) -> str:
    """The code of a language that is given by code or English name. Raises BadInput if it is none
    of `NAMES`."""
    given = language.strip().lower().replace("_", "-")
    if given in _CODES:
        return _CODES[given]
    near = get_close_matches(given, [name.lower() for name in NAMES.values()], n=2, cutoff=0.7)
    known = " or ".join(f"{_CODES[name]} ({name.title()})" for name in near) or ", ".join(NAMES)
    raise BadInput(
        f"must be a known language, got {language!r:.40}", f"write for example `de`; known: {known}"
    )
