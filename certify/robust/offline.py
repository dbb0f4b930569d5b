"""Robust offline learning in linear models: R2PVI, its relatives, and a certified lower bound on the robust value of what they learn.

    policy and numbers  <-  r2pvi(dataset, features, reward_weights, divergence="tv", penalty=0.5)

`beta="split-certificate"` (the default) uses one fold of trajectories for each step and centred targets; then, except with probability
`delta`, `lower` is below the robust value of the learned policy and `upper` above the best robust value, in every state at once.
Sources: r2pvi G8, G9, G9-split, G11, G12.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from certify._validate import require_choice, require_open_unit, require_positive, require_real
from certify.robust._recursion import Settings, learn
from certify.robust._result import OfflineResult, OfflineWarning
from certify.robust._spaces import FiniteSpace, PointSpace
from certify.robust.datasets import OfflineDataset, as_dataset

__all__ = ["METHODS", "OfflineResult", "OfflineWarning", "r2pvi"]

FloatArray = NDArray[np.float64]

METHODS = {
    "r2pvi": "regularised worst case over tv, kl or chi2, price `penalty`",
    "pevi": "nominal pessimistic value iteration, no worst case",
    "drpvi": "constrained tv, `radius`, duals maximised over all breakpoints",
    "drvi-l": "constrained kl, `radius`",
    "va-drpvi": "constrained tv with regression weighted by an estimated variance, `radius`",
}
"""Learners behind the one interface."""

_DIVERGENCES = {"r2pvi": ("tv", "kl", "chi2"), "pevi": ("tv", "kl", "chi2"), "drpvi": ("tv",), "drvi-l": ("kl",), "va-drpvi": ("tv",)}


def r2pvi(
    dataset: OfflineDataset | Any,
    features: ArrayLike | Callable[[int, Any], ArrayLike],
    reward_weights: ArrayLike,
    *,
    divergence: str = "tv",
    penalty: float | None = None,
    radius: ArrayLike | None = None,
    method: str = "r2pvi",
    ridge: float = 1.0,
    beta: float | str = "split-certificate",
    delta: float = 0.1,
    minimum: float | str = "all",
    reward_bound: float = 1.0,
    dual_floor: float = 0.01,
    protocol: str = "paper",
) -> OfflineResult:
    """Learn a policy that is robust to shifts of every factor, from trajectories of the nominal model, with a certificate.

    Parameters
    ----------
    dataset : OfflineDataset, mapping, tuple, path or Minari dataset
        K trajectories of H steps; see `certify.robust.offline_dataset`.  Of a Minari dataset with discrete observations and actions the
        first H steps are read, with H from `reward_weights`.
    features : array (S, A, d) or (H, S, A, d), or callable
        phi, non-negative with rows that sum to 1.  For continuous states a function (step, points (n, p)) -> (n, A, d).
    reward_weights : array (d,) or (H, d)
        theta: the known reward is <phi, theta_h>, in [0, reward_bound].
    divergence : str
        "tv", "kl" or "chi2".
    penalty : float
        lambda > 0, the price of a unit of divergence (`method="r2pvi"`); infinity means the nominal model.
    radius : float or array (d,) or (H, d)
        rho >= 0 for the constrained learners.
    method : str
        One of `METHODS`.
    ridge : float
        Ridge gamma > 0 of the regressions.
    beta : float or str
        Coefficient of the pessimism, >= 0; "split-certificate" for the data-split certificate (all but va-drpvi); "printed" for the
        printed constants (ridge 1; r2pvi and drpvi).
    delta : float
        Failure probability of the certificate, in (0, 1).
    minimum : float or str
        Least value of a value function: "all" takes it over the whole state space, "observed" over the next states in the data (flagged:
        optimistic when the worst state was not sampled), a number in [0, reward_bound] declares it: a certificate then rests on it.  With
        continuous states "all" means 0, a fail state.
    reward_bound : float
        Upper end of the rewards; values are clipped at `reward_bound` times the steps to go.
    dual_floor : float
        Least dual variable of drvi-l.
    protocol : str
        "paper"; or "official" for the published code (root of the summed squares as penalty, the full norm for pevi, no clipping at 0,
        minimum over observed states, local search for duals, chi2 minimised where it must be maximised), "official-exact" for the same
        with exact duals.  Numbers only: these certify nothing.

    Returns
    -------
    OfflineResult
        Policy, estimate, certified bounds and the assumptions they rest on.

    Raises
    ------
    ValueError
        If an argument is out of range, features leave the simplex, rewards leave [0, reward_bound], or no certificate is known for a method.

    Examples
    --------
    >>> import numpy as np
    >>> from certify.robust import offline_dataset, r2pvi
    >>> data = offline_dataset(np.zeros((8, 2), int), np.zeros((8, 1), int))
    >>> result = r2pvi(data, np.ones((1, 1, 1)), [0.5], divergence="tv", penalty=1.0)
    >>> round(float(result.lower[0]), 6), result.alpha
    (0.5, 0.1)

    Source: r2pvi, G8, G9, G9-split and G11.
    """
    shape = np.shape(reward_weights)
    data = as_dataset(dataset, shape[0] if len(shape) == 2 else None)
    settings = _settings(method, divergence, penalty, radius, ridge, beta, delta, minimum, reward_bound, dual_floor, protocol, data.horizon)
    theta = np.asarray(reward_weights)
    simplex = protocol == "paper"
    space = (
        PointSpace(data, features, theta, reward_bound, simplex) if callable(features) else FiniteSpace(data, features, theta, reward_bound, simplex)
    )
    return learn(space, settings)


def _settings(
    method: str, divergence: str, penalty: float | None, radius: ArrayLike | None, ridge: float, beta: float | str, delta: float,
    minimum: float | str, reward_bound: float, dual_floor: float, protocol: str, horizon: int,
) -> Settings:
    """Check the arguments and return them in one form."""
    require_choice("method", method, tuple(METHODS))
    require_choice("divergence", divergence, _DIVERGENCES[method])
    require_choice("protocol", protocol, ("paper", "official", "official-exact"))
    for name, value in (("ridge", ridge), ("reward_bound", reward_bound), ("dual_floor", dual_floor)):
        require_positive(name, value)
    require_open_unit("delta", delta)
    price = np.inf
    if method == "r2pvi":
        if penalty is None or radius is not None:
            raise ValueError(f"penalty must be given for method 'r2pvi', and no radius; got penalty={penalty!r} and radius={radius!r}")
        price = _positive_or_infinite("penalty", penalty)
    elif penalty is not None:
        raise ValueError(f"penalty must not be given for method {method!r}, got {penalty!r}")
    sizes = None
    if method in ("drpvi", "drvi-l", "va-drpvi"):
        if radius is None:
            raise ValueError(f"radius must be given for method {method!r}, got None")
        sizes = _radii(radius)
        sizes = np.minimum(sizes, 1.0) if divergence == "tv" else sizes
    elif radius is not None:
        raise ValueError(f"radius must not be given for method {method!r}, got {radius!r}")
    if isinstance(beta, str):
        require_choice("beta", beta, ("split-certificate", "printed"))
        able = ("r2pvi", "pevi", "drpvi", "drvi-l") if beta == "split-certificate" else ("r2pvi", "drpvi")
        if method not in able:
            raise ValueError(f"beta must be a number for method {method!r} ({beta!r} is known for {', '.join(able)}), got {beta!r}")
        if beta == "printed" and (ridge != 1.0 or reward_bound != 1.0):
            raise ValueError(f"ridge and reward_bound must be 1 with beta='printed', got {ridge!r} and {reward_bound!r}")
        if protocol != "paper" or minimum == "observed":
            raise ValueError("beta must be a number with the official protocols or the minimum over observed states: they certify nothing")
    elif require_real("beta", beta) < 0:
        raise ValueError(f"beta must be >= 0, got {beta!r}")
    if isinstance(minimum, str):
        require_choice("minimum", minimum, ("all", "observed"))
    elif not 0.0 <= require_real("minimum", minimum) <= reward_bound:
        # the value of the last step lies between the rewards, and so does its least value
        raise ValueError(f"minimum must be in [0, reward_bound] = [0, {reward_bound:g}], got {minimum!r}")
    observed = protocol != "paper" or minimum == "observed"
    return Settings(
        method=method, divergence=divergence, penalty=price, radius=sizes, ridge=float(ridge), beta=beta if isinstance(beta, str) else float(beta),
        delta=float(delta), minimum="observed" if observed else minimum, reward_bound=float(reward_bound), dual_floor=float(dual_floor), protocol=protocol,
    )


def _radii(radius: ArrayLike) -> FloatArray:
    """Return radii as an array of numbers >= 0."""
    try:
        sizes = np.asarray(radius, dtype=np.float64)
    except (TypeError, ValueError):
        sizes = np.array(np.nan)
    if isinstance(radius, bool) or sizes.ndim > 2 or sizes.size == 0 or not (sizes >= 0).all():
        raise ValueError(f"radius must hold numbers >= 0 of shape (), (d,) or (H, d), got {radius!r}")
    return sizes


def _positive_or_infinite(name: str, value: Any) -> float:
    """Return a number above 0, infinity allowed."""
    if isinstance(value, bool) or not isinstance(value, (int, float, np.integer, np.floating)) or not value > 0:
        raise ValueError(f"{name} must be a number > 0 (infinity for the nominal model), got {value!r}")
    return float(value)
