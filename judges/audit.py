"""Compare a judge with the pass rates of the policy on a random holdout: the ranking that a filter
cuts by, and the `ease` as an estimate.

Intervals are 95 %: Wilson's for shares, percentile bootstrap over prompts for everything else
(B. Efron and R. J. Tibshirani, An Introduction to the Bootstrap, 1993). Shape suffixes: N prompts;
G distinct values of one quantity; R resamples, each given by how often it contains every prompt.
Row 0 is the holdout itself."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from common.intervals import Estimate, share_of
from common.seeds import derive

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
RESAMPLES, BINS = 2000, 10
SOLVED, MEDIUM = 0.5, (0.2, 0.8)
"""Pass rates. Above SOLVED the policy solves a prompt; within MEDIUM (ends included) the prompt has
medium difficulty."""
MIN_PROMPTS = 20
"""Fewest measured prompts for a conclusion. The AUC decides if each of its two classes has at least
half as many, otherwise the rank correlation."""
CHANCE, USEFUL = {"AUC": 0.5, "rank correlation": 0.0}, {"AUC": 0.7, "rank correlation": 0.4}
"""An interval that contains both values permits no conclusion."""


@dataclass(frozen=True, slots=True)
class AuditedPrompt:
    """A judged prompt of the holdout. Raises ValueError if a number is out of range."""

    id: str
    ease: float
    low: float | None
    high: float | None
    """The judge's ease, 0 to 1, and its interval of the pass rate, if it gives one."""
    rank: float
    """What the cut goes by, 0 to 1, higher for easier prompts: `filtering.ease_ranks`, which orders
    prompts of equal ease by likelihood. The ease alone where that is not the judge's own."""
    passes: int
    tries: int
    """How many of the policy's graded attempts (without faults) passed, and how many there are."""
    dropped: bool

    def __post_init__(self) -> None:
        if not (0 <= self.ease <= 1 and 0 <= self.rank <= 1 and 0 <= self.passes <= self.tries):
            raise ValueError(
                f"{self.id}: ease {self.ease}, rank {self.rank}, {self.passes} passes of"
                f" {self.tries} tries"
            )


@dataclass(frozen=True, slots=True)
class Audit:
    """Results of an audit. A value is None if the holdout does not determine it."""

    prompts: int
    unmeasured: int
    """Numbers of prompts with a graded attempt, and of those without, which are left out."""
    share: float
    spearman: Estimate | None
    """Correlation of rank and pass rate, by ranks; None if either is constant."""
    auc: Estimate | None
    """Probability that a prompt that the policy solves ranks as easier than one that it does not;
    None if either kind is missing."""
    calibration_error: float | None
    """Mean of |ease - pass rate| over the bins, weighted by their prompts; None if ease is not a
    pass rate."""
    calibration: list[dict[str, float]] | None
    """For each bin with prompts: `start`, `end`, `prompts`, and mean `ease` and `pass_rate`."""
    coverage: float | None
    """Share of the pass rates within the judge's interval (sampling noise moves some outside); None
    without intervals."""
    false_drop: Estimate | None
    """Share of the dropped prompts that are of medium difficulty for the policy; None if none was
    dropped."""
    control: Estimate | None
    false_drop_difference: Estimate | None
    """The same share if prompts were dropped at random (the share of medium prompts among all), and
    `false_drop` minus that."""
    worth_asking: bool
    """Whether the judge ranks better than chance."""
    sentence: str

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def audit(audited: Sequence[AuditedPrompt], share: float, rates: bool, seed: int) -> Audit:
    """Audit a judge that dropped the easiest `share` (0 to 1). The order of the prompts has no
    influence. `rates`: ease is a pass rate."""
    if len({prompt.id for prompt in audited}) != len(audited):
        raise ValueError("two measurements of one prompt")
    known = sorted((prompt for prompt in audited if prompt.tries), key=lambda prompt: prompt.id)
    ease_N = np.array([prompt.ease for prompt in known])
    rank_N = np.array([prompt.rank for prompt in known])
    rate_N = np.array([prompt.passes / prompt.tries for prompt in known])
    dropped_N = np.array([prompt.dropped for prompt in known], dtype=bool)
    solved_N, medium_N = rate_N > SOLVED, (rate_N >= MEDIUM[0]) & (rate_N <= MEDIUM[1])
    weights_RN = resamples(len(known), seed)
    rho = estimate(spearman(rank_N, rate_N, weights_RN), CHANCE["rank correlation"])
    area = estimate(auc(rank_N, solved_N, weights_RN), CHANCE["AUC"])
    error, curve = calibration(ease_N, rate_N) if rates and known else (None, None)
    drops = _false_drops(dropped_N, medium_N, weights_RN)
    by_auc = rho is not None and 2 * min(solved_N.sum(), (~solved_N).sum()) >= MIN_PROMPTS
    worth, sentence = _conclusion(
        len(known), "AUC" if by_auc else "rank correlation", area if by_auc else rho
    )
    if len(known) < MIN_PROMPTS <= len(audited):
        sentence += (
            f" No attempt at the other {len(audited) - len(known)} could be graded: raise"
            " audit.max_tokens if they are cut off; otherwise check the verifier."
        )
    if worth:
        sentence += f"; {_false_drop_sentence(share, *drops[:2])}."
    return Audit(
        len(known),
        len(audited) - len(known),
        share,
        rho,
        area,
        error,
        curve,
        _coverage(known),
        *drops,
        worth,
        sentence,
    )


def _coverage(known: Sequence[AuditedPrompt]) -> float | None:
    inside = [
        prompt.low <= prompt.passes / prompt.tries <= prompt.high
        for prompt in known
        if prompt.low is not None and prompt.high is not None
    ]
    return sum(inside) / len(inside) if inside else None


def resamples(count: int, seed: int) -> Floats:
    """Weights of `count` prompts in the holdout itself and in each of RESAMPLES draws with
    replacement; shape (1 + RESAMPLES, count)."""
    if not count:
        return np.ones((1 + RESAMPLES, 0))
    rng = np.random.default_rng(derive(seed, "audit"))
    return np.vstack(
        [np.ones(count), rng.multinomial(count, np.full(count, 1 / count), size=RESAMPLES)]
    )


def spearman(one_N: Floats, other_N: Floats, weights_RN: Floats) -> Floats:
    """Rank correlation in each resample, with average ranks at ties; NaN where either is constant.

    C. Spearman (1904), The proof and measurement of association between two things. American J.
    Psychology 15, 72-101."""
    a_RN, b_RN = _ranks(one_N, weights_RN), _ranks(other_N, weights_RN)
    spread_R = np.sqrt((weights_RN * a_RN**2).sum(1) * (weights_RN * b_RN**2).sum(1))
    return _ratio((weights_RN * a_RN * b_RN).sum(1), spread_R)


def auc(ease_N: Floats, solved_N: Bools, weights_RN: Floats) -> Floats:
    """Share of the pairs (solved, unsolved) where the solved prompt has the higher ease, ties 1/2;
    NaN without pairs.

    U of H. B. Mann and D. R. Whitney (1947), Annals of Mathematical Statistics 18, 50-60, divided
    by the number of pairs."""
    solved_RG, _ = _by_value(ease_N, weights_RN * solved_N)
    other_RG, _ = _by_value(ease_N, weights_RN * ~solved_N)
    above_R = (solved_RG * (other_RG.cumsum(1) - other_RG / 2)).sum(1)
    return _ratio(above_R, solved_RG.sum(1) * other_RG.sum(1))


def calibration(ease_N: Floats, rate_N: Floats) -> tuple[float, list[dict[str, float]]]:
    """Expected calibration error over BINS bins of equal width, and the curve. The error is biased
    upwards where bins hold few prompts.

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
) -> tuple[Estimate | None, Estimate | None, Estimate | None]:
    """(false drops, control, difference), see `Audit`."""
    dropped_RN = weights_RN * dropped_N
    excess_R = _ratio(dropped_RN @ medium_N, dropped_RN.sum(1)) - _ratio(
        weights_RN @ medium_N, weights_RN.sum(1)
    )
    false_drop = share_of(int((dropped_N & medium_N).sum()), int(dropped_N.sum()))
    return false_drop, share_of(int(medium_N.sum()), len(medium_N)), estimate(excess_R, chance=0.0)


def _by_value(value_N: Floats, weights_RN: Floats) -> tuple[Floats, NDArray[np.intp]]:
    """Weight of each distinct value, ascending, and the index of each prompt's value."""
    _, place_N, size_G = np.unique(value_N, return_inverse=True, return_counts=True)
    ordered_RN = weights_RN[:, np.argsort(place_N, kind="stable")]
    return np.add.reduceat(ordered_RN, size_G.cumsum() - size_G, axis=1), place_N


def _ranks(value_N: Floats, weights_RN: Floats) -> Floats:
    """Average rank of each prompt's value in each resample, minus the mean of all ranks."""
    weight_RG, place_N = _by_value(value_N, weights_RN)
    return (weight_RG.cumsum(1) - weight_RG / 2)[:, place_N] - len(value_N) / 2


def _ratio(one_R: Floats, other_R: Floats) -> Floats:
    """`one` / `other`; NaN where `other` is 0."""
    return np.divide(one_R, other_R, out=np.full(len(other_R), np.nan), where=other_R > 0)


def estimate(value_R: Floats, chance: float) -> Estimate | None:
    """The value of row 0 with the percentile interval of the other rows, widened to contain it. A
    resample without a value counts as `chance`."""
    if np.isnan(value_R[0]):
        return None
    value = float(value_R[0])
    low, high = np.quantile(np.nan_to_num(value_R[1:], nan=chance), (0.025, 0.975)).tolist()
    return Estimate(value, min(low, value), max(high, value))


def _conclusion(prompts: int, name: str, estimate: Estimate | None) -> tuple[bool, str]:
    """Whether the judge ranks better than chance, and a sentence about it."""
    if prompts < MIN_PROMPTS:
        return False, f"cannot tell: {prompts} prompts were measured, and {MIN_PROMPTS} are needed."
    if estimate is None:
        return False, (
            "cannot tell: the judge's ease or the policy's pass rate is the same for every"
            " measured prompt."
        )
    figures = f"{name} {estimate.value:.2f} [{estimate.low:.2f}, {estimate.high:.2f}]"
    if estimate.low > CHANCE[name]:
        return True, f"The judge ranks prompts better than chance: {figures}"
    if estimate.high > USEFUL[name]:
        return False, (
            f"cannot tell: the judge may rank at chance level or usefully ({figures}); measure more"
            " prompts."
        )
    comparison = "worse" if estimate.high < CHANCE[name] else "no better"
    return False, (
        f"This judge is {comparison} than a random filter on this data ({figures}): drop prompts at"
        " random, which costs nothing, or use another judge."
    )


def _false_drop_sentence(share: float, drop: Estimate | None, control: Estimate | None) -> str:
    if drop is None or control is None:
        return "none of the prompts that it dropped was measured"
    figures = f"{100 * drop.value:.0f} % [{100 * drop.low:.0f}, {100 * drop.high:.0f}]"
    return (
        f"of the easiest {100 * share:g} %, which it dropped, {figures} are of medium difficulty"
        f" for the policy, against {100 * control.value:.0f} % with a random filter"
    )
