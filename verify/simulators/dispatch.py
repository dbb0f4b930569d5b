"""One door to all simulators, and the bound that goes with each."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from theory import loop_agec
from verify._validate import require_choice
from verify.simulators.finite import loop, mle_loop
from verify.simulators.instances import LinearMixture, parse_instance
from verify.simulators.linear import olsvi_fh, ucrl2_vtr
from verify.simulators.run import Progress, RegretRun
from verify.simulators.tabular import ucrl2

__all__ = ["ALGORITHMS", "simulate", "theoretical_bound"]

ALGORITHMS: dict[str, Callable[..., RegretRun]] = {
    "ucrl2": ucrl2,
    "loop": loop,
    "mle-loop": mle_loop,
    "ucrl2-vtr": ucrl2_vtr,
    "olsvi-fh": olsvi_fh,
}
"""Name to simulator."""


def simulate(
    instance: Any,
    *,
    algorithm: str = "ucrl2",
    steps: float,
    seeds: int | Sequence[int],
    seed: int = 0,
    delta: float = 0.05,
    checkpoints: ArrayLike | None = None,
    jobs: int | None = None,
    progress: Progress | None = None,
    **options: Any,
) -> RegretRun:
    """Run a learning algorithm on an average-reward instance.

    Parameters
    ----------
    instance : TabularMDP, FiniteClass, LinearMixture or str
        A model; for "loop" and "mle-loop" a finite class, for "ucrl2-vtr" a linear mixture; or a name such as `river-swim:6`.
        A class or mixture given to another algorithm stands for its true model.
    algorithm : str
        "ucrl2", "loop", "mle-loop", "ucrl2-vtr" or "olsvi-fh"; underscores count as hyphens.
    steps : int
        T, at least 1.
    seeds : int or sequence of int
        Number of replicates, or their numbers (a replicate can be run alone).
    seed : int
        Root of the streams.
    delta : float
        Failure probability, in (0, 1).
    checkpoints : array of int, optional
        Steps at which the regret is recorded; a geometric grid that ends at `steps` when omitted.
    jobs : int, optional
        Threads; all cores when omitted.  The result does not depend on it.
    progress : callable, optional
        Called with (finished replicates, all replicates).
    **options
        Options of the algorithm's own function; an unknown one is refused.

    Returns
    -------
    RegretRun
        Regret and number of switches at the checkpoints for each replicate, and diagnostics: per-episode optimism and whether the
        confidence event held.

    Raises
    ------
    ValueError
        If the algorithm is unknown or an argument is invalid.
    TypeError
        If an option is unknown to the algorithm.

    Examples
    --------
    >>> run = simulate("river-swim:3", algorithm="ucrl2", steps=1000, seeds=2)
    >>> run.regret.shape == (2, run.checkpoints.size), bool(run.diagnostics["confidence_event"].all())
    (True, True)
    """
    name = algorithm.replace("_", "-")
    if name == "olsvi":
        name = "olsvi-fh"
    require_choice("algorithm", name, tuple(ALGORITHMS))
    function = ALGORITHMS[name]
    known = inspect.signature(function).parameters
    unknown = [option for option in options if option not in known]
    if unknown:
        shared = ("steps", "seeds", "seed", "delta", "checkpoints", "jobs", "progress")
        allowed = [p for p in list(known)[1:] if p not in shared]
        raise TypeError(f"simulate() got an unexpected option {unknown[0]!r} for algorithm {name}; allowed: {', '.join(allowed)}")
    target = parse_instance(instance, algorithm=name) if isinstance(instance, str) else instance
    if name in ("ucrl2", "olsvi-fh"):
        target = getattr(target, "mdp", target)
    common = {"steps": steps, "seeds": seeds, "seed": seed, "delta": delta, "checkpoints": checkpoints, "jobs": jobs, "progress": progress}
    return function(target, **common, **options)


def theoretical_bound(instance: Any, algorithm: str, checkpoints: ArrayLike, *, delta: float = 0.05) -> tuple[NDArray[np.float64], str] | None:
    """Return the explicit regret bound of an algorithm at each checkpoint, and its name; None where none is known with constants.

    Parameters
    ----------
    instance : TabularMDP, FiniteClass or LinearMixture
        The instance.
    algorithm : str
        Name of the algorithm.
    checkpoints : array of int
        Numbers of steps.
    delta : float
        Failure probability of each event.

    Returns
    -------
    tuple or None
        Bounds, shape (C,), and a label with the guarantee they come from.
    """
    steps = np.asarray(checkpoints, dtype=np.float64)
    if algorithm == "ucrl2":
        import mdps

        mdp = getattr(instance, "mdp", instance)
        bound = loop_agec.ucrl2_regret_bound(mdps.diameter(mdp), mdp.n_states, mdp.n_actions, steps, delta)
        return bound, "34 D S sqrt(A T log(T/delta))  [loop_agec/G14]"
    if algorithm in ("loop", "mle-loop") and not isinstance(instance, LinearMixture):
        from certify.complexity import regret_certificate

        wanted = [int(t) for t in np.maximum(steps, 2)]
        values = [regret_certificate(instance, steps=t, delta=delta, algorithm=algorithm).bound for t in wanted]
        return np.array(values), "explicit bound  [loop_agec/G11]" if algorithm == "loop" else "explicit bound  [loop_agec/G13]"
    return None
