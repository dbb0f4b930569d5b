"""The verb `lemmata certify robust`: robust values of a model, or a certified robust policy from a file of trajectories."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from certify._files import write_atomically

if TYPE_CHECKING:
    from certify.robust import OfflineResult
    from mdps.robust import RobustSolution

__all__ = ["register"]

_PLOTS = (".png", ".svg", ".pdf")


def register(root: typer.Typer, certify: typer.Typer) -> None:
    """Add the verb to the group `certify`."""
    certify.command("robust")(robust)


def robust(
    mdp: Annotated[str | None, typer.Option("--mdp", help="Gymnasium Toy Text id (FrozenLake-v1) or a model file.")] = None,
    dataset: Annotated[Path | None, typer.Option(help="Trajectories (.npz) of a linear model, with features and reward weights.")] = None,
    divergence: Annotated[str, typer.Option(help="tv, l1, linf, l2, kl, chi2, burg, contamination, cvar; with --dataset tv, kl or chi2.")] = "kl",
    radius: Annotated[float | None, typer.Option(help="Size of the sets.")] = None,
    penalty: Annotated[float | None, typer.Option(help="Price of a unit of divergence, in the place of a radius.")] = None,
    discount: Annotated[float | None, typer.Option(help="Discount of the model, below 1.")] = None,
    horizon: Annotated[int | None, typer.Option(help="Number of steps, in the place of a discount.")] = None,
    rectangular: Annotated[
        str | None,
        typer.Option(help="sa (the default): nature answers every action; s: it has one budget in every state.  Linear models have a set for each factor."),
    ] = None,
    tolerance: Annotated[float, typer.Option(help="Largest error of the values, relative to max(1, |V|).")] = 1e-8,
    method: Annotated[
        str | None, typer.Option(help="With --dataset: r2pvi (the default with a penalty), drpvi (with a radius of tv), drvi-l (of kl), pevi or va-drpvi.")
    ] = None,
    ridge: Annotated[float, typer.Option(help="With --dataset: ridge of the regressions.")] = 1.0,
    beta: Annotated[str, typer.Option(help="With --dataset: split-certificate, printed, or a number.")] = "split-certificate",
    delta: Annotated[float, typer.Option(help="With --dataset: failure probability of the certificate.")] = 0.1,
    json_: Annotated[bool, typer.Option("--json", help="Print JSON for machines.")] = False,
    out: Annotated[Path | None, typer.Option(help="Write the result as JSON.")] = None,
    plot: Annotated[Path | None, typer.Option(help="Draw the values: .png, .svg or .pdf.")] = None,
) -> None:
    """Robust values of a model, or a certified robust policy from trajectories."""
    if (mdp is None) == (dataset is None):
        raise ValueError("exactly one of --mdp and --dataset must be given")
    for name, path in (("out", out), ("plot", plot)):
        if path is not None and not path.resolve().parent.is_dir():
            raise ValueError(f"{name} must be a file in an existing folder, got {path}")
    if plot is not None and plot.suffix.lower() not in _PLOTS:
        raise ValueError(f"plot must end in {', '.join(_PLOTS)}, got {plot}")
    if mdp is not None:
        model = _model(mdp, discount, horizon)
        if hasattr(model, "factors"):
            facts, values = _linear(mdp, model, divergence, radius, penalty, rectangular)
        else:
            found = _solve(model, divergence, radius, penalty, rectangular or "sa", tolerance)
            facts, values = _model_facts(mdp, model, found, radius, penalty), (found.value, found.lower, found.upper)
    else:
        assert dataset is not None
        if discount is not None or horizon is not None or rectangular is not None:
            raise ValueError("discount, horizon and rectangular are for --mdp; a dataset has its own horizon and factors")
        learned = _learn(dataset, divergence, radius, penalty, method, ridge, beta, delta)
        facts, values = learned.to_json(), (learned.lower, learned.lower, learned.upper)
    _report(facts, values, json_, out, plot)


def _model(name: str, discount: float | None, horizon: int | None) -> Any:
    """Return the model of an environment or a file."""
    import importlib

    import mdps

    if (discount is None) == (horizon is None) and not Path(name).exists():
        raise ValueError("exactly one of --discount and --horizon must be given with an environment")
    if Path(name).exists():
        model = importlib.import_module("mdps.formats").load_model(name)
        if discount is not None:
            if not isinstance(model, mdps.TabularMDP):
                raise ValueError(f"discount does not fit the model of finite horizon in {name}")
            model = model.with_discount(discount)
        if horizon is not None:
            if not isinstance(model, mdps.TabularMDP):
                raise ValueError(f"horizon does not fit the model in {name}, which has its own")
            rewards = model.expected_reward if model.transition_reward is None else model.transition_reward
            model = mdps.FiniteHorizonMDP(model.transition, rewards, horizon=horizon, initial=model.initial, action_mask=model.action_mask)
    else:
        model = mdps.from_gymnasium(name, discount=discount, horizon=horizon)
    return model


def _ended(model: Any) -> Any:
    """Return which states are over: absorbing without reward under every action, at every step."""
    import numpy as np

    import mdps

    stages = [model]
    if isinstance(model, mdps.FiniteHorizonMDP):
        stages = [model.stage(h) for h in range(1 if model.is_stationary else model.horizon)]
    ended = np.ones(model.n_states, dtype=bool)
    for stage in stages:
        ended &= (stage.expected_reward == 0.0).all(axis=1)
        for s in np.flatnonzero(ended):
            ended[s] = all(stage.kernel(s, a)[s] == 1.0 for a in range(stage.n_actions))
    return ended


def _linear(
    name: str, model: Any, divergence: str, radius: float | None, penalty: float | None, rectangular: str | None
) -> tuple[dict[str, Any], tuple[Any, Any, Any]]:
    """Solve a linear model with a set around every factor."""
    from certify.robust import exact_value

    if rectangular is not None:
        raise ValueError(f"rectangular is for tabular models; {name} is linear and has a set around every factor, got {rectangular!r}")
    found = exact_value(model, divergence=divergence, radius=radius, penalty=penalty)
    start = model.initial
    facts: dict[str, Any] = {
        "model": name, "divergence": divergence, "radius": _plain(radius), "penalty": _plain(penalty), "rectangular": "d", "discount": None,
        "horizon": model.horizon, "value": found.value.tolist(), "lower": found.lower.tolist(), "upper": found.upper.tolist(),
        "policy": found.policy.tolist(), "error": float((found.upper - found.lower).max()), "iterations": model.horizon, "status": "converged",
        "initial_value": None if start is None else float(start @ found.value[0]),
    }  # fmt: skip
    return facts, (found.value, found.lower, found.upper)


def _solve(model: Any, divergence: str, radius: float | None, penalty: float | None, rectangular: str, tolerance: float) -> RobustSolution:
    """Solve with sets around the states that are not over: what has ended cannot be changed."""
    import numpy as np

    from mdps.robust import solve

    ended = _ended(model)
    shape = (model.n_states, model.n_actions) if rectangular == "sa" else (model.n_states,)
    live = np.broadcast_to(~ended[:, None] if rectangular == "sa" else ~ended, shape)
    sizes: dict[str, Any] = {
        "radius": None if radius is None else np.where(live, radius, 0.0),
        "penalty": None if penalty is None else np.where(live, penalty, np.inf if penalty > 0 else penalty),
    }
    return solve(model, divergence=divergence, rectangular=rectangular, tolerance=tolerance, **sizes)


def _model_facts(name: str, model: Any, found: RobustSolution, radius: float | None, penalty: float | None) -> dict[str, Any]:
    import numpy as np

    first = found.value if found.value.ndim == 1 else found.value[0]
    start = model.initial
    facts: dict[str, Any] = {
        "model": name, "divergence": found.divergence, "radius": _plain(radius), "penalty": _plain(penalty), "rectangular": found.rectangular,
        "discount": getattr(model, "discount", None), "horizon": getattr(model, "horizon", None),
        "value": found.value.tolist(), "lower": found.lower.tolist(), "upper": found.upper.tolist(), "policy": found.policy.tolist(),
        "error": found.error, "iterations": found.iterations, "status": found.status.value,
        "initial_value": None if start is None else float(np.asarray(start) @ first),
    }  # fmt: skip
    return facts


def _plain(size: float | None) -> float | str | None:
    """Return a size as JSON can write it."""
    return "inf" if size == float("inf") else size


def _learn(
    path: Path, divergence: str, radius: float | None, penalty: float | None, method: str | None, ridge: float, beta: str, delta: float
) -> OfflineResult:
    from certify.robust import load_problem, r2pvi

    data, features, weights = load_problem(path)
    if features is None or weights is None:
        raise ValueError(f"dataset {path} must also hold features (S, A, d) and reward_weights (H, d) for the command line")
    try:
        coefficient: float | str = float(beta)
    except ValueError:
        coefficient = beta
    if method is None:
        by_radius = {"tv": "drpvi", "kl": "drvi-l"}
        if radius is not None and penalty is None and divergence not in by_radius:
            raise ValueError(f"radius is for divergence tv or kl with a dataset; {divergence!r} takes a penalty")
        method = by_radius[divergence] if radius is not None and penalty is None else "r2pvi"
    return r2pvi(
        data, features, weights, divergence=divergence, radius=radius, penalty=penalty, method=method, ridge=ridge, beta=coefficient, delta=delta
    )


def _report(facts: dict[str, Any], values: tuple[Any, Any, Any], as_json: bool, out: Path | None, plot: Path | None) -> None:
    import json

    text = json.dumps(facts, allow_nan=False)
    if out is not None:
        write_atomically(out, text)
    if plot is not None:
        _draw(values, facts, plot)
    if as_json:
        typer.echo(text)
        return
    from rich.console import Console
    from rich.table import Table

    console = Console()
    value, lower, upper = (v if v.ndim == 1 else v[0] for v in values)
    policy = facts["policy"]
    if "settings" in facts or values[0].ndim > 1:
        policy = policy[0]
    table = Table(box=None, pad_edge=False)
    for heading in ("state", "value" if "settings" not in facts else "certified value", "lower", "upper", "first action"):
        table.add_column(heading, justify="right")
    for s in range(min(len(value), 40)):
        shown = " ".join(f"{p:.3f}" for p in policy[s]) if isinstance(policy[s], list) else str(policy[s])
        table.add_row(str(s), f"{value[s]:.6g}", f"{lower[s]:.8g}", f"{upper[s]:.8g}", shown)
    console.print(table)
    if len(value) > 40:
        console.print(f"... {len(value) - 40} more states; --json has all")
    if facts.get("initial_value") is not None:
        console.print(f"value of the initial distribution: {facts['initial_value']:.8g}", highlight=False)
    if "settings" in facts:
        for warning in facts["warnings"]:
            console.print(f"warning: {warning['message']}", highlight=False)
        console.print(f"certified with failure probability {facts['alpha']:g}; rests on:" if facts["certified"] else "not certified; rests on:")
        for assumption in facts["assumptions"]:
            console.print(f"  - {assumption}", highlight=False)
    else:
        console.print(f"error at most {facts['error']:.3g} after {facts['iterations']} sweeps ({facts['status']})", highlight=False)


def _draw(values: tuple[Any, Any, Any], facts: dict[str, Any], path: Path) -> None:
    import io

    import numpy as np
    from matplotlib.figure import Figure

    value, lower, upper = (v if v.ndim == 1 else v[0] for v in values)
    figure = Figure(figsize=(7.0, 3.6), dpi=150, layout="constrained")
    axes = figure.subplots()
    states = np.arange(len(value))
    axes.vlines(states, lower, upper, color="#0072b2", linewidth=4, alpha=0.4, label="bounds")
    axes.plot(states, value, "o", markersize=4, color="#d55e00", label="value" if "settings" not in facts else "certified lower bound")
    axes.set(xlabel="state", ylabel="robust value")
    axes.legend()
    buffer = io.BytesIO()
    figure.savefig(buffer, format=path.suffix.lower()[1:])
    write_atomically(path, buffer.getvalue())
