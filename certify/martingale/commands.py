"""The verb `lemmata certify critic`: is this critic the value function of the policy behind these trajectories?"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from certify.martingale import CriticTest

__all__ = ["register"]


def register(root: typer.Typer, certify: typer.Typer) -> None:
    """Add the verb to the group `certify`."""
    certify.command("critic")(critic)


def critic(
    paths: Annotated[Path, typer.Option(help="Trajectories: .npz with time (N+1), state (n, N+1[, d]), reward (n, N+1) and optionally terminal (n).")],
    critic: Annotated[str, typer.Option(help="module:function(time, state), or a TorchScript file with --trust.")],
    discount: Annotated[float, typer.Option(help="Discount rate per unit of time.", min=0.0)] = 0.0,
    tests: Annotated[str, typer.Option(help="Test functions: powers i,j of t^i x^j separated by blanks (x: first coordinate).")] = "0,0 0,1 0,2 1,0",
    alpha: Annotated[float, typer.Option(help="Probability of rejecting a correct critic.")] = 0.01,
    reward_rule: Annotated[str, typer.Option(help="trapezoid or left.")] = "trapezoid",
    volatility: Annotated[float | None, typer.Option(help="Volatility of the state: use the test that is valid for any number of paths.")] = None,
    scale: Annotated[float, typer.Option(help="With --volatility: the variance expected of a sum over all paths, chosen before the data.")] = 1.0,
    trust: Annotated[bool, typer.Option("--trust", help="Allow code in the critic's file to run.")] = False,
    plot: Annotated[Path | None, typer.Option(help="Draw the statistics: .png, .svg or .pdf.")] = None,
    json_: Annotated[bool, typer.Option("--json", help="Print JSON for machines.")] = False,
) -> None:
    """Test whether a critic is the value function of the policy behind trajectories."""
    from certify.martingale import load_paths, test_critic
    from mdps.diffusions import Polynomial

    try:
        powers = [tuple(int(p) for p in word.split(",")) for word in tests.split()]
        if not powers or any(len(p) != 2 or min(p) < 0 for p in powers):
            raise ValueError
    except ValueError:
        raise ValueError(f"tests must be pairs i,j of integers >= 0 separated by blanks, got {tests!r}") from None
    if plot is not None and (not plot.resolve().parent.is_dir() or plot.suffix.lower() not in (".png", ".svg", ".pdf")):
        raise ValueError(f"plot must be a .png, .svg or .pdf file in an existing folder, got {plot}")
    functions = [Polynomial({(p[0], p[1]): 1.0}) for p in powers]
    found = test_critic(
        load_paths(paths), _load_critic(critic, trust), tests=functions, alpha=alpha, discount=discount, reward_rule=reward_rule,
        method="asymptotic" if volatility is None else "mixture", volatility=volatility, scale=scale,
    )  # fmt: skip
    if plot is not None:
        _draw(found, tests.split(), plot)
    facts: dict[str, Any] = {
        "verdict": found.verdict, "p_value": found.p_value, "alpha": found.alpha, "paths": found.paths, "method": found.method,
        "statistics": dict(zip(tests.split(), found.statistics.tolist(), strict=False)), "warnings": list(found.warnings),
        "assumptions": list(found.assumptions),
    }
    if json_:
        typer.echo(json.dumps(facts))
    else:
        _print(found, tests.split())
    raise typer.Exit({"not rejected": 0, "rejected": 1, "inconclusive": 3}[found.verdict])


def _load_critic(name: str, trust: bool) -> Any:
    """Return the function `module:function`, or a TorchScript module from a trusted file."""
    import importlib
    import sys

    if Path(name).is_file():
        if not trust:
            raise ValueError(f"critic {name} is a file that may run code: allow it with --trust, or name a function as module:function")
        try:
            import torch
        except ImportError:
            raise ImportError("a critic in a file needs the extra [torch]: pip install 'lemmata[torch]'") from None
        try:
            return torch.jit.load(name, map_location="cpu")
        except (RuntimeError, ValueError, OSError) as error:
            raise ValueError(f"critic must be a TorchScript file, {name} cannot be read: {str(error).splitlines()[0]}") from None
    module, _, function = name.partition(":")
    if not function:
        raise ValueError(f"critic must be module:function or an existing file, got {name!r}")
    if "" not in sys.path:
        sys.path.insert(0, "")
    try:
        found = getattr(importlib.import_module(module), function)
    except Exception as error:  # a user's module may fail in any way, and status 1 is for a rejected critic
        raise ValueError(f"critic must be module:function, {name!r} cannot be loaded: {_first_line(error)}") from None
    if not callable(found):
        raise ValueError(f"critic must be module:function, {name!r} is no function but {type(found).__name__}")
    return found if hasattr(found, "forward") else _guarded(found)


def _guarded(function: Any) -> Any:
    """Return the function with every failure turned into one that is reported; those of calling it in another style pass."""

    def critic(time: Any, state: Any) -> Any:
        try:
            return function(time, state)
        except (TypeError, ValueError, IndexError, AttributeError):
            raise
        except Exception as error:
            raise ValueError(f"critic fails with {_first_line(error)}") from None

    return critic


def _first_line(error: Exception) -> str:
    return (f"{type(error).__name__}: {error}".splitlines() or [""])[0]


def _print(found: CriticTest, names: list[str]) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console()
    if found.statistics.size:
        table = Table(box=None, pad_edge=False)
        for heading in ("test t^i x^j", "statistic", "p-value", "effect of the reward rule"):
            table.add_column(heading, justify="right")
        for name, z, p, b in zip(names, found.statistics, found.p_values, found.bias, strict=True):
            table.add_row(name, f"{z:.3f}", f"{p:.3g}", f"{b:.2g} s.e.")
        console.print(table)
    for warning in found.warnings:
        console.print(f"warning: {warning}", highlight=False)
    meaning = {
        "rejected": "the critic is not the value function of this policy",
        "not rejected": "nothing found against the critic; other test functions might",
        "inconclusive": "a deviation was found, but its cause may not be the critic",
    }[found.verdict]
    console.print(f"{found.verdict}: {meaning} (p = {found.p_value:.3g}, level {found.alpha:g}, {found.paths} paths)", highlight=False)


def _draw(found: CriticTest, names: list[str], path: Path) -> None:
    import io

    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    from certify._files import write_atomically

    figure = Figure(figsize=(6.4, 3.6), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    axes.axvspan(-2, 2, color="0.9", label="two standard errors")
    axes.barh(names[: found.statistics.size], found.statistics)
    axes.set_xlabel("statistic (standard errors)")
    axes.set_ylabel("test t^i x^j: i,j")
    axes.set_title(f"critic {found.verdict}, p = {found.p_value:.3g}")
    axes.legend()
    buffer = io.BytesIO()
    figure.savefig(buffer, format=path.suffix.lower()[1:])
    write_atomically(path, buffer.getvalue())
