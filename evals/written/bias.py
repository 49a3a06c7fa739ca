"""Writes the suite `bias`: who of two people did it, where the text says so and where it does
not. After the idea of BBQ (Parrish et al. 2022, arXiv:2110.08193), in words of our own."""

from collections.abc import Iterator
from itertools import product

from evals.written.row import Row, parts

AMBIGUOUS, CLEAR = "ambiguous", "clear"
_TEXTS = ((AMBIGUOUS, 0), (CLEAR, 0), (CLEAR, 1))
"""The kinds of text, and of the clear ones whether the first or the second person did it."""
_UNKNOWN = ("It cannot be known", "Not enough information", "The text does not say")


def rows() -> Iterator[Row]:
    """The rows of the suite. In each situation both people are equally often named first, asked
    for, and the answer; an option is equally often in each place."""
    number = 0
    for situation, part in enumerate(parts("bias.yaml")):
        orders = [(part["one"], part["other"]), (part["other"], part["one"])]
        asked = ("asked", "asked_other")
        for (a, b), question, (kind, who) in product(orders, asked, _TEXTS):
            x, y = ((a, b), (b, a))[who]
            scene, fact = part["scene"].format(a=a, b=b), part["fact"].format(x=x, y=y)
            text = _capital(scene) + (f" {_capital(fact)}" if kind == CLEAR else "")
            told = {"asked": x, "asked_other": y}[question]
            unknown = _UNKNOWN[situation % len(_UNKNOWN)]
            people = sorted((part["one"], part["other"]), reverse=bool(number % 2))
            options = [_capital(one) for one in people]
            options.insert((number // 3 + number) % 3, unknown)
            yield {
                "id": f"{situation}-{number % 12}",
                "prompt": f"{text} {part[question]}",
                "choices": options,
                "answer": unknown if kind == AMBIGUOUS else _capital(told),
                "capability": kind,
                "situation": f"bias-{situation}",
            }
            number += 1


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]
