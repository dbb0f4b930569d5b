"""G3.1, G3.3, G5, G5b, G6, G6b, G8: where the algorithms end, exactly."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np

from certify.martingale import evaluate, fixed_point
from mdps.diffusions import BrownianMotion, OrnsteinUhlenbeck, Polynomial
from theory.martingale_td import brownian_fixed_points, ou_mean_square_coefficient, ou_td_coefficients, ou_value_coefficients
from verify.check import Check, Control
from verify.checks.martingale_td.common import T, X, guarantee, integrate, model_of, normal_equations_by_hand, quartic, trace_root
from verify.types import Claim, Estimate, Instance, Slack, Verdict

__all__ = ["CHECKS"]

FEATURE = (1 - T) * X**2
METHODS = ("mstde", "martingale-loss", "td0")


def _g31_instances(budget: str, seed: int) -> list[Instance]:
    grids = (2, 3, 8, 32) if budget == "quick" else (2, 3, 5, 8, 16, 32, 64, 128)
    return [Instance(f"{m}, N={n}", {"method": m, "steps": n}) for m in METHODS for n in grids] + [
        Instance(f"{m}, limit", {"method": m, "steps": None}) for m in METHODS
    ]


def g31_sides(instance: Instance, seed: int) -> tuple[Estimate, Estimate]:
    """The minimiser or root from rational moments, against the printed rational; no rounding on either side."""
    p = instance.params
    found = fixed_point(quartic(), [FEATURE], method=p["method"], steps=p["steps"]).exact
    assert found is not None
    return Estimate.exact(found[0]), Estimate.exact(brownian_fixed_points(p["steps"])[p["method"]])


def _g31_recovers(instance: Instance, seed: int) -> tuple[Estimate, Estimate]:
    return g31_sides(instance, seed)[0], Estimate.exact(brownian_fixed_points(instance.params["steps"])["martingale-loss"])


def _g31_figure(figure: Any) -> None:
    axes = figure.subplots()
    grids = [2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128]
    for method, label in zip(METHODS, ("mean-square TD error", "martingale loss", "TD(0)"), strict=True):
        axes.semilogx([1 / n for n in grids], [float(brownian_fixed_points(n)[method]) for n in grids], "o-", ms=3, label=label)
        axes.axhline(float(brownian_fixed_points(None)[method]), color="0.7", lw=0.8, ls="--")
    for trace in (0.5, 0.01):
        roots = [trace_root(quartic(), FEATURE, X**4, n, trace ** (1 / n)) for n in grids]
        axes.semilogx([1 / n for n in grids], roots, ":", label=f"TD(lambda), lambda = {trace:g}")
    axes.set_xlabel("time step")
    axes.set_ylabel("fixed point of theta")
    axes.legend(fontsize=8)


def _ou_instances(budget: str, seed: int) -> list[Instance]:
    return [Instance(f"kappa {k:g}, sigma {s:g}, discount {b:g}, {n} steps a unit of time", {"kappa": k, "sigma": s, "discount": b, "steps": n})
            for k in (0.2, 1.0, 3.0) for s in (0.1, 0.7) for b in (0.1, 0.5) for n in (1, 10, 100)]


def _ou(p: Any) -> OrnsteinUhlenbeck:
    return OrnsteinUhlenbeck(p["kappa"], p["sigma"], p["discount"])


def g33_sides(instance: Instance, seed: int) -> tuple[Estimate, Estimate]:
    """The coefficient of x^2 that minimises the mean-square TD error, from moments, against its closed form."""
    p = instance.params
    found = fixed_point(_ou(p), [X**2, X**0], method="mstde", steps=p["steps"]).theta[0]
    return Estimate.numeric(found), Estimate.numeric(ou_mean_square_coefficient(1 / p["steps"], p["kappa"], p["discount"]))


def _g33_truth(instance: Instance, seed: int) -> tuple[Estimate, Estimate]:
    p = instance.params
    return g33_sides(instance, seed)[0], Estimate.numeric(ou_value_coefficients(p["kappa"], p["sigma"], p["discount"])[0])


def _g33_figure(figure: Any) -> None:
    axes = figure.subplots()
    dt = np.logspace(-3, 0.5, 60)
    for kappa in (0.2, 1.0, 3.0):
        line = axes.loglog(dt, ou_mean_square_coefficient(dt, kappa, 0.5), label=f"kappa = {kappa:g}")[0]
        axes.axhline(1 / (0.5 + 2 * kappa), color=line.get_color(), ls=":", lw=1)
    axes.set_xlabel("time step")
    axes.set_ylabel("coefficient of x^2 (dotted: truth)")
    axes.legend()


def _finite(name: str, **changes: Any) -> Instance:
    base = {
        "kappa": 0.0, "sigma": 1.0, "discount": 0.0, "horizon": 1.0, "start": 0.0, "reward": 0.0, "reward_power": 2, "terminal": 1.0,
        "terminal_power": 4, "degree": 1,
    }  # fmt: skip
    return Instance(name, {**base, **changes})


def _g5_instances(budget: str, seed: int) -> list[Instance]:
    return [
        _finite("Brownian motion, x^4"),
        _finite("Brownian motion with discount and reward", discount=0.5, reward=1.0),
        _finite("Ornstein-Uhlenbeck from 0.8", kappa=1.0, sigma=0.7, start=0.8, discount=0.3, reward=1.0, terminal_power=2, degree=2),
        _finite("unstable Ornstein-Uhlenbeck", kappa=-0.4, sigma=0.5, start=-0.5, reward=0.5, terminal_power=3, degree=2),
    ]


def _features(p: Any) -> list[Polynomial]:
    """Return features that vanish at the horizon: (T - t) x^2, and with degree 2 also (T - t) and (T - t)^2 x."""
    left = p["horizon"] - T
    return [left * X**2, left, left * left * X][: 1 if p["degree"] == 1 else 3]


def _galerkin(instance: Instance, second_order: float) -> tuple[Estimate, Estimate]:
    model, phi = model_of(dict(instance.params)), _features(instance.params)
    a, b = normal_equations_by_hand(model, phi, model.terminal, second_order=second_order)
    return Estimate.numeric(np.linalg.solve(a, b)), Estimate.numeric(fixed_point(model, phi, method="td0").theta)


def g5_sides(instance: Instance, seed: int) -> tuple[Estimate, Estimate]:
    """Root of the Galerkin condition by quadrature over the Gaussian law, against the fixed point from polynomial moments."""
    return _galerkin(instance, 1.0)


def _g5_figure(figure: Any) -> None:
    """Learning curves of three algorithms on one set of paths, with their exact fixed points."""
    axes = figure.subplots()
    model = BrownianMotion(reward=X**2)
    paths = model.sample(paths=6000, steps=16, seed=4)
    runs: tuple[tuple[str, str, dict[str, Any]], ...] = (("ctd0", "td0", {}), ("ctd-lambda", "td-lambda", {"trace": 0.1}), ("martingale-loss", "martingale-loss", {}))
    for method, exact, extra in runs:
        fitted = evaluate(paths, [FEATURE], method=method, step=lambda k: 1.0 / (1.0 + k / 300) ** 0.8, reward_rule="left", **extra)
        end = fixed_point(model, [FEATURE], method=exact, steps=16, **extra).theta[0]
        line = axes.plot(fitted.history[:, 0], lw=0.8, label=f"{method}, fixed point {end:.4f}")[0]
        axes.axhline(end, color=line.get_color(), ls="--", lw=1)
    axes.set_xlabel("episodes")
    axes.set_ylabel("theta")
    axes.set_ylim(0.6, 2.2)
    axes.legend()


def _loss_minimiser(instance: Instance) -> Any:
    """Minimise the martingale loss on a grid directly: regress the discrete return, by its conditional mean, on the features."""
    p = instance.params
    model, phi = model_of(dict(p)), _features(p)
    n, dt = int(p["steps"]), p["horizon"] / p["steps"]
    beta = float(model.discount)
    ahead, rows, right = model.terminal.at_time(p["horizon"]), np.zeros((len(phi), len(phi))), np.zeros(len(phi))
    for i in reversed(range(n)):
        t = i * dt
        ahead = model.reward.at_time(t) * dt + np.exp(-beta * dt) * model.conditional(ahead, dt)
        at, gap, weight = [f.at_time(t) for f in phi], ahead - model.terminal.at_time(t), np.exp(-2 * beta * t)
        rows += weight * np.array([[float(model.mean(f * g, t)) for g in at] for f in at])
        right += weight * np.array([float(model.mean(f * gap, t)) for f in at])
    return np.linalg.solve(rows, right)


def _g5b_instances(budget: str, seed: int) -> list[Instance]:
    return [Instance(f"{i.name}, N={n}", {**i.params, "steps": n}) for i in _g5_instances(budget, seed) for n in (4, 12)]


def _with_trace(instance: Instance, trace: float) -> tuple[Estimate, Estimate]:
    p = instance.params
    model = model_of(dict(p))
    found = fixed_point(model, _features(p), method="td-lambda", trace=trace, steps=int(p["steps"])).theta
    return Estimate.numeric(_loss_minimiser(instance)), Estimate.numeric(found)


def g5b_sides(instance: Instance, seed: int) -> tuple[Estimate, Estimate]:
    """Minimiser of the martingale loss by regression of the return on the features, against TD(lambda) with lambda = 1, on the same grid."""
    return _with_trace(instance, 1.0)


LIMITS = (1.0, 0.5, 0.1, 0.01, 1e-4)


def _roots(sign: float, traces: Any = LIMITS) -> list[float]:
    return [trace_root(quartic(), FEATURE, X**4, 48, float(trace) ** (sign / 48)) for trace in traces]


def _g5b_figure(figure: Any) -> None:
    axes = figure.subplots()
    traces = np.logspace(-8, 0, 33)
    axes.semilogx(traces, _roots(1.0, traces), "-")
    axes.axhline(7.5, color="C1", ls="--", lw=1, label="martingale loss, 7.5")
    axes.axhline(9.0, color="C2", ls="--", lw=1, label="TD(0), 9")
    axes.set_xlabel("lambda (48 steps)")
    axes.set_ylabel("fixed point of theta")
    axes.legend()


def _exponent_instances(budget: str, seed: int) -> list[Instance]:
    return [Instance(f"lambda {trace:g}", {"trace": trace}) for trace in LIMITS[1:]]


def _distance(instance: Instance, sign: float) -> tuple[Estimate, Estimate]:
    (root,), (start,), target = _roots(sign, (instance.params["trace"],)), _roots(1.0, (1.0,)), float(brownian_fixed_points(48)["td0"])
    return Estimate.numeric(abs(root - target)), Estimate.numeric(abs(start - target))


def exponent_sides(instance: Instance, seed: int) -> tuple[Estimate, Estimate]:
    """Distance to TD(0) of the fixed point with the growing trace, against the distance at lambda = 1: it should shrink."""
    return _distance(instance, -1.0)


def _exponent_figure(figure: Any) -> None:
    axes = figure.subplots()
    traces = np.logspace(-4, 0, 33)
    axes.semilogx(traces, _roots(1.0, traces), label="lambda^(t-u): towards TD(0)")
    axes.semilogx(traces, _roots(-1.0, traces), label="lambda^(u-t): away from it")
    axes.axhline(9.0, color="0.5", ls="--", lw=1, label="TD(0)")
    axes.set_xlabel("lambda")
    axes.set_ylabel("fixed point of theta")
    axes.legend()


def _g6_instances(budget: str, seed: int) -> list[Instance]:
    return [Instance(f"{i.name}, {'limit' if n is None else f'N={n}'}", {**i.params, "steps": n}) for i in _g5_instances(budget, seed) for n in (None, 8)]


def g6_sides(instance: Instance, seed: int) -> tuple[Estimate, Estimate]:
    """Minimisers for both weights with as many tests as parameters, against the TD(0) root."""
    p = instance.params
    model, phi = model_of(dict(p)), _features(p)
    both = [fixed_point(model, phi, method="gtd", weight=w, steps=p["steps"]).theta for w in ("identity", "gram")]
    root = fixed_point(model, phi, method="td0", steps=p["steps"]).theta
    return Estimate.numeric(np.concatenate(both)), Estimate.numeric(np.concatenate([root, root]))


def _over_identified(instance: Instance, seed: int) -> tuple[Estimate, Estimate]:
    tests = [FEATURE, 1 - T]
    one, two = (fixed_point(quartic(), [FEATURE], method="gtd", tests=tests, weight=w).exact for w in ("identity", "gram"))
    assert one == (Fraction(3, 2),)
    assert two == (Fraction(53, 12),)
    return Estimate.exact(one[0]), Estimate.exact(two[0])


def _g6_figure(figure: Any) -> None:
    axes = figure.subplots()
    model = quartic()
    slope, constant = (
        [integrate(lambda t, f=f, g=g: float(model.mean(f * model.generator(g), t)), 0.0, 1.0) for f in (FEATURE, 1 - T)] for g in (FEATURE, X**4)
    )
    shares = np.linspace(0, 1, 101)
    roots = [-((1 - s) * slope[0] * constant[0] + s * slope[1] * constant[1]) / ((1 - s) * slope[0] ** 2 + s * slope[1] ** 2) for s in shares]
    axes.plot(shares, roots, label="two tests, one parameter: depends on W")
    axes.axhline(9.0, color="C1", ls="--", label="one test, one parameter: TD(0) whatever W")
    axes.set_xlabel("weight of the second test")
    axes.set_ylabel("minimiser of g' W g")
    axes.legend()


def _g6b_instances(budget: str, seed: int) -> list[Instance]:
    return [_finite("Brownian motion from 1", start=1.0, degree=3), _finite("Ornstein-Uhlenbeck from 0.8", kappa=1.0, sigma=0.7, start=0.8, degree=3),
            _finite("unstable Ornstein-Uhlenbeck", kappa=-0.5, sigma=0.4, start=0.5, horizon=2.0, degree=3)]


def _symmetric(instance: Instance, *, start: bool = True, pull: float = 0.0) -> tuple[Estimate, Estimate]:
    """Return A + A' and its form; `pull` adds to the rate of return of the process whose states are averaged over, off the policy's law."""
    p = dict(instance.params)
    model, law, phi = model_of(p), model_of({**p, "kappa": p["kappa"] + pull}), _features(instance.params)
    a = normal_equations_by_hand(model, phi, model.terminal, law=law)[0]
    square = float(model.diffusion_square())
    slopes = [f.derivative("x") for f in phi]
    form = integrate(lambda t: np.array([[square * float(law.mean(f * g, t)) for g in slopes] for f in slopes]), 0.0, float(model.horizon))  # type: ignore[arg-type]
    first = np.array([[float(law.mean(f * g, 0.0)) for g in phi] for f in phi])
    return Estimate.numeric(a + a.T), Estimate.numeric(form + (first if start else 0.0))


def g6b_sides(instance: Instance, seed: int) -> tuple[Estimate, Estimate]:
    """A + A' of TD(0) by quadrature, against the boundary term plus the Dirichlet form."""
    return _symmetric(instance)


def _g6b_figure(figure: Any) -> None:
    axes = figure.subplots()
    horizons = np.linspace(0.25, 3.0, 12)
    for kappa in (-0.5, 0.5, 2.0):
        smallest = []
        for h in horizons:
            left, _ = _symmetric(_finite("", kappa=kappa, sigma=0.7, start=0.8, horizon=float(h), degree=3))
            smallest.append(float(np.linalg.eigvalsh(left.value)[0]))
        axes.semilogy(horizons, smallest, "o-", ms=3, label=f"kappa = {kappa:g}")
    axes.set_xlabel("horizon")
    axes.set_ylabel("smallest eigenvalue of A + A'")
    axes.legend()


def _g8_instances(budget: str, seed: int) -> list[Instance]:
    return [Instance(f"{i.name}, {rule}", {**i.params, "rule": rule}) for i in _ou_instances(budget, seed) for rule in ("left", "trapezoid")]


def _g8(instance: Instance, rule: str) -> tuple[Estimate, Estimate]:
    p = instance.params
    found = fixed_point(_ou(p), [X**2, X**0], method="td0", steps=int(p["steps"]), reward_rule=p["rule"]).theta
    return Estimate.numeric(found), Estimate.numeric(np.array(ou_td_coefficients(1 / int(p["steps"]), p["kappa"], p["sigma"], p["discount"], rule=rule)))


def g8_sides(instance: Instance, seed: int) -> tuple[Estimate, Estimate]:
    """Both TD(0) coefficients from moments, against their closed forms in the time step."""
    return _g8(instance, instance.params["rule"])


def _g8_swapped(instance: Instance, seed: int) -> tuple[Estimate, Estimate]:
    return _g8(instance, "left" if instance.params["rule"] == "trapezoid" else "trapezoid")


def _g8_figure(figure: Any) -> None:
    axes = figure.subplots()
    dt = np.logspace(-3, -0.3, 40)
    a = 2.5
    for rule, lead, label in (("left", dt / 2, "dt / 2"), ("trapezoid", a * dt**2 / 12, "a dt^2 / 12")):
        bias = ou_td_coefficients(dt, 1.0, 0.7, 0.5, rule=rule)[0] - 1 / a
        line = axes.loglog(dt, bias, label=f"{rule} reward")[0]
        axes.loglog(dt, lead, ls=":", color=line.get_color(), label=label)
    axes.set_xlabel("time step")
    axes.set_ylabel("bias of the coefficient of x^2")
    axes.legend()


_TIGHT = Claim("==", Slack(1e-9, 1e-9))

CHECKS = (
    Check(guarantee("G3.1"), Claim("=="), _g31_instances, g31_sides, (Control("MSTDE recovers the best approximation", _g31_recovers),), _g31_figure,
          cost={"quick": 1.0, "full": 3.0}),
    Check(guarantee("G3.3"), _TIGHT, _ou_instances, g33_sides, (Control("MSTDE recovers the value function", _g33_truth),), _g33_figure,
          box={"kappa": (0.05, 5.0), "sigma": (0.05, 2.0), "discount": (0.05, 2.0)}),
    Check(guarantee("G5"), Claim("==", Slack(1e-8, 1e-8)), _g5_instances, g5_sides, (Control("sign of the second derivative flipped", lambda i, s: _galerkin(i, -1.0)),),
          _g5_figure, cost={"quick": 2.0, "full": 2.0}),
    Check(guarantee("G5b"), Claim("==", Slack(1e-8, 1e-8)), _g5b_instances, g5b_sides,
          (Control("a fixed factor .5 each step", lambda i, s: _with_trace(i, 0.5 ** int(i.params["steps"]))),), _g5b_figure, cost={"quick": 1.5, "full": 1.5}),
    Check(guarantee("G5b-exponent"), Claim("<=", Slack(1e-12)), _exponent_instances, exponent_sides,
          (Control("exponent t - u", lambda i, s: _distance(i, 1.0), Verdict.HOLDS),), _exponent_figure, expected=Verdict.VIOLATED, box={"trace": (1e-4, 0.99)}),
    Check(guarantee("G6"), Claim("==", Slack(1e-7, 1e-7)), _g6_instances, g6_sides, (Control("two tests, one parameter", _over_identified),), _g6_figure),
    Check(guarantee("G6b"), Claim("==", Slack(1e-10, 1e-10)), _g6b_instances, g6b_sides, (Control("without the boundary term", lambda i, s: _symmetric(i, start=False)), Control("states of another law", lambda i, s: _symmetric(i, pull=0.7))),
          _g6b_figure),
    Check(guarantee("G8"), _TIGHT, _g8_instances, g8_sides, (Control("the formulas of the two rules exchanged", _g8_swapped),), _g8_figure,
          box={"kappa": (0.05, 5.0), "sigma": (0.05, 2.0), "discount": (0.05, 2.0)}),
)
