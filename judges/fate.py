"""Which prompts the attempts still to come cannot move across the cut.

A judge that has made some of its attempts at a prompt leaves the prompt's final ease between two
bounds: no further attempt passes, or all do. A prompt's fate is decided once it is on the same side
of the cut whatever the further attempts of all prompts give, ties included. Bounds are worst cases
and not guesses, so the cut is the one that all attempts would give.

A prompt that may still turn out broken or unjudged would change how many prompts are dropped: it is
never decided, and the number of drops is bounded for the rest (`_drop_bounds`)."""

from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import ceil, floor

from common.errors import BadInput
from judges.attempts import ease_of
from judges.filtering import FilterSettings, broken_evidence, drop_counts, may_be_broken, total_drop
from judges.verdict import Verdict
from prompts.schema import Prompt

_EQUAL = 1e-9
"""Eases that differ by less are equal up to rounding; different pass rates differ by far more."""
_ALL = "all"
"""The pool of a cut that is not stratified."""


@dataclass(frozen=True, slots=True)
class _Outlook:
    """What is known of a prompt's final verdict."""

    id: str
    capability: str
    low: float
    high: float
    """Bounds of its ease."""
    ranked: bool
    """Whether it is certain to be ranked; otherwise it may turn out broken or unjudged."""
    finished: bool
    """Whether all attempts were made."""


def undecided(
    prompts: Sequence[Prompt],
    verdicts: Sequence[Verdict],
    attempts: int,
    agreement: float,
    settings: FilterSettings,
) -> set[str]:
    """Ids of the prompts whose fate the attempts that are left may change.

    `verdicts`: one per prompt, in order, each of `attempts` attempts with those that are left;
    `agreement`: as in `broken_evidence`."""
    pairs = zip(prompts, verdicts, strict=True)
    known = [_outlook(prompt.capability, one, attempts, agreement) for prompt, one in pairs]
    outlooks = [one for one in known if one is not None]
    by_pool = defaultdict(list)
    for outlook in outlooks:
        by_pool[outlook.capability if settings.stratified else _ALL].append(outlook)
    bounds = _drop_bounds(outlooks, settings)
    open_ids = set()
    for pool, members in by_pool.items():
        places = _Places(members, settings)
        for one in members:
            decided = one.ranked and bounds is not None and places.decided(one, *bounds[pool])
            if not one.finished and not decided:
                open_ids.add(one.id)
    return open_ids


def _outlook(capability: str, verdict: Verdict, attempts: int, agreement: float) -> _Outlook | None:
    """The outlook of a prompt; None once it is certain not to be ranked."""
    passed, graded, left = verdict.passed, verdict.graded, verdict.left
    if not left and (verdict.ease is None or broken_evidence([verdict], agreement)):
        return None
    # Faults among the further attempts leave the ease between these two.
    low = ease_of(passed, graded + left, attempts)
    high = ease_of(passed + left, graded + left, attempts)
    ranked = graded > 0 and not may_be_broken(verdict, agreement)
    return _Outlook(verdict.id, capability, low, high, ranked or not left, not left)


class _Places:
    """How many prompts of a pool rank before a given one, at least and at most."""

    def __init__(self, members: Iterable[_Outlook], settings: FilterSettings) -> None:
        highs, lows = defaultdict(list), defaultdict(list)
        for one in members:
            highs[one.capability].append(one.high)
            if one.ranked:
                lows[one.capability].append(one.low)
        self._highs = {name: sorted(values) for name, values in highs.items()}
        self._lows = {name: sorted(lows[name]) for name in highs}
        self._floor = None if settings.stratified else settings.floor

    def decided(self, one: _Outlook, fewest: int, most: int) -> bool:
        """Whether a prompt is certainly dropped or certainly kept when between `fewest` and `most`
        of the pool are dropped. A tie may go either way."""
        before_most = {
            name: len(highs) - bisect_left(highs, one.low - _EQUAL) - (name == one.capability)
            for name, highs in self._highs.items()
        }
        before_fewest = {
            name: len(lows) - bisect_right(lows, one.high + _EQUAL)
            for name, lows in self._lows.items()
        }
        own = one.capability
        if self._floor is None:
            return before_most[own] < fewest or before_fewest[own] >= most
        # Not stratified: a capability gives no more than it can spare, the others make up for it.
        spare_most = {name: max(len(v) - self._floor, 0) for name, v in self._highs.items()}
        spare_fewest = {name: max(len(v) - self._floor, 0) for name, v in self._lows.items()}
        given_most = sum(min(spare_most[name], before_most[name]) for name in spare_most)
        given_fewest = sum(min(spare_fewest[name], before_fewest[name]) for name in spare_fewest)
        dropped = given_most < fewest and before_most[own] < spare_fewest[own]
        return dropped or given_fewest >= most or before_fewest[own] >= spare_most[own]


def _drop_bounds(
    outlooks: Sequence[_Outlook], settings: FilterSettings
) -> Mapping[str, tuple[int, int]] | None:
    """Fewest and most prompts that each pool loses, for every number of prompts that may turn out
    broken or unjudged; None where no bounds are known."""
    most = Counter(one.capability for one in outlooks)
    fewest = Counter(one.capability for one in outlooks if one.ranked)
    if not settings.stratified or len(most) == 1:
        low, high = (total_drop(counts.total(), settings.share) for counts in (fewest, most))
        return dict.fromkeys([*most, _ALL], (low, high))
    if fewest == most:
        try:
            return {name: (drop, drop) for name, drop in drop_counts(most, settings).items()}
        except BadInput:  # the cut itself refuses the share, once all verdicts are there
            return None
    if not fewest:
        return None
    # Of n prompts between n share - 1/2 and n share + 1/2 are dropped, and a capability loses its
    # part of that, rounded down or up, unless it can spare less.
    share, slack = Fraction(repr(settings.share)), Fraction(1, 2 * fewest.total())
    bounds = {
        name: (
            floor(fewest[name] * max(share - slack, Fraction(0))),
            ceil(most[name] * (share + slack)),
        )
        for name in most
    }
    if any(bounds[name][1] > fewest[name] - settings.floor for name in most):
        return None
    return bounds
