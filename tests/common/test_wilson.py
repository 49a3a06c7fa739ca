"""Wilson's interval of a share: a published value, bounds, symmetry."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.intervals import wilson


def test_wilson_known_value():
    # Newcombe 1998, Stat. Med. 17, 857-872
    assert wilson(15, 148) == pytest.approx((0.0624, 0.1605), abs=1e-4)


@given(st.integers(0, 60), st.integers(1, 60))
def test_wilson_contains_the_share_and_mirrors(correct, more):
    n = correct + more
    low, high = wilson(correct, n)
    assert 0 <= low <= correct / n <= high <= 1
    assert wilson(more, n) == pytest.approx((1 - high, 1 - low))
