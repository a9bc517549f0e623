"""The references of the accuracy run, where they have to do without something that cancels."""

from __future__ import annotations

import math

import pytest

from benchmarks.exact_accuracy import (
    Setting,
    bent_log_delta,
    one_step_log_delta,
    reference,
    two_steps_log_delta,
)


@pytest.mark.parametrize(("rate", "sigma", "epsilon"), [(1e-4, 1.0, 0.8), (1e-7, 0.6, 0.1)])
def test_a_line_without_the_loss_0_finds_closed_forms_that_others_cancel_to(
    rate: float, sigma: float, epsilon: float
) -> None:
    one = Setting("fixed", rate, 0.5, sigma, 1, -40.0)
    two = Setting("fixed", rate, 0.5, sigma, 2, -40.0)
    truths = [
        one_step_log_delta(one.pair, epsilon),
        two_steps_log_delta(one.pair, one.pair, epsilon),
    ]
    for setting, truth in zip((one, two), truths, strict=True):
        found, moved = bent_log_delta(setting, epsilon, without=True)
        assert moved < 1e-9
        assert found == pytest.approx(truth, abs=4 * moved + 1e-11)


def test_it_is_the_reference_where_few_steps_take_part() -> None:
    few = Setting("poisson", 1.0, 1.3812154696132598e-06, 0.9828474500869124, 724, -27.5)
    name, value, moved = reference(few, 0.839169, multiple=False)
    assert name == "without loss 0"
    assert moved < 1e-11
    assert math.isfinite(value)
    assert bent_log_delta(few, 0.839169)[1] > 1e-9
