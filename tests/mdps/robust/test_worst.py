"""Smallest expectations: vectors of known value, an independent convex solver, laws, and broken variants."""

import math
import warnings

import cvxpy as cp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mdps.robust import DIVERGENCES, PENALTIES, lp_value, worst_case, worst_case_rows

Z, Q = [0.0, 1.0, 3.0], [0.2, 0.5, 0.3]
LINE = np.abs(np.subtract.outer(np.arange(3.0), np.arange(3.0)))

KNOWN = [
    ("l1", "radius", 0.5, {}, 0.65),
    ("weighted-l1", "radius", 0.5, {"weights": [1, 2, 0.5]}, 0.48333333),
    ("linf", "radius", 0.1, {}, 1.1),
    ("l2", "radius", 0.2, {}, 0.96795062),
    ("burg", "radius", 0.1, {}, 0.94095636),
    ("wasserstein", "radius", 0.3, {"cost": LINE}, 0.8),
    ("contamination", "radius", 0.25, {}, 1.05),
    ("cvar", "radius", 0.5, {}, 0.6),
    *(
        (name, how, size, {}, value)
        for how, table in (
            ("penalty", {0.5: (0.4, 0.65761745, 0.85714286), 1: (0.8, 0.91910509, 1.09), 5: (1.4, 1.28085974, 1.338)}),
            (
                "radius",
                {
                    0.1: (1.1, 0.92562584, 1.04786366),
                    0.25: (0.65, 0.68043076, 0.84322356),
                    0.5: (0.3, 0.44010214, 0.61327046),
                    2: (0, 0, 0.24048217),
                },
            ),
        )
        for size, values in table.items()
        for name, value in zip(PENALTIES, values, strict=True)
    ),
]


@pytest.mark.parametrize(("divergence", "how", "size", "extra", "value"), KNOWN)
def test_known_values(divergence, how, size, extra, value):
    assert worst_case(Z, Q, divergence=divergence, **{how: size}, **extra).value == pytest.approx(value, abs=1e-8)


@pytest.mark.parametrize(
    ("how", "size", "values"),
    [("penalty", 1.0, (1.0, 1.42444288, 1.56)), ("radius", 0.25, (1.05, 1.17457593, 1.31010205))],
)
def test_known_values_with_the_minimum_off_the_support(how, size, values):
    found = [worst_case(Z, [0, 0.6, 0.4], divergence=name, **{how: size}).value for name in PENALTIES]
    np.testing.assert_allclose(found, values, atol=1e-8)


@pytest.mark.parametrize(
    ("divergence", "worst"), [("tv", (0.5, 0.5, 0)), ("kl", (0.501409, 0.461145, 0.037446)), ("chi2", (0.34, 0.6, 0.06))]
)
def test_known_minimisers(divergence, worst):
    np.testing.assert_allclose(worst_case(Z, Q, divergence=divergence, penalty=1.0).distribution, worst, atol=1e-6)


def spent(divergence, p, q, extra):
    """The divergence by its definition, apart from the code under test."""
    support = q > 0
    with np.errstate(divide="ignore", invalid="ignore"):
        if divergence == "kl":
            return np.inf if p[~support].sum() > 1e-15 else float(np.sum(np.where(p > 0, p * np.log(p / np.where(support, q, 1)), 0)))
        if divergence == "chi2":
            return np.inf if p[~support].sum() > 1e-15 else float(np.sum((p - q)[support] ** 2 / q[support]))
        if divergence == "burg":
            return float(np.sum(q[support] * np.log(q[support] / p[support])))
    if divergence == "wasserstein":
        plan = cp.Variable((len(p), len(p)), nonneg=True)
        problem = cp.Problem(cp.Minimize(cp.sum(cp.multiply(plan, extra["cost"]))), [cp.sum(plan, axis=1) == q, cp.sum(plan, axis=0) == p])
        return float(problem.solve(solver="CLARABEL"))
    distances = {
        "tv": 0.5 * np.abs(p - q).sum(),
        "l1": np.abs(p - q).sum(),
        "linf": np.abs(p - q).max(),
        "l2": np.linalg.norm(p - q),
        "weighted-l1": (np.asarray(extra.get("weights", 1.0)) * np.abs(p - q)).sum(),
        "contamination": np.max(1 - p[support] / q[support]),
        "cvar": max(np.inf if p[~support].sum() > 0 else 0, float(np.max(1 - q[support] / np.maximum(p[support], 1e-300)))),
    }
    return float(distances[divergence])


def convex_problem(divergence, z, q, how, size, extra):
    """The definition handed to a conic solver."""
    n = len(z)
    p, support = cp.Variable(n, nonneg=True), np.flatnonzero(q > 0)
    constraints = [cp.sum(p) == 1]
    if divergence in ("kl", "chi2", "cvar") and len(support) < n:
        constraints.append(p[np.flatnonzero(q == 0)] == 0)
    inner, base = p[support], q[support]
    measure = {
        "tv": lambda: 0.5 * cp.norm1(p - q),
        "l1": lambda: cp.norm1(p - q),
        "weighted-l1": lambda: cp.sum(cp.multiply(extra["weights"], cp.abs(p - q))),
        "linf": lambda: cp.norm_inf(p - q),
        "l2": lambda: cp.norm2(p - q),
        "kl": lambda: cp.sum(cp.kl_div(inner, base)),
        "chi2": lambda: cp.sum(cp.multiply(cp.square(inner - base), 1 / base)),
        "burg": lambda: cp.sum(cp.kl_div(base, inner)) + 1 - cp.sum(inner),
        "contamination": lambda: cp.max(1 - cp.multiply(inner, 1 / base)),
    }
    if divergence == "wasserstein":
        plan = cp.Variable((n, n), nonneg=True)
        constraints += [cp.sum(plan, axis=1) == q, cp.sum(plan, axis=0) == p, cp.sum(cp.multiply(plan, extra["cost"])) <= size]
    elif divergence == "cvar":
        constraints.append(p * (1 - size) <= q)
    elif how == "radius":
        constraints.append(measure[divergence]() <= size)
    charge = size * measure[divergence]() if how == "penalty" else 0
    problem = cp.Problem(cp.Minimize(p @ z + charge), constraints)
    with warnings.catch_warnings():
        # the solver may stop a little short of these tolerances; the comparison allows 2e-6
        warnings.simplefilter("ignore", UserWarning)
        problem.solve(solver="CLARABEL", tol_gap_abs=1e-10, tol_gap_rel=1e-10, tol_feas=1e-10)
    return problem


def random_instance(rng):
    n = int(rng.integers(2, 9))
    q = rng.dirichlet(np.full(n, rng.choice([0.5, 1.0, 3.0])))
    if rng.random() < 0.5:
        q[rng.random(n) < 0.3] = 0.0
        q[0] += q.sum() == 0
    q[q < 1e-3] = 0.0
    q[0] += q.sum() == 0
    z = rng.uniform(0, 3, n)
    if rng.random() < 0.4:
        z = np.round(z)
    points = rng.uniform(0, 1, (n, 2))
    cost = np.linalg.norm(points[:, None] - points[None], axis=2)
    return z, q / q.sum(), {"weights": rng.uniform(0.3, 2, n), "cost": cost}


def needed(divergence, extra):
    owner = {"weighted-l1": "weights", "wasserstein": "cost"}.get(divergence)
    return {owner: extra[owner]} if owner else {}


@pytest.mark.parametrize(
    ("divergence", "how"), [*((name, "radius") for name in DIVERGENCES), *((name, "penalty") for name in PENALTIES)]
)
def test_a_convex_solver_finds_the_same_minimum(divergence, how):
    rng = np.random.default_rng(DIVERGENCES.index(divergence))
    for _ in range(12):
        z, q, extra = random_instance(rng)
        size = float(rng.choice([0.02, 0.1, 0.4, 1.0] if how == "radius" else [0.05, 0.3, 1.0, 4.0]))
        kwargs = needed(divergence, extra)
        if divergence == "contamination" and len(np.flatnonzero(q == 0)) and size == 1.0:
            size = 0.4
        problem = convex_problem(divergence, z, q, how, size, kwargs)
        ours = worst_case(z, q, divergence=divergence, **{how: size}, **kwargs)
        assert ours.value == pytest.approx(problem.value, abs=2e-6)


@given(st.integers(0, 10**6), st.sampled_from(DIVERGENCES), st.floats(-6, 1))
def test_the_minimiser_is_feasible_and_attains_the_value(seed, divergence, exponent):
    z, q, extra = random_instance(np.random.default_rng(seed))
    radius = 10.0**exponent
    if divergence in ("contamination", "cvar"):
        radius = min(radius, 0.999)
    kwargs = needed(divergence, extra)
    found = worst_case(z, q, divergence=divergence, radius=radius, **kwargs)
    p = found.distribution
    assert p.min() >= 0
    assert p.sum() == pytest.approx(1, abs=1e-12)
    assert found.value == pytest.approx(p @ z, abs=1e-12)
    budget = 1e-6 if divergence == "wasserstein" else 0.0
    assert divergence == "wasserstein" or spent(divergence, p, q, kwargs) <= radius * (1 + 1e-9) + 1e-13 + budget


@given(st.integers(0, 10**6), st.sampled_from(PENALTIES), st.floats(-6, 6))
def test_the_charged_minimiser_attains_the_value(seed, divergence, exponent):
    z, q, _ = random_instance(np.random.default_rng(seed))
    penalty = 10.0**exponent
    found = worst_case(z, q, divergence=divergence, penalty=penalty)
    p = found.distribution
    assert found.value == pytest.approx(p @ z + penalty * spent(divergence, p, q, {}), abs=1e-9)


@given(st.integers(0, 10**6), st.sampled_from(DIVERGENCES), st.floats(-3, 0))
def test_laws(seed, divergence, exponent):
    rng = np.random.default_rng(seed)
    z, q, extra = random_instance(rng)
    radius = 0.999 * 10.0**exponent
    kwargs = needed(divergence, extra)

    def value(v=z, nominal=q, size=radius, more=kwargs):
        return worst_case(v, nominal, divergence=divergence, radius=size, **more).value

    base = value()
    assert value(size=0.0) == pytest.approx(q @ z, abs=1e-12)
    assert z.min() - 1e-12 <= base <= q @ z + 1e-12
    assert value(size=0.5 * radius) >= base - 1e-12
    assert value(v=z + 2.5) == pytest.approx(base + 2.5, abs=1e-10)
    assert value(v=7.0 * z) == pytest.approx(7.0 * base, abs=1e-9)
    order = rng.permutation(len(z))
    moved = {"weights": lambda w: w[order], "cost": lambda c: c[np.ix_(order, order)]}
    assert value(z[order], q[order], more={k: moved[k](v) for k, v in kwargs.items()}) == pytest.approx(base, abs=1e-10)
    supported = divergence in ("kl", "chi2", "cvar")
    bounded = divergence in ("contamination", "cvar")
    expected = z[q > 0].min() if supported else z.min()
    if divergence != "burg":
        assert value(size=1.0 if bounded else 1e9) == pytest.approx(expected, abs=1e-9)


@given(st.integers(0, 10**6), st.sampled_from(PENALTIES), st.sampled_from([0.05, 0.3, 1.0, 4.0]))
def test_a_charge_is_a_radius_at_the_right_price(seed, divergence, penalty):
    z, q, _ = random_instance(np.random.default_rng(seed))
    charged = worst_case(z, q, divergence=divergence, penalty=penalty)
    radius = spent(divergence, charged.distribution, q, {})
    bounded = worst_case(z, q, divergence=divergence, radius=radius)
    assert bounded.value == pytest.approx(charged.value - penalty * radius, abs=1e-8)


@given(st.integers(0, 10**6), st.floats(0.01, 2))
def test_the_sets_are_nested(seed, radius):
    z, q, _ = random_instance(np.random.default_rng(seed))
    tv, kl, chi2 = (
        lambda r: worst_case(z, q, divergence="tv", radius=r).value,
        worst_case(z, q, divergence="kl", radius=radius).value,
        worst_case(z, q, divergence="chi2", radius=radius).value,
    )
    assert kl <= chi2 + 1e-9
    assert tv(math.sqrt(radius / 2)) <= kl + 1e-9
    assert tv(math.sqrt(radius) / 2) <= chi2 + 1e-9


@pytest.mark.parametrize(
    ("divergence", "how"), [("tv", "radius"), ("l1", "radius"), ("kl", "radius"), ("chi2", "radius"), *((d, "penalty") for d in PENALTIES)]
)
def test_compiled_rows_agree_with_their_plain_twins(divergence, how):
    rng = np.random.default_rng(5)
    for _ in range(60):
        z, q, _ = random_instance(rng)
        sizes = 10.0 ** rng.uniform(-9, 3, 3)
        value, p = worst_case_rows(z, np.tile(q, (3, 1)), divergence=divergence, **{how: sizes})
        twins = [worst_case(z, q, divergence=divergence, **{how: float(s)}) for s in sizes]
        np.testing.assert_allclose(value, [t.value for t in twins], atol=1e-11)
        np.testing.assert_allclose(p @ z, [t.distribution @ z for t in twins], atol=1e-9)


@pytest.mark.parametrize("divergence", DIVERGENCES)
@pytest.mark.parametrize("radius", [1e-300, 1e-16, 1.0, 1e12, math.inf])
def test_extreme_sizes(divergence, radius):
    if divergence in ("contamination", "cvar"):
        radius = min(radius, 1.0)
    extra = needed(divergence, {"weights": np.array([1, 2, 0.5]), "cost": LINE})
    found = worst_case([-5e8, 1.0, 3e8], Q, divergence=divergence, radius=radius, **extra)
    assert np.isfinite(found.value)
    assert found.distribution.min() >= 0
    assert found.distribution.sum() == pytest.approx(1)


# a mass of 1e-21 on the smallest entry, under most of the mass: what is computed from the mean has no digits left there
LEAN_Q, LEAN_Z = np.array([1e-21, 1e-13, 1 - 1e-13]), np.array([0.0, 1.0, 1.0])


@pytest.mark.parametrize("radius", [1e-12, 1e-3, 10.0, 1e6])
def test_chi2_keeps_its_digits_where_the_smallest_entry_has_hardly_any_mass(radius):
    # two values only, so p_0 = q_0 + sqrt(radius q_0 (1 - q_0))
    moved = math.sqrt(radius * LEAN_Q[0])
    found = worst_case(LEAN_Z, LEAN_Q, divergence="chi2", radius=radius)
    assert found.distribution[0] == pytest.approx(LEAN_Q[0] + moved, rel=1e-12)
    assert spent("chi2", found.distribution, LEAN_Q, {}) <= radius * (1 + 1e-9) + 1e-15
    value, p = worst_case_rows(LEAN_Z, LEAN_Q[None], divergence="chi2", radius=radius)
    assert value[0] == pytest.approx(1 - LEAN_Q[0] - moved, abs=1e-15)
    np.testing.assert_allclose(p[0], found.distribution, rtol=1e-12)


def test_a_small_price_of_chi2_keeps_its_digits():
    # p = q (a - z)_+ / (2 penalty), so p_0 = q_0 (1 + (1 - q_0) / (2 penalty))
    penalty = 1e-19
    found = worst_case(LEAN_Z, LEAN_Q, divergence="chi2", penalty=penalty)
    assert found.distribution[0] == pytest.approx(LEAN_Q[0] / (2 * penalty), rel=1e-9)
    assert found.value == pytest.approx(1 - LEAN_Q[0] / (4 * penalty), abs=1e-14)
    assert worst_case_rows(LEAN_Z, LEAN_Q[None], divergence="chi2", penalty=penalty)[0][0] == pytest.approx(found.value, abs=1e-15)


def test_cvar_close_to_radius_one_is_still_a_distribution():
    found = worst_case([0.0, 1.0, 2.0], [1e-17, 0.5, 0.5], divergence="cvar", radius=1 - 2.0**-53)
    assert found.distribution.sum() == pytest.approx(1, abs=1e-15)
    assert found.distribution[0] == pytest.approx(1e-17 * 2.0**53)
    assert found.value == pytest.approx(1 - 1e-17 * 2.0**53)


def test_a_finite_burg_radius_leaves_no_nominal_entry_without_mass():
    q = np.array([0.4, 0.6 - 3e-30, 3e-30])
    p = worst_case([0.0, 0.0, 1.0], q / q.sum(), divergence="burg", radius=0.005).distribution
    assert p.min() > 0
    assert spent("burg", p, q / q.sum(), {}) <= 0.005


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("divergence", PENALTIES)
@pytest.mark.parametrize("penalty", [1e-320, 1e-300, 1e300])
@pytest.mark.parametrize("scale", [1e-300, 1.0, 1e300])
@pytest.mark.parametrize("q", [(0.2, 0.5, 0.3), (0.0, 1.0, 0.0), (0.5, 0.5, 0.0)])
def test_extreme_prices_of_extreme_values(divergence, penalty, scale, q):
    z, q = scale * np.array([-1.0, 1.0, 3.0]), np.array(q)
    found = worst_case(z, q, divergence=divergence, penalty=penalty)
    value, p = worst_case_rows(z, q[None], divergence=divergence, penalty=penalty)
    if penalty > scale * 1e5:
        expected = q @ z
    elif penalty * 1e5 < scale:
        expected = z.min() if divergence == "tv" else z[q > 0].min()
    else:
        expected = found.value
    assert found.value == pytest.approx(expected, abs=1e-12 * scale)
    assert value[0] == pytest.approx(expected, abs=1e-12 * scale)
    for row in (found.distribution, p[0]):
        assert row.min() >= 0
        assert row.sum() == pytest.approx(1, abs=1e-14)


def test_the_rows_of_kl_stay_in_the_set_when_their_values_hardly_differ():
    z, q = np.array([0.0, 1e-17, 1.0]), np.array([0.4, 0.6, 0.0])
    for radius in (1e-3, 0.1, 0.5):
        _, p = worst_case_rows(z, q[None], divergence="kl", radius=radius)
        assert spent("kl", p[0], q, {}) == pytest.approx(radius, rel=1e-9)


@pytest.mark.parametrize("divergence", PENALTIES)
@pytest.mark.parametrize(("penalty", "value"), [(1e-300, 0.0), (1e300, 1.4), (math.inf, 1.4)])
def test_extreme_penalties(divergence, penalty, value):
    assert worst_case(Z, Q, divergence=divergence, penalty=penalty).value == pytest.approx(value, abs=1e-12)


@pytest.mark.parametrize("divergence", DIVERGENCES)
def test_one_hot_and_constant_inputs(divergence):
    extra = needed(divergence, {"weights": np.ones(3), "cost": LINE})
    stuck = worst_case(Z, [0, 1, 0], divergence=divergence, radius=0.2, **extra).value
    assert stuck == pytest.approx(1.0) if divergence in ("kl", "chi2", "cvar") else stuck < 1.0
    assert worst_case([2, 2, 2], Q, divergence=divergence, radius=0.2, **extra).value == 2.0


def test_controls_that_must_differ():
    """Known slips: the factor 2 of L1, a minimum over the support for TV, 2 in place of 4 in chi2."""
    assert worst_case(Z, Q, divergence="tv", radius=0.5).value != pytest.approx(worst_case(Z, Q, divergence="l1", radius=0.5).value, abs=0.1)
    z, q = np.array([0.0, 2.0, 1.0]), np.array([0.0, 0.6, 0.4])
    on_support = q @ np.minimum(z, z[q > 0].min() + 0.5)
    assert on_support == pytest.approx(1.3)
    assert worst_case(z, q, divergence="tv", penalty=0.5).value == pytest.approx(0.5)
    q = np.array([0.2, 0.5, 0.3])
    levels = np.linspace(0, 2, 2001)
    dual = [q @ np.minimum(z, a) - (q @ np.minimum(z, a) ** 2 - (q @ np.minimum(z, a)) ** 2) / 2.0 for a in levels]
    assert min(dual) == pytest.approx(0.0)
    assert max(dual) == pytest.approx(worst_case(z, q, divergence="chi2", penalty=0.5).value, abs=1e-6)
    assert max(dual) == pytest.approx(0.995, abs=1e-9)


def test_the_closed_form_of_a_norm_ball_is_exact_inside_and_a_lower_bound_outside():
    rng = np.random.default_rng(3)
    outside = 0.0
    for order, divergence in ((1, "l1"), (2, "l2"), (math.inf, "linf")):
        for _ in range(12):
            v, q = rng.uniform(0, 3, 5), rng.dirichlet(np.full(5, 20.0))
            inside = lp_value(v, q, order=order, radius=0.02)
            assert inside.exact
            assert inside.value == pytest.approx(worst_case(v, q, divergence=divergence, radius=0.02).value, abs=2e-8)
            far = lp_value(v, q, order=order, radius=1.5)
            exact = worst_case(v, q, divergence=divergence, radius=1.5).value
            assert not far.exact
            assert far.value <= exact + 1e-12
            outside = max(outside, exact - far.value)
    assert outside > 0.5


BAD = [
    ({"divergence": "hellinger", "radius": 0.1}, "divergence must be one of"),
    ({"divergence": "tv"}, "exactly one of radius and penalty"),
    ({"divergence": "tv", "radius": 0.1, "penalty": 1.0}, "exactly one of radius and penalty"),
    ({"divergence": "tv", "radius": -0.1}, "radius of 'tv' must be a number >= 0, got -0.1"),
    ({"divergence": "tv", "radius": math.nan}, "radius of 'tv'"),
    ({"divergence": "tv", "radius": "wide"}, "radius must be a number >= 0, got 'wide'"),
    ({"divergence": "cvar", "radius": 1.5}, "radius of 'cvar' must be a number in"),
    ({"divergence": "kl", "penalty": 0.0}, "penalty must be a number > 0, got 0.0"),
    ({"divergence": "kl", "penalty": math.nan}, "penalty must be a number > 0"),
    ({"divergence": "l2", "penalty": 1.0}, "divergence with a penalty must be one of"),
    ({"divergence": "weighted-l1", "radius": 0.1}, "weights must be given"),
    ({"divergence": "weighted-l1", "radius": 0.1, "weights": [1, 0, 1]}, "weights must be > 0, got 0.0 at index 1"),
    ({"divergence": "weighted-l1", "radius": 0.1, "weights": [1, 1]}, "weights has shape"),
    ({"divergence": "wasserstein", "radius": 0.1}, "cost must be given"),
    ({"divergence": "wasserstein", "radius": 0.1, "cost": np.ones((3, 3))}, "cost must be >= 0 with a zero diagonal"),
    ({"divergence": "wasserstein", "radius": 0.1, "cost": [[0, 1, 1], [1, 0, -2], [1, 1, 0]]}, r"got -2.0 at index \(1, 2\)"),
    ({"divergence": "wasserstein", "radius": 0.1, "cost": np.zeros((2, 2))}, "cost has shape"),
    ({"divergence": "tv", "radius": np.bool_(True)}, "radius must be a number >= 0"),
    ({"divergence": "tv", "radius": 0.1, "weights": [1, 1, 1]}, "weights must be given for divergence 'weighted-l1' and for no other"),
    ({"divergence": "tv", "radius": 0.1, "values": [0, 1, math.inf]}, "values at index"),
    ({"divergence": "tv", "radius": 0.1, "values": [[0, 1, 2]]}, "values has shape"),
    ({"divergence": "tv", "radius": 0.1, "values": [-1.7e308, 0, 1.7e308]}, "values must have a finite range"),
    ({"divergence": "tv", "radius": 0.1, "nominal": [0.2, 0.5, 0.4]}, "nominal must sum to 1"),
    ({"divergence": "tv", "radius": 0.1, "nominal": [-0.2, 0.9, 0.3]}, "nominal must have entries >= 0"),
    ({"divergence": "tv", "radius": 0.1, "nominal": [0.5, 0.5]}, "nominal has shape"),
]


@pytest.mark.parametrize(("change", "message"), BAD)
def test_bad_input(change, message):
    arguments = {"values": Z, "nominal": Q, **change}
    with pytest.raises(ValueError, match=message):
        worst_case(arguments.pop("values"), arguments.pop("nominal"), **arguments)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"divergence": "l2", "radius": 0.1}, "divergence must be one of"),
        ({"divergence": "tv", "radius": [0.1, 0.2, 0.3]}, "radius has shape"),
        ({"divergence": "tv", "radius": [0.1, math.nan]}, "radius of 'tv'"),
        ({"divergence": "tv", "penalty": [0.1, -1.0]}, "penalty must be a number > 0"),
        ({"divergence": "tv", "radius": 0.1, "values": [0, 1]}, "values has shape"),
        ({"divergence": "tv", "radius": 0.1, "nominal": Q}, "nominal has shape"),
        ({"divergence": "tv", "radius": 0.1, "nominal": [Q, [0.5, 0.5, 0.5]]}, r"nominal\[1\] must sum to 1"),
        ({"divergence": "tv", "radius": "wide"}, "radius must be a number or an array of numbers, got 'wide'"),
        ({"divergence": "tv", "radius": 0.1, "values": [-1.7e308, 0, 1.7e308]}, "values must have a finite range"),
    ],
)
def test_bad_rows(change, message):
    arguments = {"values": Z, "nominal": [Q, Q], **change}
    with pytest.raises(ValueError, match=message):
        worst_case_rows(arguments.pop("values"), arguments.pop("nominal"), **arguments)


@pytest.mark.parametrize("change", [{"order": 3}, {"radius": -1}, {"values": [[1]]}])
def test_bad_closed_form(change):
    arguments = {"values": Z, "nominal": Q, "order": 1, "radius": 0.1, **change}
    with pytest.raises(ValueError, match=r"order must be|radius must be|values has shape"):
        lp_value(arguments.pop("values"), arguments.pop("nominal"), **arguments)
