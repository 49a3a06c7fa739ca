"""The names of the corner cases, which a recipe may say; light."""

from typing import Literal

CaseName = Literal[
    "repetition",
    "refusal",
    "compliance",
    "gushing",
    "language_change",
    "overlong",
    "cut_off",
    "wrong_language",
    "ignored_format",
]
"""The cases of `corner_cases.registry`, in its order."""
