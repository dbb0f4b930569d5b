"""One door to all simulators, and the bound that goes with each."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
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

__all__ = ["ALGORITHMS", "SHARED", "algorithm_name", "simulate", "theoretical_bound"]

ALGORITHMS: dict[str, Callable[..., RegretRun]] = {
    "ucrl2": ucrl2,
    "loop": loop,
    "mle-loop": mle_loop,
    "ucrl2-vtr": ucrl2_vtr,
    "olsvi-fh": olsvi_fh,
}
"""Name to simulator."""

SHARED = ("steps", "seeds", "seed", "delta", "checkpoints", "jobs", "progress")
"""Arguments of every simulator; all others are options of one algorithm."""


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
        "ucrl2", "loop", "mle-loop", "ucrl2-vtr" or "olsvi-fh", in any case; underscores and dots count as hyphens.
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
    name = algorithm_name(algorithm)
    function = ALGORITHMS[name]
    known = inspect.signature(function).parameters
    unknown = [option for option in options if option not in known]
    if unknown:
        allowed = [p for p in list(known)[1:] if p not in SHARED]
        raise TypeError(f"simulate() got an unexpected option {unknown[0]!r} for algorithm {name}; allowed: {', '.join(allowed)}")
    target = parse_instance(instance, algorithm=name) if isinstance(instance, str) else instance
    if name in ("ucrl2", "olsvi-fh"):
        target = getattr(target, "mdp", target)
    common = {"steps": steps, "seeds": seeds, "seed": seed, "delta": delta, "checkpoints": checkpoints, "jobs": jobs, "progress": progress}
    return function(target, **common, **options)


def algorithm_name(algorithm: str) -> str:
    """Return the name in `ALGORITHMS` that is meant: "OLSVI.FH", "olsvi_fh" and "olsvi" are all "olsvi-fh"."""
    name = str(algorithm).lower().replace("_", "-").replace(".", "-")
    name = "olsvi-fh" if name == "olsvi" else name
    if name not in ALGORITHMS:
        require_choice("algorithm", algorithm, tuple(ALGORITHMS))
    return name


def theoretical_bound(
    instance: Any, algorithm: str, checkpoints: ArrayLike, *, delta: float = 0.05, options: Mapping[str, Any] | None = None
) -> tuple[NDArray[np.float64], str] | None:
    """Return the explicit regret bound of one run of an algorithm at each checkpoint, and its name.

    Every value holds with its probability at its own checkpoint, for a run whose length is the largest checkpoint: the radius of LOOP
    belongs to that length.

    Parameters
    ----------
    instance : TabularMDP, FiniteClass or LinearMixture
        The instance.
    algorithm : str
        Name of the algorithm.
    checkpoints : array of int
        Numbers of steps; the largest is the length of the run.
    delta : float
        Failure probability of each event.
    options : mapping, optional
        Options of the run, as in `RegretRun.options`; those of the theory when omitted.

    Returns
    -------
    tuple or None
        Bounds, shape (C,), and a label with the guarantee they come from.  None where no bound is known with constants, or where the
        options void it: a radius below the one that the proof needs, another patience, a width without its factor S.
    """
    name, chosen = algorithm_name(algorithm), dict(options or {})
    steps = np.asarray(checkpoints, dtype=np.float64)
    if name == "ucrl2":
        import mdps

        if not chosen.get("state_factor", True):
            return None
        mdp = getattr(instance, "mdp", instance)
        bound = loop_agec.ucrl2_regret_bound(mdps.diameter(mdp), mdp.n_states, mdp.n_actions, steps, delta)
        return bound, "34 D S sqrt(A T log(T/delta))  [loop_agec/G14]"
    if name in ("loop", "mle-loop") and not isinstance(instance, LinearMixture):
        from certify.complexity import regret_certificate

        found = regret_certificate(instance, steps=max(2, int(steps.max())), delta=delta, algorithm=name)
        radius = float(chosen.get("beta", found.radius))
        rounding = found.rounding * steps / found.steps
        if name == "loop":
            if radius < found.radius or chosen.get("patience", 4.0) != 4.0:
                return None
            bound = loop_agec.regret_bound(found.dimension, found.span, radius, found.largest_error, steps, delta)
            return (bound + rounding) * (1.0 + 1e-12), "explicit bound  [loop_agec/G11]"
        if radius != found.radius or chosen.get("patience", 1.0) != 1.0:
            return None
        bound = loop_agec.mle_regret_bound(found.dimension, found.span, instance.hypotheses, found.largest_error, steps, delta)
        return (bound + rounding) * (1.0 + 1e-12), "explicit bound  [loop_agec/G13]"
    return None
