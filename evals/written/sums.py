"""Writes the suite `multilingual_sums`: sums in words, each in all of the languages.

After the idea of MGSM (Shi et al. 2022, arXiv:2210.03057), in words of our own."""

from collections.abc import Callable, Iterator
from operator import add, floordiv, mul, sub

from evals.written.row import Row, parts

Operation = Callable[[int, int], int]
PROBLEMS: dict[str, tuple[Operation, tuple[tuple[int, ...], ...]]] = {
    "books": (add, ((12, 5), (14, 7), (17, 8), (19, 6))),
    "tickets": (mul, ((12, 6), (15, 7), (11, 8), (16, 5))),
    "apples": (sub, ((17, 8), (15, 6), (19, 7), (18, 5))),
    "sweets": (floordiv, ((20, 5), (48, 6), (56, 7), (45, 9))),
    "walk": (add, ((25, 28), (16, 19), (35, 27), (18, 26))),
    "age": (add, ((7, 27), (9, 28), (6, 30), (8, 26))),
    "chairs": (mul, ((6, 12), (8, 15), (9, 14), (7, 18))),
    "change": (sub, ((20, 13), (50, 27), (100, 64), (30, 18))),
    "drive": (mul, ((60, 5), (70, 6), (80, 7), (90, 5))),
    "eggs": (mul, ((6, 5, 12), (8, 6, 15), (7, 5, 11), (9, 6, 18))),
}
"""What is done with the first two numbers of a problem, and its numbers. A third is subtracted."""


def rows() -> Iterator[Row]:
    """The rows of the suite, by problem."""
    languages = parts("sums.yaml")
    for kind, (operation, sets) in PROBLEMS.items():
        for turn, numbers in enumerate(sets):
            answer = operation(*numbers[:2]) - sum(numbers[2:])
            for language in languages:
                text = language[kind].format(**dict(zip("abc", numbers, strict=False)))
                yield {
                    "id": f"{kind}-{turn}-{language['language'].lower()}",
                    "prompt": f"{text} {language['end']}",
                    "answer": str(answer),
                    "capability": language["language"],
                    "metadata": {"problem": f"sum-{kind}-{turn}"},
                }
