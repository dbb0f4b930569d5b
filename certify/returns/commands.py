"""The verbs `lemmata certify returns` and `lemmata certify cvar`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MDP = typer.Option("--mdp", help="Gymnasium Toy Text id (FrozenLake-v1, CliffWalking-v1, Taxi-v4) or a model file.")
_DISCOUNT = typer.Option("--discount", help="Discount in (0, 1]; 1 needs --horizon.")
_HORIZON = typer.Option("--horizon", help="Number of steps; without it the horizon is infinite.")
_SLIPPERY = typer.Option("--slippery/--not-slippery", help="Option is_slippery of FrozenLake and CliffWalking.")
_PLOT = typer.Option("--plot", help="Write a picture here (.png, .svg or .pdf); without a name, one in this folder called after the verb.")
_JSON = typer.Option("--json", help="Print JSON instead of a table.")


class _WithPlot(TyperCommand):
    """A command whose `--plot` may stand without a file name."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        given = list(args)
        for i, argument in enumerate(given):
            if argument == "--plot" and (i + 1 == len(given) or given[i + 1].startswith("-")):
                given[i] = f"--plot={self.name}.png"
        return super().parse_args(ctx, given)


def register(root: typer.Typer, certify: typer.Typer) -> None:
    """Add the two verbs to the group `certify`."""
    certify.command("returns", cls=_WithPlot)(returns)
    certify.command("cvar", cls=_WithPlot)(cvar)


def returns(
    mdp: Annotated[str, _MDP],
    policy: Annotated[str, typer.Option("--policy", help="'optimal' (for the mean), 'uniform', or actions separated by commas.")] = "optimal",
    discount: Annotated[float | None, _DISCOUNT] = None,
    horizon: Annotated[int | None, _HORIZON] = None,
    slippery: Annotated[bool | None, _SLIPPERY] = None,
    representation: Annotated[str, typer.Option("--representation", help="categorical, quantile or exact.")] = "categorical",
    atoms: Annotated[int, typer.Option("--atoms", help="Number of atoms.")] = 201,
    tau: Annotated[float, typer.Option("--tau", help="Level of the CVaR shown.")] = 0.1,
    plot: Annotated[Path | None, _PLOT] = None,
    json: Annotated[bool, _JSON] = False,
) -> None:
    """Compute the law of the return of a policy, with a certified Wasserstein error."""
    from certify._validate import require_tau
    from certify.returns import return_distribution
    from certify.returns._model import read_problem

    require_tau(tau)
    _require_picture(plot)
    model = _model(mdp, discount, slippery)
    problem = read_problem(model, horizon=horizon)
    result = return_distribution(model, _policy(problem, policy), representation=representation, atoms=atoms, horizon=horizon)
    low, high = result.cvar(tau)
    rows = {
        "mean": result.mean,
        "standard deviation": float(result.law.variance()) ** 0.5,
        "certified W1 error": result.wasserstein_error,
        f"CVaR {tau:g}, at least": low,
        f"CVaR {tau:g}, at most": high,
        "atoms": len(result.atoms),
        "sweeps": result.sweeps,
    }
    if plot is not None:
        _write(plot, lambda figure: _draw_law(figure, result, mdp, tau))
    data = {"mdp": mdp, "policy": policy, "representation": representation, **rows, "assumptions": list(result.assumptions)}
    _show(f"Return of the policy '{policy}' on {mdp} ({representation})", rows, data, plot, json)


def cvar(
    mdp: Annotated[str, _MDP],
    tau: Annotated[float, typer.Option("--tau", help="Mass of the tail, in (0, 1].")],
    discount: Annotated[float | None, _DISCOUNT] = None,
    horizon: Annotated[int | None, _HORIZON] = None,
    slippery: Annotated[bool | None, _SLIPPERY] = None,
    tail: Annotated[str, typer.Option("--tail", help="lower (worst outcomes) or upper.")] = "lower",
    plot: Annotated[Path | None, _PLOT] = None,
    json: Annotated[bool, _JSON] = False,
) -> None:
    """Find the policy with the largest CVaR of the return and compare it with the policy of the largest mean."""
    from certify._validate import require_tau
    from certify.returns import maximise_cvar

    require_tau(tau)
    _require_picture(plot)
    model = _model(mdp, discount, slippery)
    best = maximise_cvar(model, tau, horizon=horizon, tail=tail)
    neutral = maximise_cvar(model, 1.0, horizon=horizon)
    laws = [solution.return_law() for solution in (neutral, best)]
    rows = {
        f"largest CVaR {tau:g}, at least": best.lower,
        f"largest CVaR {tau:g}, at most": best.upper,
        "initial stock": best.stock,
        f"CVaR {tau:g} of the mean-optimal policy": float(laws[0][0].cvar(tau, tail=tail)),
        "mean of the CVaR-optimal policy": float(laws[1][0].mean()),
        "largest mean, at least": neutral.lower,
        "largest mean, at most": neutral.upper,
        "error of the laws (W1)": max(error for _, error in laws),
    }
    if plot is not None:
        _write(plot, lambda figure: _draw_pair(figure, [law for law, _ in laws], mdp, tau, tail))
    bins = _histogram([law for law, _ in laws])
    data = {"mdp": mdp, "tau": tau, "tail": tail, "method": best.method, **rows, "histogram": bins}
    _show(f"CVaR at {tau:g} of the return on {mdp} ({best.method})", rows, data, plot, json)
    if not json:
        _show_histogram(bins, tau)


def _model(name: str, discount: float | None, slippery: bool | None) -> Any:
    """Return the model of a Toy Text id or a file, with the discount asked for."""
    from certify.returns import environment_model

    if Path(name).exists():
        import importlib

        model = importlib.import_module("mdps.formats").load_model(name)
        return model if discount is None else model.with_discount(discount)
    return environment_model(name, discount=1.0 if discount is None else discount, slippery=slippery)


def _policy(problem: Any, text: str) -> Any:
    """Return the policy that a word or a list of actions names."""
    import numpy as np

    from certify.returns._box import make_box

    if text == "optimal":
        actions = make_box(problem, (1.0, 1.0)).above_actions
        return actions[0] if problem.horizon is None else actions
    if text == "uniform":
        allowed = problem.stages[0].allowed
        return allowed / allowed.sum(axis=1, keepdims=True)
    try:
        return np.array([int(part) for part in text.split(",")])
    except ValueError:
        raise ValueError(f"policy must be 'optimal', 'uniform' or actions separated by commas, got {text!r}") from None


def _show(title: str, rows: dict[str, Any], data: dict[str, Any], plot: Path | None, json: bool) -> None:
    """Print a table, or the data as JSON."""
    if json:
        import json as encoder

        typer.echo(encoder.dumps(data if plot is None else {**data, "plot": str(plot)}))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title, show_header=False)
    for name, value in rows.items():
        table.add_row(name, f"{value:.6g}" if isinstance(value, float) else str(value))
    if plot is not None:
        table.add_row("picture", str(plot))
    Console().print(table)


def _histogram(laws: list[Any], most: int = 12) -> list[dict[str, float]]:
    """Return the masses of two laws on the same returns, or in at most `most` equal bins where there are more."""
    import numpy as np

    (x, p), (y, q) = (law.as_floats() for law in laws)
    points = np.unique(np.round(np.concatenate([x, y]), 9))
    if points.size > most:
        edges = np.linspace(points[0], points[-1], most + 1)
        masses = [np.histogram(np.round(values, 9), bins=edges, weights=weights)[0] for values, weights in ((x, p), (y, q))]
        low, high = edges[:-1], edges[1:]
    else:
        masses = [np.bincount(np.searchsorted(points, np.round(values, 9)), weights, points.size) for values, weights in ((x, p), (y, q))]
        low = high = points
    columns = zip(low.tolist(), high.tolist(), masses[0].tolist(), masses[1].tolist(), strict=True)
    return [{"from": a, "to": b, "mean_optimal": m, "cvar_optimal": c} for a, b, m, c in columns]


def _show_histogram(bins: list[dict[str, float]], tau: float) -> None:
    """Print the histograms of the two policies side by side."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title="Return histogram")
    for heading in ("return", "largest mean", f"largest CVaR {tau:g}"):
        table.add_column(heading)
    for row in bins:
        between = f"{row['from']:.4g}" if row["from"] == row["to"] else f"{row['from']:.4g} to {row['to']:.4g}"
        bars = [f"{row[name]:6.4f} {'#' * round(20 * row[name])}" for name in ("mean_optimal", "cvar_optimal")]
        table.add_row(between, *bars)
    Console().print(table)


def _require_picture(path: Path | None) -> None:
    """Refuse a picture that could not be written, before anything is computed."""
    if path is None:
        return
    if path.suffix not in (".png", ".svg", ".pdf"):
        raise ValueError(f"plot must end in .png, .svg or .pdf, got {str(path)!r}")
    if not path.resolve().parent.is_dir():
        raise ValueError(f"plot must be a file in an existing folder, got {str(path)!r}")


def _write(path: Path, draw: Any) -> None:
    """Draw on a new figure and put the file in its place only when it is complete."""
    import io

    from matplotlib.figure import Figure

    from certify._files import write_atomically

    figure = Figure(figsize=(8.0, 4.0), dpi=140)
    draw(figure)
    buffer = io.BytesIO()
    figure.savefig(buffer, format=path.suffix.lower()[1:])
    write_atomically(path, buffer.getvalue())


def _bars(ax: Any, law: Any, colour: str) -> None:
    """Draw a law as bars, in sixty bins where it has more atoms than that."""
    import numpy as np

    x, p = law.as_floats()
    if len(x) > 60:
        p, edges = np.histogram(x, bins=60, weights=p)
        ax.bar(edges[:-1], p, width=np.diff(edges), align="edge", color=colour)
    else:
        width = 0.8 * float(np.diff(x).min()) if len(x) > 1 else 0.08
        ax.bar(x, p, width=max(width, 0.004 * float(x[-1] - x[0])), color=colour)


def _draw_law(figure: Figure, result: Any, name: str, tau: float) -> None:
    ax = figure.subplots()
    _bars(ax, result.law, "#1f5fa8")
    low, _ = result.cvar(tau)
    ax.axvline(result.mean, color="black", ls="--", label=f"mean {result.mean:.4g}")
    ax.axvline(low, color="#b3282d", label=f"CVaR {tau:g} at least {low:.4g}")
    ax.set(title=f"{name}: law of the return, W1 error at most {result.wasserstein_error:.2g}", xlabel="return", ylabel="probability")
    ax.legend()
    figure.tight_layout()


def _draw_pair(figure: Figure, laws: list[Any], name: str, tau: float, tail: str) -> None:
    axes = figure.subplots(1, 2, sharex=True, sharey=True)
    for ax, law, title, colour in zip(axes, laws, ("largest mean", f"largest CVaR {tau:g}"), ("#1f5fa8", "#d9730d"), strict=True):
        _bars(ax, law, colour)
        ax.axvline(float(law.mean()), color="black", ls="--", label=f"mean {float(law.mean()):.4g}")
        ax.axvline(float(law.cvar(tau, tail=tail)), color="#b3282d", label=f"CVaR {tau:g}: {float(law.cvar(tau, tail=tail)):.4g}")
        ax.set(title=f"{name}: {title}", xlabel="return")
        ax.margins(x=0.1)
        ax.legend()
    axes[0].set_ylabel("probability")
    low, high = (float(end([law.atoms[i] for law in laws])) for end, i in ((min, 0), (max, -1)))
    if high == low:
        axes[0].set_xlim(low - 1.0, high + 1.0)
    figure.tight_layout()
