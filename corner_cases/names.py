"""The names of the corner cases, as recipes write them; light: no detector is loaded."""

from typing import Literal, get_args

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
CASE_NAMES: tuple[CaseName, ...] = get_args(CaseName)
"""Every name, in the order of `corner_cases.registry`."""
