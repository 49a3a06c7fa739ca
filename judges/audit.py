"""Is a judge worth its time? Its `ease` against the pass rates that the policy itself has on a
random holdout.

Intervals have 95 %: Wilson's for shares, percentile bootstrap over prompts for the rest (B. Efron
and R. J. Tibshirani, An Introduction to the Bootstrap, 1993). Suffixes: N prompts, G different
values of one quantity, R resamples, each as how often every prompt is in it; row 0 is the holdout
itself."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from common.intervals import Estimate, share_of
from common.seeds import derive

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Found = Estimate | None
RESAMPLES, BINS = 2000, 10
SOLVED, MEDIUM = 0.5, (0.2, 0.8)
"""Pass rates: above the one the policy solves a prompt, in the other (ends included) it has medium
difficulty."""
FEWEST = 20
"""Prompts that must be measured to decide; the AUC decides where each of its classes has half of
that."""
CHANCE, USEFUL = {"AUC": 0.5, "rank correlation": 0.0}, {"AUC": 0.7, "rank correlation": 0.4}
"""An interval that contains both leaves the question open."""


@dataclass(frozen=True, slots=True)
class Measured:
    """A judged prompt of the holdout. ValueError if `ease` or `passes` is out of range."""

    id: str
    ease: float
    low: float | None
    high: float | None
    """How easy for the judge, 0 to 1; its interval of the pass rate, if it gives one."""
    passes: int
    tries: int
    """The policy's graded attempts, faults left out, and those that passed."""
    dropped: bool

    def __post_init__(self) -> None:
        if not (0 <= self.ease <= 1 and 0 <= self.passes <= self.tries):
            raise ValueError(
                f"{self.id}: ease {self.ease}, {self.passes} passes of {self.tries} tries"
            )


@dataclass(frozen=True, slots=True)
class Audit:
    """What the holdout says of a judge; None is what it cannot say."""

    prompts: int
    unmeasured: int
    """Prompts with a graded attempt, and those without, which take no part."""
    share: float
    spearman: Found
    """Rank correlation of ease and pass rate; None if either is constant."""
    auc: Found
    """Probability that a prompt the policy solves has more ease than one it does not; None without
    both."""
    calibration_error: float | None
    """Mean of |ease - pass rate| over the bins, weighted by their prompts; None if ease is no pass
    rate."""
    calibration: list[dict[str, float]] | None
    """Of each bin with prompts: `start`, `end`, `prompts`, and their mean `ease` and
    `pass_rate`."""
    coverage: float | None
    """Share of the pass rates within the judge's interval (their own noise pushes some out); None
    without intervals."""
    false_drop: Found
    """Share of the dropped prompts that is of medium difficulty for the policy; None if none was
    dropped."""
    control: Found
    false_drop_difference: Found
    """What a random cut of any share drops falsely on average (the medium share of all), and
    `false_drop` less that."""
    worth_asking: bool
    """Shown to rank better than chance."""
    sentence: str

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def audit(measured: Sequence[Measured], share: float, rates: bool, seed: int) -> Audit:
    """Audit a judge that dropped the easiest `share` (0 to 1), in any order. `rates`: ease is a
    pass rate."""
    if len({one.id for one in measured}) != len(measured):
        raise ValueError("two measurements of one prompt")
    known = sorted((one for one in measured if one.tries), key=lambda one: one.id)
    ease_N, rate_N = (
        np.array([one.ease for one in known]),
        np.array([one.passes / one.tries for one in known]),
    )
    dropped_N = np.array([one.dropped for one in known], dtype=bool)
    solved_N, medium_N = rate_N > SOLVED, (rate_N >= MEDIUM[0]) & (rate_N <= MEDIUM[1])
    weights_RN = resamples(len(known), seed)
    rho = _estimate(spearman(ease_N, rate_N, weights_RN), CHANCE["rank correlation"])
    area = _estimate(auc(ease_N, solved_N, weights_RN), CHANCE["AUC"])
    error, curve = calibration(ease_N, rate_N) if rates and known else (None, None)
    inside = [
        o.low <= o.passes / o.tries <= o.high
        for o in known
        if o.low is not None and o.high is not None
    ]
    coverage = sum(inside) / len(inside) if inside else None
    drops = _false_drops(dropped_N, medium_N, weights_RN)
    decisive = rho is not None and 2 * min(solved_N.sum(), (~solved_N).sum()) >= FEWEST
    worth, said = _verdict(
        len(known), "AUC" if decisive else "rank correlation", area if decisive else rho
    )
    if len(known) < FEWEST <= len(measured):
        said += (
            f" No attempt at the other {len(measured) - len(known)} could be graded: raise"
            " audit.max_tokens if "
        )
        said += "they are cut off, and look at the verifier if not."
    said += f"; {_cut(share, *drops[:2])}." if worth else ""
    return Audit(
        len(known),
        len(measured) - len(known),
        share,
        rho,
        area,
        error,
        curve,
        coverage,
        *drops,
        worth,
        said,
    )


def resamples(count: int, seed: int) -> Floats:
    """Weights of `count` prompts in the holdout itself and in each of RESAMPLES draws with
    replacement."""
    if not count:
        return np.ones((1 + RESAMPLES, 0))
    rng = np.random.default_rng(derive(seed, "audit"))
    return np.vstack(
        [np.ones(count), rng.multinomial(count, np.full(count, 1 / count), size=RESAMPLES)]
    )


def spearman(one_N: Floats, other_N: Floats, weights_RN: Floats) -> Floats:
    """Rank correlation in each resample, average ranks at ties; NaN where either is constant.

    C. Spearman (1904), The proof and measurement of association between two things. American J.
    Psychology 15, 72-101."""
    a_RN, b_RN = _ranks(one_N, weights_RN), _ranks(other_N, weights_RN)
    spread_R = np.sqrt((weights_RN * a_RN**2).sum(1) * (weights_RN * b_RN**2).sum(1))
    return _ratio((weights_RN * a_RN * b_RN).sum(1), spread_R)


def auc(ease_N: Floats, solved_N: Bools, weights_RN: Floats) -> Floats:
    """Share of the pairs (solved, unsolved) where the solved one has more ease, ties 1/2; NaN
    without pairs.

    U of H. B. Mann and D. R. Whitney (1947), Annals of Mathematical Statistics 18, 50-60, over the
    number of pairs."""
    solved_RG, _ = _by_value(ease_N, weights_RN * solved_N)
    other_RG, _ = _by_value(ease_N, weights_RN * ~solved_N)
    above_R = (solved_RG * (other_RG.cumsum(1) - other_RG / 2)).sum(1)
    return _ratio(above_R, solved_RG.sum(1) * other_RG.sum(1))


def calibration(ease_N: Floats, rate_N: Floats) -> tuple[float, list[dict[str, float]]]:
    """Expected calibration error over BINS bins of equal width, too high by chance where bins are
    small; its curve.

    M. P. Naeini et al. (2015), Obtaining well calibrated probabilities using Bayesian binning. AAAI
    29, 2901-2907."""
    bin_N = np.minimum((ease_N * BINS).astype(int), BINS - 1)
    rows = []
    for n in np.unique(bin_N).tolist():
        here_N = bin_N == n
        means = {"ease": float(ease_N[here_N].mean()), "pass_rate": float(rate_N[here_N].mean())}
        rows.append(
            {"start": n / BINS, "end": (n + 1) / BINS, "prompts": int(here_N.sum())} | means
        )
    return (
        sum(row["prompts"] * abs(row["ease"] - row["pass_rate"]) for row in rows) / len(ease_N),
        rows,
    )


def _false_drops(
    dropped_N: Bools, medium_N: Bools, weights_RN: Floats
) -> tuple[Found, Found, Found]:
    """(false drops, control, difference), see `Audit`."""
    dropped_RN = weights_RN * dropped_N
    excess_R = _ratio(dropped_RN @ medium_N, dropped_RN.sum(1)) - _ratio(
        weights_RN @ medium_N, weights_RN.sum(1)
    )
    false_drop = share_of(int((dropped_N & medium_N).sum()), int(dropped_N.sum()))
    return false_drop, share_of(int(medium_N.sum()), len(medium_N)), _estimate(excess_R, chance=0.0)


def _by_value(value_N: Floats, weights_RN: Floats) -> tuple[Floats, NDArray[np.intp]]:
    """Weight of each different value, ascending, and which of them each prompt has."""
    _, place_N, size_G = np.unique(value_N, return_inverse=True, return_counts=True)
    ordered_RN = weights_RN[:, np.argsort(place_N, kind="stable")]
    return np.add.reduceat(ordered_RN, size_G.cumsum() - size_G, axis=1), place_N


def _ranks(value_N: Floats, weights_RN: Floats) -> Floats:
    """Average rank of each prompt's value in each resample, less the mean of all ranks."""
    weight_RG, place_N = _by_value(value_N, weights_RN)
    return (weight_RG.cumsum(1) - weight_RG / 2)[:, place_N] - len(value_N) / 2


def _ratio(one_R: Floats, other_R: Floats) -> Floats:
    """NaN where `other` is 0."""
    return np.divide(one_R, other_R, out=np.full(len(other_R), np.nan), where=other_R > 0)


def _estimate(value_R: Floats, chance: float) -> Found:
    """Row 0 in the percentiles of the others, widened to contain it. A resample that says nothing
    counts as chance."""
    if np.isnan(value_R[0]):
        return None
    value = float(value_R[0])
    low, high = np.quantile(np.nan_to_num(value_R[1:], nan=chance), (0.025, 0.975)).tolist()
    return Estimate(value, min(low, value), max(high, value))


def _verdict(prompts: int, name: str, found: Found) -> tuple[bool, str]:
    """Whether the judge ranks better than chance, and that in words."""
    if prompts < FEWEST:
        return False, f"cannot tell: {prompts} prompts were measured, and {FEWEST} are needed."
    if found is None:
        return (
            False,
            (
                "cannot tell: the judge's ease or the policy's pass rate is the same for every"
                " measured prompt."
            ),
        )
    figures = f"{name} {found.value:.2f} [{found.low:.2f}, {found.high:.2f}]"
    if found.low > CHANCE[name]:
        return True, f"The judge ranks prompts better than chance: {figures}"
    if found.high > USEFUL[name]:
        return (
            False,
            (
                f"cannot tell: anything from chance to a useful judge fits ({figures}); measure"
                " more prompts."
            ),
        )
    said = (
        f"This judge is {'worse' if found.high < CHANCE[name] else 'no better'} than a random cut"
        " on this data"
    )
    return False, f"{said} ({figures}): save the time and drop at random, or take another judge."


def _cut(share: float, drop: Found, control: Found) -> str:
    if drop is None or control is None:
        return "nothing that it dropped was measured"
    figures = f"{100 * drop.value:.0f} % [{100 * drop.low:.0f}, {100 * drop.high:.0f}]"
    medium = (
        f"of the easiest {100 * share:g} %, which it dropped, {figures} is of medium difficulty for"
        " the policy"
    )
    return f"{medium}, against {100 * control.value:.0f} % of a random cut"
