"""Laws, distances and projections: exact arithmetic, closed forms, and SciPy as the other side."""

from __future__ import annotations

import itertools
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


def as_list(law):
    return list(zip(law.atoms.tolist(), law.probabilities.tolist(), strict=True))


@given(exact_laws(), exact_laws(), st.sampled_from([1, 2, 3, 1.5]))
def test_distances_from_their_definitions(left: Law, right: Law, p: float) -> None:
    levels = sorted({Fraction(0), *np.cumsum(left.probabilities), *np.cumsum(right.probabilities)})

    def inverse(law, u):
        return next(x for x, mass in zip(law.atoms, np.cumsum(law.probabilities), strict=True) if mass >= u)

    gaps = [(b - a, abs(inverse(left, b) - inverse(right, b))) for a, b in itertools.pairwise(levels)]
    true = float(sum(float(w) * float(g) ** p for w, g in gaps)) ** (1.0 / p)
    points = sorted({*left.atoms, *right.atoms})
    steps = [(b - a, abs(left.cdf(a) - right.cdf(a))) for a, b in itertools.pairwise(points)]
    cdf = float(sum(float(w) * float(g) ** p for w, g in steps)) ** (1.0 / p)
    for one, two in ((left, right), (as_float(left), as_float(right))):
        assert float(wasserstein(one, two, p=p)) == pytest.approx(true, abs=1e-7)
        assert cramer(one, two, p=p) == pytest.approx(cdf, abs=1e-7)
        assert float(wasserstein(one, two, p=math.inf)) == float(max(g for _, g in gaps))
        assert cramer(one, two, p=math.inf) == pytest.approx(float(max((g for _, g in steps), default=0)), abs=1e-12)


@given(exact_laws(), st.integers(-6, 6), st.fractions(Fraction(1, 20), 1))
def test_moments_quantiles_and_distribution_functions(law: Law, x: int, tau: Fraction) -> None:
    pairs = as_list(law)
    mean = sum(a * p for a, p in pairs)
    for shown in (law, as_float(law)):
        assert float(shown.mean()) == pytest.approx(float(mean), abs=1e-12)
        assert float(shown.variance()) == pytest.approx(float(sum((a - mean) ** 2 * p for a, p in pairs)), abs=1e-12)
        assert float(shown.cdf(x)) == pytest.approx(float(sum(p for a, p in pairs if a <= x)), abs=1e-12)
        assert float(shown.width) == max(law.atoms) - min(law.atoms)
        assert float(shown.expect(lambda a: a**3 - 1)) == pytest.approx(float(sum(p * (a**3 - 1) for a, p in pairs)), abs=1e-10)
    reached = next(a for a, mass in zip(law.atoms, np.cumsum(law.probabilities), strict=True) if mass >= tau)
    assert law.quantile(tau) == reached
    moved = law.affine(Fraction(1, 3), -2)
    assert as_list(moved) == sorted((Fraction(1, 3) - 2 * a, p) for a, p in pairs)
    assert Law.point(x).mean() == x
    assert as_list(Law.point(x)) == [(x, 1)]


def test_atoms_of_no_mass_are_dropped() -> None:
    assert as_list(Law([3, 1, 2, 1], [0, Fraction(1, 4), Fraction(1, 2), Fraction(1, 4)])) == [(1, Fraction(1, 2)), (2, Fraction(1, 2))]
    assert as_list(Law([3.0, 1.0, 2.0], [0.0, 0.25, 0.75])) == [(1.0, 0.25), (2.0, 0.75)]
    assert as_list(mixture([Law.point(1), Law.point(2)], [1, 0])) == [(1, 1)]


def test_masses_that_miss_one_by_rounding_are_scaled() -> None:
    off = Law([0.0, 1.0], [0.5, 0.5 + 6e-10])
    assert float(off.probabilities.sum()) == pytest.approx(1.0, abs=1e-15)
    assert off.probabilities[0] < 0.5
    law, moved = Law.merging([2.0, 1.0, 1.0], [1.0, 2.0, 1.0])
    assert (as_list(law), moved) == ([(1.0, 0.75), (2.0, 0.25)], 0.0)
    assert Law.merging([1.0, 1.5, 3.0], [1.0, 2.0, 1.0], 0.25)[1] == 0.5


@pytest.mark.parametrize("size", [0.1, 1.0, 50.0])
def test_atoms_are_one_within_the_stated_width(size: float) -> None:
    scale = max(1.0, size)
    for gap, count in ((0.75e-10, 1), (1.5e-10, 2)):
        assert len(Law([-size, -size + gap * scale], [0.5, 0.5]).atoms) == count
    x, p, moved = merge_moved([0.0, 0.6e-10, 1.2e-10, 2.0, 2.0 + 1e-10], [0.1, 0.2, 0.3, 0.3, 0.1])
    assert x.tolist() == [0.0, 2.0]
    assert p == pytest.approx([0.6, 0.4])
    assert moved == pytest.approx(1.2e-10)


@pytest.mark.parametrize(("past", "picked"), [(0.7e-13, 0.0), (1.5e-13, 1.0)])
def test_a_level_this_near_to_a_jump_is_the_jump(past: float, picked: float) -> None:
    law = Law([0.0, 1.0], [0.5, 0.5])
    assert law.quantile(0.5 + past) == picked
    assert project_quantile(Law([0.0, 1.0], [0.5 - past, 0.5 + past]), 1).atoms.tolist() == [picked]


def test_levels_this_near_are_one_in_the_largest_gap() -> None:
    for width, gap in ((6e-16, 0.0), (1.5e-15, 1.0)):  # some ulps of one half
        left, right = Law([0.0, 1.0], [0.5, 0.5]), Law([0.0, 1.0], [0.5 + width, 0.5 - width])
        assert float(wasserstein(left, right, p=math.inf)) == gap


def test_tail_means_use_up_their_mass() -> None:
    thirds = Law([0.0, 3.0, 6.0], [1 / 3, 1 / 3, 1 / 3])
    assert thirds.cvar(1.0) == pytest.approx(3.0, abs=1e-15)
    assert thirds.cvar(0.5, tail="upper") == pytest.approx(5.0, abs=1e-14)
    tenths = Law(np.full(10, 1.0) * np.arange(10), np.full(10, 0.1))
    assert Law([-1e6] * 1 + list(range(9)), np.full(10, 0.1)).cvar(0.1) == pytest.approx(-1e6)
    assert tenths.cvar(0.95) == pytest.approx((sum(range(9)) * 0.1 + 9 * 0.05) / 0.95, abs=1e-14)


def test_what_lies_outside_a_grid_by_rounding_is_projected() -> None:
    for size in (0.5, 40.0):
        scale = max(1.0, size)
        for past, allowed in ((0.7e-12, True), (1.5e-12, False)):
            for x, grid in ((size + past * scale, [0.0, size]), (-size - past * scale, [-size, 0.0])):
                if allowed:
                    assert abs(project_categorical(Law([x], [1.0]), grid).mean() - x) <= 1e-12 * scale
                else:
                    with pytest.raises(ValueError, match="must cover"):
                        project_categorical(Law([x], [1.0]), grid)


@given(exact_laws(), st.integers(1, 9))
def test_mid_quantiles_from_their_definition(law: Law, m: int) -> None:
    projected = project_quantile(law, m)
    wanted = [law.quantile(Fraction(2 * i - 1, 2 * m)) for i in range(1, m + 1)]
    assert projected.mean() == pytest.approx(float(sum(wanted)) / m, abs=1e-12)
    assert sorted({float(x) for x in wanted}) == projected.atoms.tolist()
    assert projected.probabilities == pytest.approx([sum(float(x) == a for x in wanted) / m for a in projected.atoms])
