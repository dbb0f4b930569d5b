"""The closed forms of the average-reward guarantees: printed values, defining equations, monotony."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from theory import catalogue, loop_agec


def test_every_guarantee_says_how_it_is_known() -> None:
    found = {k: g for k, g in catalogue().items() if k.startswith("loop_agec/")}
    assert {f"loop_agec/G{n}" for n in range(1, 15)} <= set(found)
    assert found["loop_agec/G12-printed"].status == "refuted"
    assert found["loop_agec/G3"].status == found["loop_agec/G9"].status == "corrected"
    assert all(g.note for g in found.values() if g.source in ("recalled", "second-hand"))


def test_printed_values() -> None:
    beta = loop_agec.class_radius(3.8461538462, 8, 16, 3e5, 0.05)
    assert float(loop_agec.regret_bound(4, 3.8461538462, beta, 0.4615384615, 3e5, 0.05)) == pytest.approx(125_208, abs=1.0)
    assert float(loop_agec.ucrl2_episode_bound(6, 2, 1e6)) == pytest.approx(232, abs=1.0)
    assert float(loop_agec.ucrl2_regret_bound(14.7223379148, 6, 2, 1e6, 0.05)) == pytest.approx(1.74e7, rel=0.01)
    assert [loop_agec.linear_eluder_bound(1, 1.0, 1.0, e, c=1.0) for e in (0.5, 0.05)] == [8, 22]
    assert float(loop_agec.pigeonhole_sum(2, 1.0, 2000, 1.0, 5e-4)) < 153.5 < float(loop_agec.pigeonhole_sum(3, 1.0, 2000, 1.0, 5e-4)) + 3
    assert float(loop_agec.potential_bound(6 * np.log(2))) == pytest.approx(6.0)


def test_leading_term_of_the_regret_bound() -> None:
    t, b, d = 1e16, 2.0, 3
    beta = loop_agec.class_radius(b, 5, 9, t, 0.1)
    lead = b * np.sqrt(40 * d * np.log(t * 45 / 0.1) * t) + b * np.sqrt(t * np.log(10) / 2)
    assert float(loop_agec.regret_bound(d, b, beta, 1.0, t, 0.1)) == pytest.approx(lead, rel=1e-4)


@given(st.just(0.0) | st.floats(1e-3, 50.0), st.floats(1e-6, 50.0), st.floats(0.01, 3.0), st.integers(2, 20))
def test_dominance_number_is_the_least(a: float, b: float, c: float, steps: int) -> None:
    d = float(loop_agec.dominance_number(a, b, c, steps))
    assert np.sqrt(d * b) + c * min(d, steps) >= a * (1 - 1e-9) - 1e-9
    less = d * (1 - 1e-6)
    assert d == 0.0 or np.sqrt(less * b) + c * min(less, steps) < a * (1 + 1e-12)


@given(st.just(0.0) | st.floats(1e-3, 50.0), st.floats(1e-6, 50.0), st.floats(0.01, 3.0), st.integers(2, 20))
def test_transfer_number_is_the_least(a: float, beta: float, c: float, steps: int) -> None:
    k = float(loop_agec.transfer_number(a, beta, c, steps))
    assert k * beta * np.log(steps) + c**2 * min(k, steps) >= a * (1 - 1e-9) - 1e-9
    less = k * (1 - 1e-6)
    assert k == 0.0 or less * beta * np.log(steps) + c**2 * min(less, steps) < a * (1 + 1e-12)


@given(st.integers(1, 6), st.floats(0.01, 5.0), st.floats(0.01, 1.0))
def test_linear_eluder_bound(d: int, radius: float, epsilon: float) -> None:
    best, textbook = loop_agec.linear_eluder_bound(d, radius, 1.0, epsilon), loop_agec.linear_eluder_bound(d, radius, 1.0, epsilon, c=1.0)
    assert 0 <= best <= textbook
    assert loop_agec.linear_eluder_bound(d, radius, 1.0, 2 * epsilon) <= best
    n, ratio = textbook + 1, (radius / epsilon) ** 2
    assert radius <= epsilon or n * np.log(1.5) >= d * np.log1p(n * ratio / d) * (1 - 1e-9)


def test_widths_of_ucrl2_carry_the_factor_s() -> None:
    rewards, transitions = loop_agec.ucrl2_widths([0, 1, 4], 6, 2, 10.0, 0.05)
    assert rewards == pytest.approx(np.sqrt(3.5 * np.log(24 * 10 / 0.05) / np.array([1, 1, 4])))
    assert transitions == pytest.approx(np.sqrt(14 * 6 * np.log(40 / 0.05) / np.array([1, 1, 4])))


def test_degenerate_inputs() -> None:
    assert float(loop_agec.pigeonhole_weighted(0, 1.0, 10, 1.0, 0.1)) == pytest.approx(1.0)
    assert loop_agec.linear_eluder_bound(3, 1.0, 0.5, 0.5) == 0
    assert loop_agec.dominance_number([2.0, 0.0], [0.0, 0.0], 0.0, 5).tolist() == [np.inf, 0.0]
    assert loop_agec.span_bound(0.5, 4.0) == 2.0
    assert float(loop_agec.minimax_lower_bound(20.0, 10, 10, 1e6)) == pytest.approx(0.015 * np.sqrt(2e9))
    assert loop_agec.information_bound(2, 1.0, 1.0, 10.0) == pytest.approx(2 * np.log(6))
    assert loop_agec.linear_dominance(np.log(2), 1.0, 1.0, 4.0, 5.0, 2.0) == pytest.approx(5.0)
    assert loop_agec.linear_transfer(np.log(2), 1.0, 1.0, 5.0, 2.0) == pytest.approx(10.0)
    assert loop_agec.mle_variation_bound(8, 0.05) == pytest.approx(3 * np.log(160))
    assert loop_agec.first_power_radius(64.0, 64, 0.05) < loop_agec.anytime_radius(64.0, 64, 0.05)
