"""The six scalar worst cases: duals against a convex program, and how they relate (G1 to G4)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

import theory
from theory import r2pvi as formulas
from verify.check import Check, Control
from verify.checks.r2pvi import _figures as figures
from verify.checks.r2pvi._models import divergence_rows, worst_rows
from verify.types import Claim, Estimate, Instance, Slack, Verdict

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

FloatArray = NDArray[np.float64]
DIVERGENCES = ("tv", "kl", "chi2")
PENALTIES, RADII = (0.05, 0.3, 1.0, 4.0), (0.02, 0.1, 0.4, 1.0)


def draw(params: Any) -> tuple[FloatArray, FloatArray]:
    """Return values (n,) in [0, 3], some tied, and a nominal distribution (n,) with exact zeros."""
    if "values" in params:
        return np.array(params["values"], dtype=float), np.array(params["nominal"], dtype=float)
    n = params["n"]
    rng = np.random.Generator(np.random.Philox(params["draw"]))
    values = rng.uniform(0.0, 3.0, n)
    if n > 2 and params["draw"] % 3 == 0:
        values[1] = values[0]
    nominal = rng.dirichlet(np.full(n, 0.7))
    if n > 2 and params["draw"] % 2 == 0:
        nominal[rng.integers(n)] = 0.0
        nominal /= nominal.sum()
    return values, nominal


def batch(params: Any) -> tuple[FloatArray, FloatArray]:
    """Return many draws of one size: values and nominal rows, both (m, n)."""
    n, m = params["n"], params["rows"]
    rng = np.random.Generator(np.random.Philox(params["draw"]))
    nominal = rng.dirichlet(np.full(n, 0.7), size=m)
    nominal[::2, 0] = 0.0
    return rng.uniform(0.0, 3.0, (m, n)), nominal / nominal.sum(axis=1, keepdims=True)


def convex_program(values: FloatArray, nominal: FloatArray, divergence: str, *, penalty: float | None = None, radius: float | None = None) -> float:
    """Return the worst case from its definition, by an interior-point method."""
    return _solved(tuple(values.tolist()), tuple(nominal.tolist()), divergence, penalty, radius)


@lru_cache(maxsize=4096)
def _solved(at: tuple[float, ...], law: tuple[float, ...], divergence: str, penalty: float | None, radius: float | None) -> float:
    """Solve the program; a check and its controls ask for the same ones."""
    import cvxpy as cp

    values, nominal = np.array(at), np.array(law)
    inside = np.ones(len(values), dtype=bool) if divergence == "tv" else nominal > 0
    v, q = values[inside], nominal[inside]
    p = cp.Variable(len(v), nonneg=True)
    spent = {
        "tv": lambda: 0.5 * cp.norm1(p - q), "kl": lambda: cp.sum(cp.kl_div(p, q)),
        "chi2": lambda: cp.sum_squares(cp.multiply(p - q, 1.0 / np.sqrt(np.where(q > 0, q, 1.0)))),
    }[divergence]()
    constraints = [cp.sum(p) == 1] + ([] if radius is None else [spent <= radius])
    problem = cp.Problem(cp.Minimize(v @ p + (0.0 if penalty is None else penalty * spent)), constraints)
    problem.solve(solver=cp.CLARABEL, tol_gap_abs=1e-10, tol_gap_rel=1e-10, tol_feas=1e-10)
    return float(problem.value)


def scalar_instances(divergence: str, *, special: bool = True) -> Callable[[str, int], Iterator[Instance]]:
    """Return the instances of a dual: random masses with zeros and ties, prices of four sizes."""

    def instances(budget: str, seed: int) -> Iterator[Instance]:
        if special:
            for name, nominal in (("unit", [0.2, 0.5, 0.3]), ("minimum off the support", [0.0, 0.6, 0.4])):
                for price, sizes in (("penalty", [0.5, 1.0, 5.0]), ("radius", [0.1, 0.25, 0.5])):
                    case = {"divergence": divergence, "price": price, "sizes": sizes, "values": [0.0, 1.0, 3.0], "nominal": nominal}
                    yield Instance(f"{name}, {price}", case)
        for i in range(4 if budget == "quick" else 60):
            price = ("penalty", "radius")[i % 2]
            sizes = list(PENALTIES if price == "penalty" else RADII)
            yield Instance(f"draw {i}, {price}", {"divergence": divergence, "price": price, "sizes": sizes, "n": 2 + i % 7, "draw": i})

    return instances


def scalar_strategy(divergence: str) -> Callable[[], SearchStrategy[Instance]]:
    """Return the space of instances that a hunt searches."""

    def strategy() -> SearchStrategy[Instance]:
        from hypothesis import strategies as st

        return st.builds(
            lambda price, size, n, draw_number: Instance(
                f"{price} {size:.3g}, n={n}, draw {draw_number}",
                {"divergence": divergence, "price": price, "sizes": [size], "n": n, "draw": draw_number}),
            st.sampled_from(["penalty", "radius"]), st.floats(0.05, 4.0), st.integers(2, 8), st.integers(0, 10**6),
        )

    return strategy


def _rows(values: FloatArray, nominal: FloatArray, divergence: str, **price: Any) -> FloatArray:
    return worst_rows(values, nominal, divergence=divergence, **price)[0]


def _oracle(params: Any) -> FloatArray:
    values, nominal = draw(params)
    return np.array([convex_program(values, nominal, params["divergence"], **{params["price"]: size}) for size in params["sizes"]])


def dual_sides(instance: Instance, seed: int) -> tuple[Estimate, Estimate]:
    """Closed form of the dual on the left, the definition solved as a convex program on the right."""
    params = instance.params
    values, nominal = draw(params)
    sizes = np.array(params["sizes"])
    left = _rows(values, np.tile(nominal, (len(sizes), 1)), params["divergence"], **{params["price"]: sizes})
    return Estimate.numeric(left), Estimate.numeric(_oracle(params))


def _broken(form: Callable[[FloatArray, FloatArray, str, float], float]) -> Callable[[Instance, int], tuple[Estimate, Estimate]]:
    """Return sides with another formula on the left."""

    def sides(instance: Instance, seed: int) -> tuple[Estimate, Estimate]:
        """A broken dual on the left, the convex program on the right."""
        params = instance.params
        values, nominal = draw(params)
        left = [form(values, nominal, params["price"], size) for size in params["sizes"]]
        return Estimate.numeric(left), Estimate.numeric(_oracle(params))

    return sides


def _one(values: FloatArray, nominal: FloatArray, divergence: str, price: str, size: float) -> float:
    return float(_rows(values, nominal[None], divergence, **{price: size})[0])


def _support_minimum(values: FloatArray, nominal: FloatArray, price: str, size: float) -> float:
    inside = nominal > 0
    return _one(values[inside], nominal[inside] / nominal[inside].sum(), "tv", price, size)


def _full_norm(values: FloatArray, nominal: FloatArray, price: str, size: float) -> float:
    return _one(values, nominal, "tv", price, 2.0 * size if price == "penalty" else 0.5 * size)


def _first_order(values: FloatArray, nominal: FloatArray, price: str, size: float) -> float:
    mean = float(nominal @ values)
    variance = float(nominal @ (values - mean) ** 2)
    return mean - (variance / (2.0 * size) if price == "penalty" else np.sqrt(2.0 * size * variance))


def chi2_over_levels(
    values: FloatArray, nominal: FloatArray, price: str, size: float, *, best: Callable[[FloatArray], Any] = np.max, scale: float = 1.0,
) -> float:
    """Return the greatest (or another statistic) of the chi2 dual over a fine grid of levels and all values."""
    support = values[nominal > 0]
    levels = np.unique(np.concatenate([support, np.linspace(support.min(), support.max(), 4001)]))
    return float(best(formulas.dual_objective(values, nominal, levels, divergence="chi2", **{price: scale * size})))


def _chi2_infimum(values: FloatArray, nominal: FloatArray, price: str, size: float) -> float:
    return chi2_over_levels(values, nominal, price, size, best=np.min)


def _chi2_half(values: FloatArray, nominal: FloatArray, price: str, size: float) -> float:
    return chi2_over_levels(values, nominal, price, size, scale=0.5 if price == "penalty" else 2.0)


def code_sides(instance: Instance, seed: int) -> tuple[Estimate, Estimate]:
    """The chi2 dual minimised over its level, as the published routine does, against the worst case."""
    params = instance.params
    values, nominal = draw(params)
    left = [chi2_over_levels(values, nominal, params["price"], size, best=np.min) for size in params["sizes"]]
    right = _rows(values, np.tile(nominal, (len(params["sizes"]), 1)), "chi2", **{params["price"]: np.array(params["sizes"])})
    return Estimate.numeric(left), Estimate.numeric(right)


def code_corrected(instance: Instance, seed: int) -> tuple[Estimate, Estimate]:
    """The chi2 dual maximised over its level, against the worst case."""
    right = code_sides(instance, seed)[1]
    params = instance.params
    values, nominal = draw(params)
    return Estimate.numeric([chi2_over_levels(values, nominal, params["price"], size) for size in params["sizes"]]), right


def code_instances(budget: str, seed: int) -> Iterator[Instance]:
    """The published counterexample and random ones, regularised."""
    yield Instance("V=(0,2,1), Q=(.2,.5,.3)", {"divergence": "chi2", "price": "penalty", "sizes": [0.5], "values": [0.0, 2.0, 1.0], "nominal": [0.2, 0.5, 0.3]})
    for i in range(6 if budget == "quick" else 60):
        yield Instance(f"draw {i}", {"divergence": "chi2", "price": "penalty", "sizes": list(PENALTIES), "n": 3 + i % 6, "draw": i})


def _ratio_instances(budget: str, seed: int) -> Iterator[Instance]:
    for divergence in DIVERGENCES:
        for i in range(2 if budget == "quick" else 30):
            yield Instance(f"{divergence}, batch {i}", {"divergence": divergence, "n": 3 + 2 * i % 7, "rows": 8, "draw": 100 + i})


def _price(params: Any, name: str) -> FloatArray:
    """Return one price for each row, cycling through the sizes."""
    return np.resize(np.array(PENALTIES if name == "penalty" else RADII), params["rows"])


def _link(params: Any, power: float) -> tuple[FloatArray, FloatArray]:
    """Return C_rho and the greatest R_lambda - power * lambda * rho over lambda, by a ternary search on the concave function."""
    values, nominal = batch(params)
    rho, divergence = _price(params, "radius"), params["divergence"]

    def gain(logarithm: FloatArray) -> FloatArray:
        lam = np.exp(logarithm)
        return _rows(values, nominal, divergence, penalty=lam) - power * lam * rho

    low, high = np.full(params["rows"], np.log(1e-6)), np.full(params["rows"], np.log(1e3))
    for _ in range(50):
        third = (high - low) / 3.0
        better = gain(low + third) < gain(high - third)
        low, high = np.where(better, low + third, low), np.where(better, high, high - third)
    support = np.where(nominal > 0, values, np.inf).min(axis=1) if divergence != "tv" else values.min(axis=1)
    return _rows(values, nominal, divergence, radius=rho), np.maximum(gain(0.5 * (low + high)), support)


def link_sides(instance: Instance, seed: int) -> tuple[Estimate, Estimate]:
    """C_rho against the maximum over lambda of R_lambda - lambda rho, found by search."""
    left, right = _link(instance.params, 1.0)
    return Estimate.numeric(left), Estimate.numeric(right)


def _radius_of_penalty(params: Any, factor: float) -> tuple[FloatArray, FloatArray]:
    values, nominal = batch(params)
    lam, divergence = _price(params, "penalty"), params["divergence"]
    worst, kernel = worst_rows(values, nominal, divergence=divergence, penalty=lam)
    spent = divergence_rows(kernel, nominal, divergence)
    return _rows(values, nominal, divergence, radius=factor * spent), worst - lam * spent


def radius_sides(instance: Instance, seed: int) -> tuple[Estimate, Estimate]:
    """C at the radius that the regularised optimum spends, against R - lambda rho."""
    left, right = _radius_of_penalty(instance.params, 1.0)
    return Estimate.numeric(left), Estimate.numeric(right)


def range_sides(instance: Instance, seed: int) -> tuple[Estimate, Estimate]:
    """Minimum, R and mean; R at neighbouring prices; midpoints of R and C: each small side on the left, large side on the right."""
    params = instance.params
    values, nominal = batch(params)
    lam, rho, divergence = _price(params, "penalty"), _price(params, "radius"), params["divergence"]

    def R(x: FloatArray) -> FloatArray:
        return _rows(values, nominal, divergence, penalty=x)

    def C(x: FloatArray) -> FloatArray:
        return _rows(values, nominal, divergence, radius=x)

    small = [values.min(axis=1), R(lam), R(lam), 0.5 * (R(lam) + R(3 * lam)), C(2 * rho), C(2 * rho)]
    large = [R(lam), (nominal * values).sum(axis=1), R(2 * lam), R(2 * lam), C(rho), 0.5 * (C(rho) + C(3 * rho))]
    return Estimate.numeric(np.concatenate(small)), Estimate.numeric(np.concatenate(large))


def lipschitz_sides(instance: Instance, seed: int, factor: float = 1.0) -> tuple[Estimate, Estimate]:
    """Change of R and C on the left, largest change of V on the right; half of the rows move by a constant, where it is attained."""
    params = instance.params
    values, nominal = batch(params)
    rng = np.random.Generator(np.random.Philox(key=[params["draw"], 1]))
    change = np.where(np.arange(params["rows"])[:, None] % 2 == 0, 0.25, rng.uniform(-0.5, 0.5, values.shape))
    lam, rho, divergence = _price(params, "penalty"), _price(params, "radius"), params["divergence"]
    moved = [
        np.abs(_rows(values + change, nominal, divergence, **price) - _rows(values, nominal, divergence, **price))
        for price in ({"penalty": lam}, {"radius": rho})
    ]
    bound = factor * np.abs(change).max(axis=1)
    return Estimate.numeric(np.concatenate(moved)), Estimate.numeric(np.concatenate([bound, bound]))


def limit_sides(instance: Instance, seed: int, mass: bool = True) -> tuple[Estimate, Estimate]:
    """KL between the minimum on the support and that plus lambda log(1/mass); TV equal to the mean for a large price, both ways."""
    values, nominal = batch(instance.params)
    lam = _price(instance.params, "penalty") * 0.1
    inside = np.where(nominal > 0, values, np.inf)
    least = inside.min(axis=1)
    weight = (nominal * (inside == least[:, None])).sum(axis=1)
    kl = _rows(values, nominal, "kl", penalty=lam)
    tv = _rows(values, nominal, "tv", penalty=values.max(axis=1) - values.min(axis=1))
    mean = (nominal * values).sum(axis=1)
    top = least + (lam * np.log(1.0 / weight) if mass else 0.0)
    return Estimate.numeric(np.concatenate([least, kl, tv, mean])), Estimate.numeric(np.concatenate([kl, top, mean, tv]))


def order_sides(instance: Instance, seed: int, half: float = 0.5) -> tuple[Estimate, Estimate]:
    """The more pessimistic divergence on the left, the other on the right."""
    values, nominal = batch(instance.params)
    lam, rho = _price(instance.params, "penalty"), _price(instance.params, "radius")
    kl, chi2 = _rows(values, nominal, "kl", radius=rho), _rows(values, nominal, "chi2", radius=rho)
    small = [_rows(values, nominal, "kl", penalty=lam), kl, _rows(values, nominal, "tv", radius=np.minimum(np.sqrt(half * rho), 1.0)),
             _rows(values, nominal, "tv", radius=np.minimum(np.sqrt(half * rho / 2.0), 1.0))]
    large = [_rows(values, nominal, "chi2", penalty=lam), chi2, kl, chi2]
    return Estimate.numeric(np.concatenate(small)), Estimate.numeric(np.concatenate(large))


def _swap(sides: Callable[[Instance, int], tuple[Estimate, Estimate]]) -> Callable[[Instance, int], tuple[Estimate, Estimate]]:
    def swapped(instance: Instance, seed: int) -> tuple[Estimate, Estimate]:
        """The two sides of the claim, exchanged."""
        left, right = sides(instance, seed)
        return right, left

    return swapped


def _numeric_pair(pair: Callable[[Any], tuple[FloatArray, FloatArray]]) -> Callable[[Instance, int], tuple[Estimate, Estimate]]:
    def sides(instance: Instance, seed: int) -> tuple[Estimate, Estimate]:
        """A broken variant of the two sides."""
        left, right = pair(instance.params)
        return Estimate.numeric(left), Estimate.numeric(right)

    return sides


def _g(number: str) -> theory.Guarantee:
    return next(g for g in formulas.GUARANTEES if g.key == f"r2pvi/{number}")


_EQUAL = Claim("==", Slack(2e-6))
_BELOW = Claim("<=", Slack(1e-9))


def _order_loose(instance: Instance, seed: int) -> tuple[Estimate, Estimate]:
    """TV at a quarter of the radius that the order of the divergences needs."""
    return order_sides(instance, seed, half=0.03)


def _limit_loose(instance: Instance, seed: int) -> tuple[Estimate, Estimate]:
    """KL against the minimum alone."""
    return limit_sides(instance, seed, mass=False)


def _lipschitz_half(instance: Instance, seed: int) -> tuple[Estimate, Estimate]:
    """Half of the largest change of V."""
    return lipschitz_sides(instance, seed, factor=0.5)


def _dual_check(number: str, divergence: str, controls: tuple[Control, ...]) -> Check:
    return Check(
        _g(number), _EQUAL, scalar_instances(divergence), dual_sides, controls, figures.dual(divergence),
        cost={"quick": 4.0, "full": 40.0}, strategy=scalar_strategy(divergence))


def _relation(number: str, claim: Claim, sides: Any, control: Control) -> Check:
    return Check(_g(number), claim, _ratio_instances, sides, (control,), figures.relation(number), cost={"quick": 2.0, "full": 10.0})


CHECKS: tuple[Check, ...] = (
    _dual_check("G1", "tv", (
        Control("minimum over the nominal support only", _broken(_support_minimum)), Control("L1 distance without the half", _broken(_full_norm)))),
    _dual_check("G2", "kl", (Control("first-order expansion in place of the dual", _broken(_first_order)),)),
    _dual_check("G3", "chi2", (
        Control("infimum over the level", _broken(_chi2_infimum)), Control("2 lambda in place of 4 lambda", _broken(_chi2_half)))),
    Check(
        _g("G3-code"), Claim("==", Slack(1e-5)), code_instances, code_sides, (Control("supremum over the level", code_corrected, Verdict.HOLDS),),
        figures.chi2_sign, expected=Verdict.VIOLATED, cost={"quick": 1.0, "full": 5.0}, strategy=scalar_strategy("chi2")),
    _relation("G4a", Claim("==", Slack(1e-6)), link_sides, Control("half of the price in the link", _numeric_pair(lambda p: _link(p, 0.5)))),
    _relation("G4b", Claim("==", Slack(1e-7)), radius_sides, Control("twice the radius", _numeric_pair(lambda p: _radius_of_penalty(p, 2.0)))),
    _relation("G4c", _BELOW, range_sides, Control("order reversed", _swap(range_sides))),
    _relation("G4d", _BELOW, lipschitz_sides, Control("half of the distance", _lipschitz_half)),
    _relation("G4e", _BELOW, limit_sides, Control("without the mass of the minimum", _limit_loose)),
    _relation("G4f", _BELOW, order_sides, Control("radii of TV too small", _order_loose)),
)
