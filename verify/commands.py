"""The verbs of the core: list, show, check, plot, report, hunt, diff, export, cache."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console
    from rich.table import Table

    from verify.runner import Result, Run

__all__ = ["register"]

Json = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]
Budget = Annotated[str, typer.Option(help="quick or full.")]
Jobs = Annotated[int, typer.Option(help="Worker processes on this machine.", min=1)]
Seed = Annotated[int, typer.Option(help="Seed of the run; same seed, same result.", min=0)]
Dask = Annotated[str | None, typer.Option(help="Address of a Dask scheduler (extra [dask]).")]

MARK = {"holds": "[green]holds[/]", "violated": "[red]violated[/]", "inconclusive": "[yellow]inconclusive[/]", "powerless": "[bold red]powerless[/]"}


def register(root: typer.Typer, certify: typer.Typer) -> None:
    """Add the core verbs to the root command."""
    for function in (list_, show, check, plot, report, hunt, diff, export):
        root.command(function.__name__.rstrip("_"))(function)
    cache = typer.Typer(help="What can be computed again: compiled kernels and constants.", no_args_is_help=True)
    cache.command("clear")(cache_clear)
    cache.command("path")(cache_path)
    root.add_typer(cache, name="cache")


def list_(json_: Json = False) -> None:
    """List the papers and their guarantees."""
    import theory
    from verify.registry import checks

    known = checks()
    rows = [
        {"key": g.key, "title": g.title, "kind": g.kind, "status": g.status_line, "seconds": known[g.key].cost["quick"] if g.key in known else None}
        for g in theory.catalogue().values()
    ]
    if json_:
        typer.echo(json.dumps(rows, indent=1))
        return
    for key, paper in theory.papers().items():
        mine = [row for row in rows if str(row["key"]).startswith(f"{key}/")]
        table = _table(("key", "guarantee", "status"), [str(row["key"]) for row in mine])
        table.title, table.title_justify = f"{paper.title} ({paper.authors.split(',')[0]} et al. {paper.year})", "left"
        for row in mine:
            table.add_row(str(row["key"]), str(row["title"]), str(row["status"]))
        console = _console()
        console.print(table)
        console.print()


def show(
    key: Annotated[str, typer.Argument(help="Key of a guarantee.")],
    bibtex: Annotated[bool, typer.Option("--bibtex", help="Print the BibTeX entry to cite for it, and nothing else.")] = False,
    json_: Json = False,
) -> None:
    """Show one guarantee: statement, assumptions, status, how it is checked, and the last words on it."""
    from verify.registry import check_of

    chosen = check_of(key)
    g = chosen.guarantee
    if bibtex:
        typer.echo(g.bibtex(), nl=False)
        return
    facts: dict[str, Any] = {
        "key": g.key, "title": g.title, "paper": f"{g.paper.authors} ({g.paper.year}). {g.paper.title}. arXiv {g.paper.arxiv}", "kind": g.kind,
        "status": g.status_line, "statement": g.statement, "assumptions": list(g.assumptions), "note": g.note,
        "test": chosen.statement_of_test, "claim": _claim_text(chosen), "expected": str(chosen.expected), "alpha": chosen.alpha,
        "controls": {c.name: f"must be {c.required}" for c in chosen.controls},
        "reproduce": f"lemmata check {g.key}; lemmata plot {g.key}",
    }
    if json_:
        typer.echo(json.dumps(facts, indent=1))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for name, value in facts.items():
        if value not in ("", [], {}):
            text = "\n".join(f"- {k}: {v}" for k, v in value.items()) if isinstance(value, dict) else value
            table.add_row(name, "\n".join(f"- {v}" for v in text) if isinstance(text, list) else str(text))
    Console(markup=False).print(table)


def _claim_text(chosen: Any) -> str:
    claim = chosen.claim
    slack = f", slack {claim.slack.absolute:g} + {claim.slack.relative:g} |right|" if claim.slack.absolute or claim.slack.relative else ""
    alternative = f", alternative {claim.alternative:g} x right excluded" if claim.alternative is not None else ""
    return f"left {claim.relation} right on {claim.quantifier} instance(s){slack}{alternative}"


def check(
    keys: Annotated[list[str] | None, typer.Argument(help="Keys of guarantees or papers; all when omitted.")] = None,
    budget: Budget = "quick",
    jobs: Jobs = 1,
    seed: Seed = 0,
    out: Annotated[Path | None, typer.Option(help="Folder of the record; the same folder continues an interrupted run.")] = None,
    instance: Annotated[Path | None, typer.Option(help="Replay one instance from a file (one key only).")] = None,
    csv: Annotated[Path | None, typer.Option(help="Also write the results as CSV.")] = None,
    dask: Dask = None,
    json_: Json = False,
) -> None:
    """Check guarantees and print their verdicts."""
    from certify._files import require_writable
    from verify import runner
    from verify.records import write_atomically

    require_writable("csv", csv)
    if instance is not None:
        found = _replay(keys or [], instance, budget, seed)
    else:
        found = _run_with_progress(keys or None, budget=budget, jobs=jobs, seed=seed, out=out, dask=dask, quiet=json_)
    if csv is not None:
        write_atomically(csv, found.to_dataframe().to_csv(index=False))
    if json_:
        typer.echo(json.dumps({"results": found.rows(), "failure_spent": found.failure_spent, "digest": found.digest}, indent=1))
    else:
        print_run(found)
    assert isinstance(found, runner.Run)
    raise typer.Exit(found.exit_status)


def _replay(keys: list[str], path: Path, budget: str, seed: int) -> Run:
    from types import MappingProxyType

    from verify.hunt import load_instance
    from verify.registry import check_of
    from verify.runner import Run, run_check

    stored_key, instance = load_instance(path)
    if len(keys) > 1 or (keys and keys[0] != stored_key):
        raise ValueError(f"keys must be {stored_key!r} alone, the key stored in {path}; got {keys}")
    result = run_check(check_of(stored_key), budget=budget, seed=seed, instances=[instance])
    return Run(MappingProxyType({stored_key: result}), budget, seed, result.seconds)


def _run_with_progress(keys: list[str] | None, *, budget: str, jobs: int, seed: int, out: Path | None, dask: str | None, quiet: bool) -> Run:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    from verify.check import BUDGETS
    from verify.registry import checks, select
    from verify.runner import run

    selected = select(keys)
    if budget not in BUDGETS:
        raise ValueError(f"budget must be one of {', '.join(BUDGETS)}; got {budget!r}")
    costs = {key: checks()[key].cost[budget] for key in selected}
    console = Console(stderr=True)
    with Progress(TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[done]}/{task.fields[total_checks]}"),
                  TimeElapsedColumn(), console=console, disable=quiet or not console.is_terminal) as bar:
        task = bar.add_task("checking", total=sum(costs.values()), done=0, total_checks=len(selected))
        finished = 0

        def progress(key: str, result: Result | None) -> None:
            nonlocal finished
            if result is None:
                bar.update(task, description=f"checking {key}")
                return
            finished += 1
            bar.update(task, advance=costs[key], done=finished)
            if not result.as_expected:
                bar.console.print(f"{key}: {MARK[str(result.verdict)]} (expected {result.expected}) {result.error.splitlines()[0] if result.error else ''}")

        return run(list(selected), budget=budget, seed=seed, jobs=jobs, out=out, dask=dask, progress=progress)


def print_run(found: Run) -> None:
    """Print a run as a table with a closing line on the failure probability it spent."""
    headings = ("guarantee", "verdict", "tightness", "rejects from", "controls", "instances", "seconds")
    table = _table(headings, list(found.results), right=("tightness", "rejects from", "instances", "seconds"))
    for r in found.results.values():
        passed = sum(c.passed for c in r.controls.values())
        wanted = f" (expected {r.expected})" if r.verdict != r.expected else " (expected)" if str(r.expected) != "holds" else ""
        table.add_row(
            r.key, MARK[str(r.verdict)] + wanted, "-" if r.tightness is None else f"{r.tightness:.4f}",
            "-" if r.sensitivity is None else f"x {r.sensitivity:.4g}", f"{passed}/{len(r.controls)}", str(r.instances), f"{r.seconds:.2f}",
        )
    console = _console()
    console.print(table)
    for r in found.results.values():
        if r.error:
            console.print(f"[red]{r.key}[/] failed: {r.error}")
    good = sum(r.as_expected for r in found.results.values())
    console.print(f"{good} of {len(found.results)} as expected in {found.seconds:.1f} s; failure probability spent in total: {found.failure_spent:.3g}")


def _console() -> Console:
    """Return a console as wide as the terminal, or wide enough for every table where the output goes to a file."""
    from rich.console import Console

    found = Console()
    return found if found.is_terminal else Console(width=max(found.width, 140))


def _table(headings: Sequence[str], keys: Sequence[str], *, right: Sequence[str] = ()) -> Table:
    """Return an empty table whose first column is never cut, however narrow the terminal: a key is there to be copied."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for i, heading in enumerate(headings):
        table.add_column(heading, justify="right" if heading in right else "left", no_wrap=i == 0, overflow="fold",
                         min_width=max(map(len, keys), default=0) if i == 0 else None)
    return table


def plot(
    key: Annotated[str, typer.Argument(help="Key of a guarantee.")],
    out: Annotated[Path | None, typer.Option(help="File: .png, .svg or .pdf; KEY.png in this folder when omitted.")] = None,
) -> None:
    """Draw the figure of a guarantee."""
    from verify.figures import draw
    from verify.registry import check_of

    chosen = check_of(key)
    target = out or Path(f"{key.replace('/', '-')}.png")
    draw(chosen, target)
    typer.echo(str(target))


def report(
    out: Annotated[Path, typer.Option(help="Folder of the report.")] = Path("lemmata-report"),
    budget: Budget = "quick",
    jobs: Annotated[int | None, typer.Option(help="Worker processes; the number of cores when omitted.", min=1)] = None,
    seed: Seed = 0,
    keys: Annotated[list[str] | None, typer.Option("--key", help="Only these papers or guarantees; may be repeated.")] = None,
    certificate: Annotated[bool, typer.Option(help="Certify the shipped policy.")] = True,
    open_: Annotated[bool, typer.Option("--open", help="Open the report in a browser.")] = False,
) -> None:
    """Check the catalogue, certify the shipped policy, draw every figure and write a static HTML report."""
    from verify.report import build_report

    found = build_report(out, keys=keys or None, budget=budget, jobs=jobs, seed=seed, certificate=certificate, runner=_run_with_progress)
    print_run(found)
    index = out / "index.html"
    typer.echo(f"report: {index}")
    if open_:
        typer.launch(str(index.resolve()))
    raise typer.Exit(found.exit_status)


def hunt(
    key: Annotated[str, typer.Argument(help="Key of a guarantee.")],
    seconds: Annotated[float, typer.Option(help="How long to search.", min=1.0)] = 60.0,
    seed: Seed = 0,
    out: Annotated[Path | None, typer.Option(help="File of the best instance; KEY.instance.json in this folder when omitted.")] = None,
    json_: Json = False,
) -> None:
    """Search for the tightest instance of a guarantee, or for a counterexample."""
    from rich.console import Console

    from certify._files import require_writable
    from verify.hunt import hunt as search
    from verify.hunt import save_instance
    from verify.registry import check_of
    from verify.types import Verdict

    chosen = check_of(key)
    target = out or Path(f"{key.replace('/', '-')}.instance.json")
    require_writable("out", target)
    console = Console(stderr=True)
    best = search(chosen, seconds=seconds, seed=seed, progress=None if json_ else lambda text: console.print(text, highlight=False))
    save_instance(target, key, best.instance)
    facts = {"key": key, "verdict": str(best.verdict), "ratio": best.ratio, "evaluations": best.evaluations, "confirmed": best.confirmed, "file": str(target)}
    if json_:
        typer.echo(json.dumps(facts))
    else:
        console.print(
            f"{key}: best ratio {best.ratio:.6g} after {best.evaluations} instances, {MARK[str(best.verdict)]}"
            f"{' (confirmed on fresh seeds)' if best.confirmed else ''}; replay: lemmata check {key} --instance {target}"
        )
    unexpected = best.verdict is Verdict.VIOLATED and chosen.expected is not Verdict.VIOLATED
    raise typer.Exit(1 if unexpected else 0)


def diff(run_a: Path, run_b: Path, json_: Json = False) -> None:
    """Show what changed between two recorded runs."""
    from verify.diff import compare_runs

    rows = compare_runs(run_a, run_b)
    if json_:
        typer.echo(json.dumps(rows, indent=1))
        return
    table = _table(("guarantee", "what", "in A", "in B"), [row["key"] for row in rows])
    for row in rows:
        table.add_row(row["key"], row["field"], str(row["a"]), str(row["b"]))
    _console().print(table if rows else "no difference")


def export(
    key: Annotated[str, typer.Argument(help="Key of a guarantee.")],
    out: Annotated[Path | None, typer.Option(help="File; KEY.exact.json in this folder when omitted.")] = None,
    budget: Budget = "quick",
    seed: Seed = 0,
) -> None:
    """Write the finished comparisons of a guarantee as exact rationals with the inequality to check."""
    from certify._files import require_writable
    from verify.exact_check import export_comparisons
    from verify.records import write_atomically
    from verify.registry import check_of
    from verify.runner import run_check

    target = out or Path(f"{key.replace('/', '-')}.exact.json")
    require_writable("out", target)
    result = run_check(check_of(key), budget=budget, seed=seed)
    write_atomically(target, json.dumps(export_comparisons(result), indent=1) + "\n")
    typer.echo(f"{target}: check it with 'python -m verify.exact_check {target}'")


def cache_path() -> None:
    """Print the folder of the cache."""
    from mdps.jit import cache_root

    typer.echo(str(cache_root()))


def cache_clear() -> None:
    """Delete compiled kernels and cached constants."""
    import shutil

    from mdps.jit import cache_root

    folder = cache_root()
    if folder.exists():
        shutil.rmtree(folder)
    typer.echo(f"cleared {folder}")
