"""Finds parts of a sequence that repeat one after the other.

A loop of period p is a run in which each item equals the one p places before it."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

LONGEST_PERIOD = 60
"""Items in a unit that repeats. The time is this times the number of items."""


@dataclass(frozen=True, slots=True)
class Loop:
    """A unit of `period` items that stands `repeats` times in `items[start:end]`."""

    start: int
    end: int
    period: int

    @property
    def repeats(self) -> int:
        """Whole repeats of the unit, the first among them."""
        return (self.end - self.start) // self.period


def loops(items: Sequence[str]) -> Iterator[Loop]:
    """Every maximal loop with at least three repeats, those with the shortest unit first."""
    for period in range(1, min(LONGEST_PERIOD, len(items) // 3) + 1):
        start = 0
        for place in range(period, len(items) + 1):
            if place < len(items) and items[place] == items[place - period]:
                continue
            if place - start >= 3 * period:
                yield Loop(start, place, period)
            start = place - period + 1


def first_loop(items: Sequence[str], counts: Callable[[Loop], bool]) -> Loop | None:
    """The first of the loops that counts, by period, then by place."""
    return next(filter(counts, loops(items)), None)
