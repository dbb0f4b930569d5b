"""The verb `lemmata simulate`: run a learning algorithm and draw its regret."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

if TYPE_CHECKING:
    from verify.simulators import RegretRun

__all__ = ["register"]

FORMATS = (".png", ".svg", ".pdf")
NAMED = "auto"
"""Stands for a picture that takes its name from the run."""


class _BarePlot(TyperCommand):
    """A command whose option --plot may come without a file, which Typer cannot declare."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Give a bare --plot its file."""
        full: list[str] = []
        for place, argument in enumerate(args):
            full.append(argument)
            if argument == "--plot" and (place + 1 == len(args) or args[place + 1].startswith("-")):
                full.append(NAMED)
        return list(super().parse_args(ctx, full))


def register(root: typer.Typer, certify: typer.Typer) -> None:
    """Add the verb to the root command."""
    root.command("simulate", cls=_BarePlot)(simulate)


def simulate(
    algorithm: Annotated[str, typer.Argument(help="ucrl2, loop, mle-loop, ucrl2-vtr or olsvi-fh.")],
    instance: Annotated[
        str | None, typer.Option(help="river-swim:6, hard:3,10,0.06, gamble:4, two-loops or random:5,3,0; one that fits the algorithm when omitted.")
    ] = None,
    steps: Annotated[str, typer.Option(help="Number of steps, for instance 1e6.")] = "1e5",
    seeds: Annotated[int, typer.Option(help="Number of independent replicates.")] = 8,
    seed: Annotated[int, typer.Option(help="Root of the random streams; same seed, same result.")] = 0,
    delta: Annotated[float, typer.Option(help="Failure probability of the confidence set.")] = 0.05,
    jobs: Annotated[int | None, typer.Option(help="Threads; all cores when omitted.")] = None,
    option: Annotated[list[str] | None, typer.Option("--set", help="NAME=VALUE: an option of the algorithm, for instance beta_scale=0.1.")] = None,
    plot: Annotated[Path | None, typer.Option(help="Draw regret, band and bound: .png, .svg or .pdf; without a file, ALGORITHM_INSTANCE.png here.")] = None,
    out: Annotated[Path | None, typer.Option(help="Write all replicates as JSON.")] = None,
    json_: Annotated[bool, typer.Option("--json", help="Print JSON for machines.")] = False,
) -> None:
    """Run a learning algorithm on an average-reward instance and show its regret."""
    from rich.progress import Progress

    from verify.records import write_atomically
    from verify.simulators import parse_instance, theoretical_bound
    from verify.simulators import simulate as run_simulation
    from verify.simulators.dispatch import algorithm_name

    name = algorithm_name(algorithm)
    if instance is None:
        instance = "hard:3,10,0.06" if name in ("loop", "mle-loop", "ucrl2-vtr") else "river-swim:6"
    if plot == Path(NAMED):
        plot = Path(re.sub(r"[^\w.]+", "-", f"{name}_{instance}").strip("-") + ".png")
    for kind, path in (("plot", plot), ("out", out)):
        if path is not None and not path.resolve().parent.is_dir():
            raise ValueError(f"{kind} must be a file in an existing folder, got {path}")
    if plot is not None and plot.suffix.lower() not in FORMATS:
        raise ValueError(f"plot must end in one of {', '.join(FORMATS)}; got {plot}")
    target = parse_instance(instance, algorithm=name)
    with Progress(transient=True, disable=json_) as progress:
        task = progress.add_task(f"{name} on {instance}", total=None)
        try:
            run = run_simulation(
                target, algorithm=name, steps=_whole("steps", steps), seeds=seeds, seed=seed, delta=delta, jobs=jobs,
                progress=lambda done, total: progress.update(task, completed=done, total=total), **_options(option or []),
            )  # fmt: skip
        except TypeError as error:
            raise ValueError(str(error)) from None
    bound = theoretical_bound(target, name, run.checkpoints, delta=delta, options=run.options)
    if out is not None:
        write_atomically(out, run.to_json() + "\n")
    if plot is not None:
        write_atomically(plot, _draw(run, instance, bound, plot.suffix.lower()[1:]))
    if json_:
        typer.echo(json.dumps(_facts(run, instance, bound)))
    else:
        _table(run, instance, bound)
        if plot is not None:
            typer.echo(f"picture: {plot}")


def _whole(name: str, text: str) -> int:
    try:
        value = float(text)
        if value.is_integer() and value >= 1:
            return int(value)
    except (ValueError, OverflowError):
        pass
    raise ValueError(f"{name} must be an integer >= 1, got {text!r}")


def _options(pairs: list[str]) -> dict[str, Any]:
    """Read NAME=VALUE pairs: numbers, true and false, or words."""
    from verify.simulators.dispatch import SHARED

    found: dict[str, Any] = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals or not name.isidentifier():
            raise ValueError(f"set must have the form NAME=VALUE, got {pair!r}")
        if name in (*SHARED, "algorithm", "instance"):
            raise ValueError(f"set must name an option of the algorithm alone, got {pair!r}; the others have a flag of their own")
        try:
            value: Any = json.loads(text)
        except (ValueError, RecursionError):
            value = text
        found[name.replace("-", "_")] = value
    return found


def _facts(run: RegretRun, instance: str, bound: tuple[Any, str] | None) -> dict[str, Any]:
    import numpy as np

    low, high = run.band()
    several = len(run.seeds) > 1
    facts: dict[str, Any] = {
        "algorithm": run.algorithm,
        "instance": instance,
        "gain": run.gain,
        "seeds": len(run.seeds),
        "seed": run.seed,
        "checkpoints": run.checkpoints.tolist(),
        "mean": run.mean.tolist(),
        "lower": low.tolist() if several else None,
        "upper": high.tolist() if several else None,
        "switches": run.switches.mean(axis=0).tolist(),
        "bound": None if bound is None else [float(b) if np.isfinite(b) else None for b in bound[0]],
        "bound_name": None if bound is None else bound[1],
    }
    if "confidence_event" in run.diagnostics:
        facts["confidence_event"] = float(run.diagnostics["confidence_event"].mean())
    return facts


def _table(run: RegretRun, instance: str, bound: tuple[Any, str] | None) -> None:
    import numpy as np
    from rich.console import Console
    from rich.table import Table

    console = Console()
    console.print(f"[bold]{run.algorithm}[/] on {instance} ({run.instance}), optimal gain {run.gain:.10g}, {len(run.seeds)} replicates", highlight=False)
    table = Table(box=None, pad_edge=False)
    for heading in ("steps", "mean regret", "95% band", "switches", "bound"):
        table.add_column(heading, justify="right")
    low, high = run.band()
    shown = [i for i, t in enumerate(run.checkpoints) if np.log10(t).is_integer() or i == len(run.checkpoints) - 1 or str(t).startswith("3")]
    for i in shown:
        limits = f"{low[i]:.1f} .. {high[i]:.1f}" if len(run.seeds) > 1 else "-"
        top = "-" if bound is None else f"{bound[0][i]:.4g}"
        table.add_row(f"{run.checkpoints[i]}", f"{run.mean[i]:.1f}", limits, f"{run.switches[:, i].mean():.1f}", top)
    console.print(table)
    if bound is not None:
        console.print(f"bound: {bound[1]}", highlight=False, markup=False)
    if "confidence_event" in run.diagnostics:
        held = run.diagnostics["confidence_event"]
        console.print(f"the truth stayed in the confidence set in {int(held.sum())} of {len(held)} replicates", highlight=False)


def _draw(run: RegretRun, instance: str, bound: tuple[Any, str] | None, kind: str) -> bytes:
    import io

    import matplotlib as mpl
    import numpy as np
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    from verify.figures import STYLE

    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(7.2, 4.2), dpi=150)
        FigureCanvasAgg(figure)
        axes = figure.subplots()
        t, (low, high) = run.checkpoints, run.band()
        for row in run.regret:
            axes.plot(t, np.maximum(row, 1.0), color="#1f6fb2", linewidth=0.5, alpha=0.35)
        axes.plot(t, np.maximum(run.mean, 1.0), color="#1f6fb2", linewidth=2.0, label=f"{run.algorithm}, mean of {len(run.seeds)}")
        if len(run.seeds) > 1:
            axes.fill_between(t, np.maximum(low, 1.0), np.maximum(high, 1.0), color="#1f6fb2", alpha=0.25, label="95% band of the mean")
        if bound is not None:
            axes.plot(t, bound[0], color="#b8312f", label=bound[1])
        axes.plot(t, np.maximum(run.gain * t, 1.0), ":", color="#6b7280", label="$J^* T$")
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xlabel("steps")
        axes.set_ylabel("regret")
        axes.set_title(f"{run.algorithm} on {instance}")
        axes.legend(fontsize=8)
        buffer = io.BytesIO()
        figure.savefig(buffer, format=kind, metadata={"Date": None} if kind == "svg" else {"CreationDate": None} if kind == "pdf" else None)
    return buffer.getvalue()
