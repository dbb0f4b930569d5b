"""Laws, distances and projections: exact arithmetic, closed forms, and SciPy as the other side."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from certify.returns import Law, cramer, mixture, project_categorical, project_quantile, wasserstein
from certify.returns.laws import merge_moved

atoms = st.lists(st.integers(-5, 5), min_size=1, max_size=6)


@st.composite
def exact_laws(draw: st.DrawFn) -> Law:
    values = draw(atoms)
    weights = [draw(st.integers(1, 4)) for _ in values]
    return Law(values, [Fraction(w, sum(weights)) for w in weights])


def as_float(law: Law) -> Law:
    x, p = law.as_floats()
    return Law(x, p)


@given(exact_laws(), exact_laws())
def test_distances_agree_with_scipy_and_with_rationals(left: Law, right: Law) -> None:
    (x, p), (y, q) = left.as_floats(), right.as_floats()
    exact = wasserstein(left, right)
    assert isinstance(exact, Fraction)
    assert float(exact) == pytest.approx(stats.wasserstein_distance(x, y, p, q), abs=1e-12)
    assert wasserstein(as_float(left), as_float(right)) == pytest.approx(float(exact), abs=1e-12)
    assert cramer(left, right, p=1) == pytest.approx(float(exact), abs=1e-12)
    assert cramer(left, right) * np.sqrt(2.0) == pytest.approx(stats.energy_distance(x, y, p, q), abs=1e-7)


@given(exact_laws(), exact_laws())
def test_wasserstein_orders_grow_with_p(left: Law, right: Law) -> None:
    first, second, last = (float(wasserstein(left, right, p=p)) for p in (1, 2, np.inf))
    assert first <= second + 1e-9
    assert second <= last + 1e-9


@given(exact_laws(), st.fractions(Fraction(1, 20), 1))
def test_cvar_is_the_largest_of_its_dual(law: Law, tau: Fraction) -> None:
    dual = max(q + sum(p * min(x - q, 0) for x, p in zip(law.atoms, law.probabilities, strict=True)) / tau for q in law.atoms)
    assert law.cvar(tau) == dual
    assert law.cvar(tau, tail="upper") == -Law(-law.atoms, law.probabilities).cvar(tau)
    assert law.cvar(tau) <= law.mean() <= law.cvar(tau, tail="upper")
    assert law.cvar(Fraction(1)) == law.mean()
    assert float(as_float(law).cvar(float(tau))) == pytest.approx(float(law.cvar(tau)), abs=1e-9)


def test_cvar_below_the_smallest_mass_is_the_minimum() -> None:
    assert Law([-7.0, 1.0], [0.2, 0.8]).cvar(0.01) == pytest.approx(-7.0)


@given(exact_laws(), st.integers(2, 9))
def test_categorical_projection_keeps_the_mean_and_moves_at_most_half_a_gap(law: Law, size: int) -> None:
    grid = np.linspace(-5, 5, size)
    projected = project_categorical(law, grid)
    assert float(projected.mean()) == pytest.approx(float(law.mean()), abs=1e-12)
    assert float(wasserstein(as_float(law), projected)) <= 10 / (size - 1) / 2 + 1e-12


@given(exact_laws(), st.integers(1, 9))
def test_quantile_projection_moves_at_most_its_bound(law: Law, m: int) -> None:
    assert float(wasserstein(as_float(law), project_quantile(law, m))) <= float(law.width) / (2 * m) + 1e-12


def test_a_quantile_on_a_jump_takes_the_left_atom() -> None:
    assert project_quantile(Law([0.0, 1.0], [0.5, 0.5]), 1).atoms.tolist() == [0.0]
    assert Law([0.0, 1.0], [0.1 + 0.2, 0.7]).quantile(0.3) == 0.0


def test_merging_reports_how_far_an_atom_moved() -> None:
    x, p, moved = merge_moved([0.0, 5e-11, 1.0], [0.25, 0.25, 0.5])
    assert (x.tolist(), p.tolist()) == ([0.0, 1.0], [0.5, 0.5])
    assert moved == pytest.approx(5e-11)


def test_mixture_and_affine_stay_exact() -> None:
    law = mixture([Law.point(1), Law([0, 2], [Fraction(1, 2)] * 2)], [Fraction(1, 3), Fraction(2, 3)])
    assert law.is_exact
    assert law.affine(1, Fraction(1, 2)).mean() == Fraction(3, 2)


BAD_LAWS = [
    pytest.param(lambda: Law([0, 1], [0.5]), "one length", id="lengths"),
    pytest.param(lambda: Law([], []), "one length", id="empty"),
    pytest.param(lambda: Law([0.0], [np.nan]), "finite", id="nan"),
    pytest.param(lambda: Law([np.inf], [1.0]), "finite", id="infinite atom"),
    pytest.param(lambda: Law([0, 1], [1.5, -0.5]), "negative", id="negative"),
    pytest.param(lambda: Law([0, 1], [Fraction(3, 2), Fraction(-1, 2)]), "negative", id="negative exact"),
    pytest.param(lambda: Law([0, 1], [0.5, 0.6]), "sum to 1", id="sum"),
    pytest.param(lambda: Law([0], [Fraction(1, 2)]), "sum to 1", id="sum exact"),
    pytest.param(lambda: Law([0], [1]).cvar(0), "tau", id="tau 0"),
    pytest.param(lambda: Law([0], [1]).cvar(1.01), "tau", id="tau above 1"),
    pytest.param(lambda: Law([0], [1]).cvar(float("nan")), "tau", id="tau nan"),
    pytest.param(lambda: Law([0], [1]).cvar(0.5, tail="left"), "tail", id="tail"),
    pytest.param(lambda: wasserstein(Law.point(0), Law.point(1), p=0.5), "p must", id="order"),
    pytest.param(lambda: cramer(Law.point(0), Law.point(1), p=float("nan")), "p must", id="order nan"),
    pytest.param(lambda: mixture([Law.point(0)], [0.5, 0.5]), "one length", id="mixture lengths"),
    pytest.param(lambda: project_categorical(Law.point(0), [0.0]), "atoms", id="one atom"),
    pytest.param(lambda: project_categorical(Law.point(0), [1.0, 0.0]), "increasing", id="unsorted"),
    pytest.param(lambda: project_categorical(Law.point(0), [0.0, np.nan]), "finite", id="nan grid"),
    pytest.param(lambda: project_categorical(Law.point(0), ["a", "b"]), "numbers", id="words"),
    pytest.param(lambda: project_categorical(Law.point(2), [0.0, 1.0]), "mean", id="clipping"),
    pytest.param(lambda: project_quantile(Law.point(0), 0), "m must", id="m = 0"),
]


@pytest.mark.parametrize(("call", "message"), BAD_LAWS)
def test_bad_laws_are_refused(call: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()  # type: ignore[operator]


def test_clipping_moves_the_mean_when_asked_for() -> None:
    assert project_categorical(Law.point(2), [0.0, 1.0], clip=True).mean() == 1.0


@pytest.mark.parametrize("tau", [0.1, 0.3, 0.7, Fraction(3, 10)])
def test_a_float_level_reaches_the_jump_of_an_exact_law(tau: object) -> None:
    digits = Law(range(1, 11), [Fraction(1, 10)] * 10)
    assert digits.quantile(tau) == round(10 * float(tau))  # type: ignore[arg-type]  # the float .1 lies above 1/10


def test_a_rare_atom_counts_in_the_largest_gap_of_exact_laws() -> None:
    rare = Fraction(1, 10**20)
    assert wasserstein(Law.point(0), Law([0, 1], [1 - rare, rare]), p=math.inf) == 1
