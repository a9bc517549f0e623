"""Printed numbers stay on the side on which the statement is true."""

from __future__ import annotations

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from patchdp.report.rounding import at_least, at_most, exactly

NUMBERS = st.floats(0, 1e300, allow_subnormal=False)


@given(NUMBERS, st.integers(1, 12))
def test_bounds_stay_bounds_and_near(value: float, digits: int) -> None:
    # Read exactly: as floats, 3 and 2.9999999999999999 would pass for each other.
    up, down = Fraction(at_most(value, digits)), Fraction(at_least(value, digits))
    assert down <= Fraction(value) <= up
    assert up - down <= Fraction(10) ** (1 - digits) * up


@given(st.fractions(Fraction(1, 10**12), 1))
def test_deltas_are_printed_exactly_or_rounded_up(value: Fraction) -> None:
    assert Fraction(exactly(value)) >= value


def test_deltas_as_people_write_them() -> None:
    assert exactly(Fraction("1e-5")) == exactly(1e-5) == "1e-05"
    assert exactly(Fraction(1, 2975)) == "1/2975"
    assert exactly(1 / 3) == "0.333334"
