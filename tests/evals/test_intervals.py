"""The interval of a paired difference: published values, bounds, symmetry."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evals.intervals import paired_difference

COUNTS = st.integers(0, 60)


@pytest.mark.parametrize(
    ("table", "difference", "low", "high"),
    [
        # Altman et al. 2000, Statistics with confidence, table 6.2
        ((14, 5, 0, 22), 0.122, 0.011, 0.226),
        # Bentur et al. 2009, in Fagerland et al., chapter 8
        ((1, 1, 7, 12), -0.2857, -0.5069, -0.0256),
    ],
)
def test_paired_difference_known_values(table, difference, low, high):
    assert paired_difference(*table) == pytest.approx((difference, low, high), abs=6e-4)


@given(COUNTS, COUNTS, COUNTS, COUNTS)
def test_paired_difference_is_bounded_contains_itself_and_swaps(both, gained, lost, neither):
    if not both + gained + lost + neither:
        return
    difference, low, high = paired_difference(both, gained, lost, neither)
    assert -1 <= low <= difference <= high <= 1
    assert paired_difference(both, lost, gained, neither) == pytest.approx(
        (-difference, -high, -low)
    )
