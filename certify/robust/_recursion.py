"""The backward recursion that all offline learners share, with its certified and its published variants.

Source: r2pvi, algorithm, G8, G9-split, G11.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from certify.robust import _duals
from certify.robust._design import Design, centred
from certify.robust._result import OfflineResult, OfflineWarning
from theory import r2pvi as formulas

if TYPE_CHECKING:
    from certify.robust._spaces import FiniteSpace, PointSpace

    Space: TypeAlias = FiniteSpace | PointSpace

FloatArray = NDArray[np.float64]


_CELLS = 256
"""Cells into which a certificate rounds the values of continuous states where its estimate is a supremum over levels."""


@dataclass(frozen=True, slots=True)
class Settings:
    """The arguments of `r2pvi`, checked."""

    method: str
    divergence: str
    penalty: float
    radius: FloatArray | None
    ridge: float
    beta: float | str
    delta: float
    minimum: float | str
    reward_bound: float
    dual_floor: float
    protocol: str

    @property
    def split(self) -> bool:
        """Whether every step has a fold of its own."""
        return self.beta == "split-certificate"

    @property
    def nominal(self) -> bool:
        """Whether nothing may shift."""
        return self.method == "pevi" or (self.method == "r2pvi" and self.penalty == np.inf)

    @property
    def seeks_least(self) -> bool:
        """Whether the worst case moves mass to the least value, wherever it is."""
        return self.divergence == "tv" and not self.nominal

    @property
    def form(self) -> str:
        """Shape of the pessimism: "coordinates" (sum_i phi_i b_i), "squares" (root of the sum of squares) or "norm"."""
        if self.protocol == "paper":
            return "coordinates"
        return "norm" if self.method == "pevi" else "squares"

    def radii(self, step: int, horizon: int, dimension: int) -> FloatArray:
        """Return rho of every coordinate at a step."""
        assert self.radius is not None
        if self.radius.shape not in ((), (dimension,), (horizon, dimension)):
            raise ValueError(f"radius must have shape (), ({dimension},) or {(horizon, dimension)}, got {self.radius.shape}")
        return np.array(np.broadcast_to(self.radius, (horizon, dimension))[step])


@dataclass(frozen=True, slots=True)
class Stage:
    """The action-value function of one step: Q(phi) = clip(<phi, coefficient> -+ pessimism)."""

    coefficient: FloatArray
    bonus: FloatArray
    inverse: FloatArray
    form: str
    floor: float
    cap: float

    def action_value(self, phi: FloatArray, *, sign: float = -1.0) -> FloatArray:
        """Return Q for features (..., d); `sign` = +1 adds the bonus instead of subtracting it."""
        linear = phi @ self.coefficient
        if self.form == "coordinates":
            width = phi @ self.bonus
        elif self.form == "squares":
            width = np.sqrt(phi**2 @ self.bonus**2)
        else:
            scale = float(self.bonus[0]) if self.bonus.size else 0.0
            width = scale * np.sqrt(np.maximum(np.einsum("...i,ij,...j->...", phi, self.inverse, phi), 0.0))
        return np.clip(linear + sign * width, self.floor, self.cap)


def learn(space: Space, settings: Settings) -> OfflineResult:
    """Run the recursion and say what it certifies."""
    if settings.method == "va-drpvi":
        return _variance_weighted(space, settings)
    H, K = space.horizon, space.data.trajectories
    if isinstance(settings.beta, str):
        _require_declared(space, settings)
    rows = [np.arange(h, K, H) if settings.split else slice(None) for h in range(H)]
    designs = [space.design(h, rows[h], settings.ridge) for h in range(H)]
    low_stages, betas, flags = _backward(space, settings, designs, rows, sign=-1.0)
    high_stages = _backward(space, settings, designs, rows, sign=1.0)[0] if settings.split else None
    return _report(space, settings, designs, low_stages, high_stages, betas, flags)


def _require_declared(space: Space, settings: Settings) -> None:
    """Refuse a declared least value that the last step, where values are the known rewards, contradicts."""
    if isinstance(settings.minimum, str) or not space.finite:
        return
    last = float((space.reported(space.horizon - 1) @ space.theta[-1]).max(axis=-1).min())
    # tv moves mass to the least value, so that one declared too low makes the upper bound wrong; the others only clip at it
    if settings.minimum > last + 1e-9 or (settings.seeks_least and settings.minimum < last - 1e-9):
        raise ValueError(f"minimum must be the least value of every value function, got {settings.minimum:g}; at the last step it is {last:g}")


def _variance_weighted(space: Space, settings: Settings) -> OfflineResult:
    """Run DRPVI on every second trajectory, estimate the variance of its values there, and weigh the other half's regression by it."""
    if not space.finite:
        raise ValueError("method must not be 'va-drpvi' with continuous states: its weights are kept for finite states only")
    H, K = space.horizon, space.data.trajectories
    first, second = [np.arange(0, K, 2)] * H, [np.arange(1, K, 2)] * H
    plain = replace(settings, method="drpvi")
    pilot = [space.design(h, first[h], settings.ridge) for h in range(H)]
    stages = _backward(space, plain, pilot, first, sign=-1.0)[0]
    designs = []
    for h in range(H):
        precision = None
        if h + 1 < H:
            value = stages[h + 1].action_value(space.next_features(h, first[h])).max(axis=-1)
            phi, cap = space.reported(h), settings.reward_bound * (H - h)
            mean = np.clip(phi @ (pilot[h].weights @ value), 0.0, cap)
            square = np.clip(phi @ (pilot[h].weights @ value**2), 0.0, cap * cap)
            precision = 1.0 / np.maximum(square - mean**2, 1.0)
        designs.append(space.design(h, second[h], settings.ridge, precision))
    found, betas, flags = _backward(space, plain, designs, second, sign=-1.0)
    return _report(space, settings, designs, found, None, betas, flags)


def _backward(
    space: Space, settings: Settings, designs: list[Design], rows: list[Any], *, sign: float,
) -> tuple[list[Stage], FloatArray, list[OfflineWarning]]:
    """Return the stages, the coefficients beta_h and the warnings of one sweep; `sign` = +1 is the optimistic sweep of the certificate."""
    H, d = space.horizon, space.dimension
    stages: list[Stage] = [None] * H  # type: ignore[list-item]
    betas = np.zeros(H)
    flags: list[OfflineWarning] = []
    for h in reversed(range(H)):
        design, cap = designs[h], settings.reward_bound * (H - h)
        steps_left = settings.reward_bound * (H - h - 1)
        if h + 1 == H:
            value, low, high = np.zeros(design.weights.shape[1]), 0.0, 0.0
        else:
            value = stages[h + 1].action_value(space.next_features(h, rows[h]), sign=sign).max(axis=-1)
            low, high = _value_range(space, settings, design, value, steps_left)
        if settings.split:
            w, bonus, betas[h] = _certified(settings, design, value, low, high, d, H, h, space.finite)
        else:
            betas[h] = _printed(settings, d, H, space.data.trajectories) if settings.beta == "printed" else settings.beta
            w = np.zeros(d) if h + 1 == H else _regressed(settings, design, value, low, settings.reward_bound * H, h, H)
            # kept finite, because an infinite coefficient (KL at a tiny price) times a feature of 0 is no number
            bonus = np.minimum(betas[h] * (design.deviation if settings.form != "norm" else np.ones(d)), 1e300 / d)
            flags += _flags(settings, design, h, H, float(betas[h]))
        theta = design.reward if settings.form == "norm" else space.theta[h]
        stages[h] = Stage(theta + w, bonus, design.inverse, settings.form, 0.0 if settings.protocol == "paper" else -np.inf, cap)
    return stages, betas, flags


def _value_range(space: Space, settings: Settings, design: Design, value: FloatArray, steps_left: float) -> tuple[float, float]:
    """Return the least value of the next value function, and an upper end."""
    if settings.minimum == "observed":
        low = float(value[design.seen].min()) if design.seen.any() else 0.0
    elif settings.minimum == "all":
        low = float(value.min()) if space.finite else 0.0
    else:
        low = float(settings.minimum)
    high = float(value.max()) if space.finite and value.size else steps_left
    return low, max(high, low)


def _regressed(settings: Settings, design: Design, value: FloatArray, low: float, cap: float, step: int, horizon: int) -> FloatArray:
    """Return the uncentred estimate of the worst case of every factor, as printed."""
    if settings.nominal:
        plain: FloatArray = design.weights @ value
        return plain
    if settings.method == "r2pvi":
        if settings.divergence == "tv":
            return _duals.penalised_tv(design.weights, value, settings.penalty, low)
        if settings.divergence == "kl":
            return _duals.penalised_kl(design.weights, value, settings.penalty, cap)
        if settings.protocol == "official":
            from certify.robust import _published

            return _published.chi2(design.weights, value, settings.penalty, cap)
        return _duals.penalised_chi2(design.weights, value, settings.penalty, low, max(float(value.max(initial=low)), low), cap)
    radius = settings.radii(step, horizon, len(design.weights))
    if settings.method == "drvi-l":
        return _duals.constrained_kl(design.weights, value, radius, cap, settings.dual_floor)
    if settings.protocol == "official":
        from certify.robust import _published

        return _published.constrained_tv(design.weights, value, radius, cap)
    return _duals.constrained_tv(design.weights, value, radius, 0.0 if settings.protocol != "paper" else low, cap)[0]


def _certified(
    settings: Settings, design: Design, value: FloatArray, low: float, high: float, dimension: int, horizon: int, step: int, finite: bool,
) -> tuple[FloatArray, FloatArray, float]:
    """Return the centred estimate, the certified error of each coordinate and beta of one step: pessimistic and optimistic sweep together."""
    R = high - low
    if R == 0.0:
        return np.full(dimension, low), np.zeros(dimension), 0.0
    lam, nominal = settings.penalty, settings.nominal
    curved = settings.method in ("drpvi", "drvi-l") or (settings.divergence == "chi2" and not nominal)
    value, slack, thresholds = np.clip(value, low, high), 0.0, 1
    if curved and finite:
        # one regression for each threshold between distinct values where the estimate is a supremum over levels
        thresholds = max(np.unique(value).size - 1, 1)
    elif curved:
        # the values at the samples depend on the samples, their thresholds too: rounded down to a fixed grid they do not, which costs a cell
        slack = R / _CELLS
        value, thresholds = low + slack * np.floor((value - low) / slack), _CELLS
    c = float(formulas.split_constant(
        design.log_determinant, dimension=dimension, horizon=horizon, ridge=settings.ridge, delta=settings.delta, events=2.0 * thresholds))
    weights, values = centred(design.weights, value, low, high)
    reach = R
    if settings.method == "drvi-l":
        radius, width = settings.radii(step, horizon, dimension), c * design.deviation + design.error + 1e-12
        lower, upper = _duals.band_kl(weights, values, radius, width)
        return 0.5 * (lower + upper), 0.5 * (upper - lower) + slack + 1e-9 * max(R, 1.0), R * c
    if settings.method == "drpvi":
        radius = settings.radii(step, horizon, dimension)
        beta = float(formulas.split_coefficient("tv", c, value_range=R))
        w = _duals.constrained_tv(weights, values, radius, low, high)[0]
    elif nominal:
        beta = float(formulas.split_coefficient("tv", c, value_range=R))
        w = weights @ values
    else:
        beta = float(formulas.split_coefficient(settings.divergence, c, value_range=R, penalty=lam))
        if settings.divergence == "tv":
            reach = min(R, lam)
            w = _duals.penalised_tv(weights, values, lam, low)
        elif settings.divergence == "kl":
            w = _duals.penalised_kl(weights, values, lam, high)
        else:
            # restricting the level to a grid loses at most its spacing
            slack += R / (_duals.LEVELS - 1)
            w = _duals.certified_chi2(weights, values, lam, low, high)
    # both the estimate and the truth lie in [low, low + reach], so no error exceeds reach
    bonus = np.minimum(beta * design.deviation + slack + (design.error + 1e-12) * max(R, 1.0), reach)
    return np.clip(w, low, low + reach), bonus, beta


def _printed(settings: Settings, d: int, H: int, K: int) -> float:
    """Return the printed coefficient."""
    if settings.method == "drpvi":
        return formulas.drpvi_coefficient(dimension=d, horizon=H, trajectories=K, delta=settings.delta)
    price = settings.penalty if np.isfinite(settings.penalty) else 1e6
    return formulas.printed_coefficient(settings.divergence, dimension=d, horizon=H, trajectories=K, delta=settings.delta, penalty=price)


def _flags(settings: Settings, design: Design, step: int, horizon: int, beta: float) -> list[OfflineWarning]:
    """Return what makes the uncentred estimate of a step optimistic."""
    found = []
    unvisited = tuple(int(i) for i in np.flatnonzero(design.mass <= 0.0))
    if unvisited and step + 1 < horizon:
        found.append(OfflineWarning("unvisited-factor", step, unvisited, f"step {step}: coordinates {unvisited} never occur in the data"))
        if settings.divergence == "kl" and settings.method != "pevi" and beta < settings.reward_bound * horizon * np.sqrt(settings.ridge):
            found.append(OfflineWarning(
                "optimistic-kl", step, unvisited,
                f"step {step}: the uncentred KL estimate of never visited coordinates is the greatest value; beta >= H sqrt(ridge) would undo it"))
    if settings.minimum == "observed" and not design.seen.all():
        found.append(OfflineWarning("observed-minimum", step, (), f"step {step}: the least value is taken over observed states and may be too high"))
    return found


def _report(
    space: Space, settings: Settings, designs: list[Design], stages: list[Stage], optimistic: list[Stage] | None, betas: FloatArray,
    flags: list[OfflineWarning],
) -> OfflineResult:
    """Evaluate the stages at the reported states and put the result together."""
    H = space.horizon
    shown = [stages[h].action_value(space.reported(h)) for h in range(H)] if space.finite else [stages[0].action_value(space.reported(0))]
    Q = np.array(shown)
    value = Q.max(axis=-1)
    ceiling = settings.reward_bound * H
    n = value.shape[1]
    lower, upper, alpha = np.zeros(n), np.full(n, ceiling), 0.0
    assumptions: tuple[str, ...] = ("rewards lie in [0, reward_bound]; beta is a number, so only the trivial bounds are certified",)
    if optimistic is not None:
        margin = 1e-12 * max(ceiling, 1.0) * H
        lower = np.maximum(value[0] - margin, 0.0)
        upper = np.minimum(optimistic[0].action_value(space.reported(0), sign=1.0).max(axis=-1) + margin, ceiling)
        alpha = settings.delta
        assumptions = _certificate_assumptions(space, settings)
    elif settings.beta == "printed":
        lower, alpha = value[0], settings.delta
        width = 2.0 * sum(float((space.reported(h) @ stages[h].bonus).max()) for h in range(H)) if space.finite else np.inf
        upper = np.minimum(lower + width, ceiling)
        assumptions = (*_certificate_assumptions(space, settings), "the printed constants, which are known second-hand, are right")
    if settings.protocol != "paper":
        flags = [*flags, OfflineWarning("protocol", None, (), f"protocol {settings.protocol!r} differs from the published algorithm and certifies nothing")]
    return OfflineResult(
        policy=Q.argmax(axis=-1), value=value, action_value=Q, lower=lower, upper=upper, suboptimality_bound=upper - lower, alpha=alpha,
        beta=betas, bonus=np.array([stage.bonus for stage in stages]), weights=np.array([s.coefficient for s in stages]) - space.theta,
        deviation=np.array([design.deviation for design in designs]), assumptions=assumptions, warnings=tuple(flags), settings=_plain(space, settings),
    )


def _certificate_assumptions(space: Space, settings: Settings) -> tuple[str, ...]:
    """Return what a certificate rests on."""
    price = "no shift" if settings.method == "pevi" else (
        f"shifts of each factor at price {settings.penalty:g} a unit of {settings.divergence}" if settings.method == "r2pvi"
        else f"shifts of each factor within the given radius of {settings.divergence}")
    found = [
        f"d-rectangular linear model with the given features and reward weights; {price}",
        "trajectories are independent draws of one behaviour policy in the nominal model",
        f"rewards are deterministic, known and in [0, {settings.reward_bound:g}]",
    ]
    least = 0.0 if isinstance(settings.minimum, str) else settings.minimum
    if settings.seeks_least and not (space.finite and settings.minimum == "all"):
        found.append(f"the least value of every value function is {least:g} (a fail state)")
    elif least > 0.0:
        found.append(f"no value function falls below {least:g}")
    if space.data.left_out:
        found.append(f"the {space.data.left_out} episodes shorter than the horizon, which were left out, were left out by chance")
    if settings.method == "drpvi" and settings.beta == "printed":
        found.append("K > max(512 log(2 d H^2/delta)/kappa^2, 20449 d^2 H^2/kappa) for the coverage kappa, which the printed theorem asks for")
    return tuple(found)


def _plain(space: Space, settings: Settings) -> dict[str, Any]:
    """Return the settings as plain values."""
    return {
        "method": settings.method, "divergence": settings.divergence, "penalty": settings.penalty if np.isfinite(settings.penalty) else "inf",
        "radius": None if settings.radius is None else settings.radius.tolist(), "ridge": settings.ridge, "beta": settings.beta,
        "delta": settings.delta, "minimum": settings.minimum, "reward_bound": settings.reward_bound, "protocol": settings.protocol,
        "trajectories": space.data.trajectories, "horizon": space.horizon, "dimension": space.dimension, "data_sha256": space.data.digest,
        "source": space.data.source,
    }
