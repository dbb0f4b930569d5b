"""The static report: an overview, a page for each paper, a certificate of the shipped policy; no network, no framework.

Every part is kept as soon as it is finished (results in the record of the run, figures and the certificate as files named by a hash
of the sources), so that an interrupted report continues where it stopped.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import theory
from verify.check import Check
from verify.figures import render
from verify.pages import certificate_page, overview_page, paper_page, stylesheet
from verify.records import make_folder, provenance, write_atomically
from verify.registry import checks, select

if TYPE_CHECKING:
    from verify.runner import Run

__all__ = ["CERTIFICATE", "build_report"]

CERTIFICATE: dict[str, Any] = {"env_id": "CartPole-v1", "sigma": 0.2, "episodes": 2000, "alpha": 0.05, "seed": 0}
"""What the report certifies about the shipped policy."""


def build_report(
    out: str | Path,
    *,
    keys: Iterable[str] | None = None,
    budget: str = "quick",
    jobs: int | None = None,
    seed: int = 0,
    certificate: bool = True,
    runner: Callable[..., Run],
) -> Run:
    """Run the checks, draw the figures, certify the shipped policy and write the pages.

    Parameters
    ----------
    out : path
        Folder of the report, created if needed; a report of the same sources, budget and seed is continued.
    keys : iterable of str, optional
        Papers or guarantees; the whole catalogue when omitted.
    budget : str
        "quick" or "full".
    jobs : int, optional
        Worker processes; the number of cores when omitted.
    seed : int
        Seed of the checks.
    certificate : bool
        Whether to certify the shipped policy.
    runner : callable
        `runner(keys, budget=, jobs=, seed=, out=, dask=, quiet=)` runs the checks and shows progress.

    Returns
    -------
    Run
        The results shown in the report.

    Raises
    ------
    ValueError
        If a key is unknown or `out` cannot be written to.
    """
    from mdps.jit import source_hash

    folder = Path(out)
    selected = list(select(list(keys) if keys is not None else None))
    workers = jobs or os.cpu_count() or 1
    make_folder("out", folder)
    work = folder / "work" / source_hash()
    work.mkdir(parents=True, exist_ok=True)
    (folder / "figures").mkdir(exist_ok=True)
    found = runner(selected, budget=budget, jobs=workers, seed=seed, out=work / f"run-{budget}-{seed}", dask=None, quiet=False)
    _draw_all([checks()[key] for key in selected], work, folder / "figures", workers)
    facts = _certify_shipped(work, folder) if certificate else None
    write_atomically(folder / "style.css", stylesheet())
    for key, paper in theory.papers().items():
        mine = {k: found.results[k] for k in selected if k.split("/")[0] == key}
        if mine:
            write_atomically(folder / f"{key}.html", paper_page(paper, {k: checks()[k] for k in mine}, mine, budget=budget, seed=seed))
    if facts is not None:
        write_atomically(folder / "certificate.html", certificate_page(facts))
    write_atomically(folder / "index.html", overview_page(found, facts, provenance()))
    write_atomically(folder / "results.csv", found.to_dataframe().to_csv(index=False))
    write_atomically(folder / "references.bib", "\n".join(theory.papers()[k].bibtex() for k in dict.fromkeys(key.split("/")[0] for key in selected)))
    return found


def figure_name(key: str) -> str:
    """Return the file name of the figure of a guarantee."""
    return f"{key.replace('/', '-')}.svg"


def _draw_one(key: str, path: str) -> str:
    write_atomically(path, render(checks()[key], "svg"))
    return key


def _draw_all(wanted: list[Check], work: Path, target: Path, workers: int) -> None:
    """Draw the figures that are missing and copy all of them beside the pages."""
    import joblib
    from rich.console import Console
    from rich.progress import track

    drawn = work / "figures"
    drawn.mkdir(exist_ok=True)
    missing = [check.key for check in wanted if not (drawn / figure_name(check.key)).exists()]
    tasks = (joblib.delayed(_draw_one)(key, str(drawn / figure_name(key))) for key in missing)
    pool = joblib.Parallel(n_jobs=min(workers, max(1, len(missing))), return_as="generator_unordered")
    for _ in track(pool(tasks), description="drawing", total=len(missing), console=Console(stderr=True), disable=not missing):
        pass
    for check in wanted:
        write_atomically(target / figure_name(check.key), (drawn / figure_name(check.key)).read_bytes())


def _certify_shipped(work: Path, folder: Path) -> dict[str, Any]:
    """Certify the shipped policy, or read the certificate that an earlier run of the same sources left."""
    from rich.console import Console

    stored = work / "certificate.json"
    if not stored.exists():
        import numpy as np

        from certify.smoothing import certify_curve, default_policy_path, load_policy, plot_certificate, sample_returns

        with Console(stderr=True).status("certifying the shipped CartPole policy"):
            policy = load_policy(default_policy_path())
            setting = {name: CERTIFICATE[name] for name in ("sigma", "episodes", "seed")}
            returns = sample_returns(policy, CERTIFICATE["env_id"], **setting)
            found = certify_curve(returns, sigma=CERTIFICATE["sigma"], budgets=np.linspace(0.0, 1.0, 21), alpha=CERTIFICATE["alpha"])
            plot_certificate(found, work / "certificate.svg")
            found.save(stored)
    write_atomically(folder / "certificate.json", stored.read_bytes())
    write_atomically(folder / "figures" / "certificate.svg", (work / "certificate.svg").read_bytes())
    facts: dict[str, Any] = json.loads(stored.read_text())
    return facts
