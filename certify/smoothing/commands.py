"""The verbs of reward certificates: `lemmata certify reward`, `verify`, `plan`, `attack`."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from certify.smoothing import Returns, RewardCertificate

__all__ = ["parse_budgets", "parse_sigma", "parse_until", "register"]

PolicyFile = Annotated[str, typer.Option("--policy", help="SB3 .zip, .npz, .safetensors, .onnx, torch file, module:function, or 'default'.")]
Env = Annotated[str, typer.Option("--env", help="Gymnasium id of the environment.")]
Sigma = Annotated[str, typer.Option(help="Noise scale: a number, or one for each coordinate, separated by commas.")]
Alpha = Annotated[float, typer.Option(help="Failure probability of the certificate.")]
Seed = Annotated[int, typer.Option(help="Seed of the episodes.", min=0)]
Frames = Annotated[int, typer.Option(help="Stacked frames; each new frame is noised once, then stacked.", min=1)]
Trust = Annotated[bool, typer.Option("--trust", help="Allow code in the policy file to run.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]
Jobs = Annotated[int, typer.Option(help="Worker processes.", min=1)]
Normalisation = Annotated[Path | None, typer.Option(help="Observation statistics (VecNormalize) kept outside the policy file.")]


def register(root: typer.Typer, certify: typer.Typer) -> None:
    """Add the verbs to the group `certify`."""
    for function in (reward, verify, plan, attack):
        certify.command(function.__name__)(function)


def parse_budgets(text: str) -> list[float]:
    """Return the budgets that `first:last:step` or a comma-separated list names.

    Raises
    ------
    ValueError
        If the text has another form, the step is not positive, or a budget is negative.
    """
    try:
        if ":" in text:
            first, last, step = (float(part) for part in text.split(":"))
            if not (step > 0 and 0 <= first <= last < float("inf") and (last - first) / step <= 100_000):
                raise ValueError
            count = int((last - first) / step + 1e-9) + 1
            return [round(first + i * step, 12) for i in range(count)]
        budgets = [float(part) for part in text.split(",")]
    except ValueError:
        raise ValueError(f"budgets must be first:last:step with 0 <= first <= last and step > 0, or numbers separated by commas; got {text!r}") from None
    if not all(0 <= b < float("inf") for b in budgets):
        raise ValueError(f"budgets must be finite and not negative, got {text!r}")
    return budgets


def parse_sigma(text: str) -> float | tuple[float, ...]:
    """Return the noise scale, one number or one for each coordinate.

    Raises
    ------
    ValueError
        If a part is no positive finite number.
    """
    try:
        parts = [float(part) for part in text.split(",")]
    except ValueError:
        raise ValueError(f"sigma must be a number or numbers separated by commas, got {text!r}") from None
    if not all(0 < s < float("inf") for s in parts):
        raise ValueError(f"sigma must be positive and finite, got {text!r}")
    return parts[0] if len(parts) == 1 else tuple(parts)


def parse_until(text: str) -> tuple[float, float]:
    """Return target and budget of `TARGET@BUDGET`.

    Raises
    ------
    ValueError
        If the text has another form or the budget is negative.
    """
    try:
        target, budget = (float(part) for part in text.split("@"))
    except ValueError:
        raise ValueError(f"until must be TARGET@BUDGET, for instance 150@0.2; got {text!r}") from None
    if not (0 <= budget < float("inf") and abs(target) < float("inf")):
        raise ValueError(f"until must name a finite target and a budget >= 0, got {text!r}")
    return target, budget


@contextmanager
def _progress(total: int | None, quiet: bool, what: str = "sampling") -> Iterator[Callable[[int, int], None]]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=quiet or not console.is_terminal) as bar:  # a log gets the results alone
        task = bar.add_task(what, total=total)
        yield lambda done, of: bar.update(task, completed=done, total=of)


def _load(policy: str, trust: bool) -> Any:
    from certify.smoothing import default_policy_path, load_policy

    return load_policy(default_policy_path() if policy == "default" else policy, trust=trust)


def _floor(given: float | None, known: float | None, env: str) -> float:
    from certify._validate import require_real

    if given is not None:
        return require_real("floor", given)
    if known is None:
        raise ValueError(f"floor must be given for {env}: a lower bound of the return that holds under attack, not the smallest one seen")
    return known


def _rehearse(
    policy: Any, env: str, setting: dict[str, Any], budgets: list[float], alpha: float, floor: float | None, band: str | None, budget_kind: str
) -> None:
    """Refuse before the sampling what would be refused after it, by certifying a single episode that earned next to nothing."""
    import math

    from certify.smoothing import Returns, certify_curve
    from certify.smoothing.protocols import as_protocol
    from certify.smoothing.sampling import plan_sampling

    _, provenance = plan_sampling(policy, env, **setting)
    lowest = _floor(floor, provenance["floor"], env)
    if band is not None:
        known = provenance["floor"]
        one = Returns([math.ceil(lowest if known is None else max(lowest, known))], **provenance)  # type: ignore[arg-type]
        certify_curve(one, sigma=one.sigma, budgets=budgets, alpha=alpha, floor=lowest, band=band, protocol=as_protocol(budget_kind, one))


def reward(
    policy: PolicyFile,
    env: Env,
    sigma: Sigma,
    budgets: Annotated[str, typer.Option(help="first:last:step (the last included) or numbers separated by commas.")] = "0:1:0.05",
    episodes: Annotated[int, typer.Option(help="Episodes to sample; with --until the most to sample.", min=1)] = 10_000,
    alpha: Alpha = 0.05,
    seed: Seed = 0,
    frames: Frames = 1,
    floor: Annotated[float | None, typer.Option(help="Lower bound of the return under attack; the environment's when it is known.")] = None,
    band: Annotated[str, typer.Option(help="Confidence band: equal-local-level, clopper-pearson, dkw, dkw-one-sided, plugin.")] = "equal-local-level",
    budget_kind: Annotated[str, typer.Option(help="What a budget bounds: total, total-norms, per-step, per-step-prefix, whitened.")] = "total",
    noised: Annotated[str, typer.Option(help="Noise of stacked frames: once, or per-copy.")] = "once",
    average: Annotated[int, typer.Option(help="Noisy evaluations that the policy averages at each step.", min=1)] = 1,
    noise: Annotated[str, typer.Option(help="gaussian, or grid (integer noise without floating-point leaks).")] = "gaussian",
    normalisation: Normalisation = None,
    max_steps: Annotated[int | None, typer.Option(help="Step limit in place of the environment's.", min=1)] = None,
    engine: Annotated[str, typer.Option(help="auto, numba, torch or gymnasium.")] = "auto",
    device: Annotated[str | None, typer.Option(help="cpu or cuda, for the torch engine.")] = None,
    fast: Annotated[bool, typer.Option("--fast", help="Faster sampling that gives up reproducible bytes.")] = False,
    jobs: Jobs = 1,
    dask: Annotated[str | None, typer.Option(help="Address of a Dask scheduler (extra [dask]).")] = None,
    until: Annotated[str | None, typer.Option(help="TARGET@BUDGET: stop as soon as the anytime-valid certificate reaches the target.")] = None,
    ceiling: Annotated[float | None, typer.Option(help="Largest possible return, for --until; twice the target's height when omitted.")] = None,
    store: Annotated[Path | None, typer.Option(help="Crash-safe store of the returns.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue the sampling of an existing store.")] = False,
    out: Annotated[Path | None, typer.Option(help="Write the certificate as JSON.")] = None,
    plot: Annotated[Path | None, typer.Option(help="Draw the curve: .png, .svg or .pdf.")] = None,
    page: Annotated[Path | None, typer.Option(help="Write a one-page HTML certificate.")] = None,
    trust: Trust = False,
    json_: Json = False,
) -> None:
    """Certify the mean return of a policy against an adversary of its observations."""
    from certify._files import require_writable
    from certify.smoothing import certify_curve
    from certify.smoothing.bands import BANDS
    from certify.smoothing.protocols import BUDGET_KINDS, as_protocol

    amounts, scale = parse_budgets(budgets), parse_sigma(sigma)
    require_writable("out", out)
    require_writable("plot", plot, (".png", ".svg", ".pdf"))
    require_writable("page", page, (".html",))
    if not 0 < alpha < 1:
        raise ValueError(f"alpha must be in (0, 1), got {alpha}")
    if band not in BANDS:
        raise ValueError(f"band must be one of {', '.join(BANDS)}; got {band!r}")
    protocols = {"once": "frames-noised-once", "per-copy": "frames-noised-per-copy"}
    if noised not in protocols:
        raise ValueError(f"noised must be once or per-copy, got {noised!r}")
    if budget_kind not in BUDGET_KINDS:
        raise ValueError(f"budget-kind must be one of {', '.join(BUDGET_KINDS)}; got {budget_kind!r}")
    if until is not None and (plot is not None or page is not None):
        raise ValueError("until certifies one budget and draws no curve: leave out --plot and --page")
    if until is not None and budget_kind == "per-step-prefix":
        raise ValueError("until certifies total budgets; for budget-kind 'per-step-prefix' use 'per-step', or a fixed number of episodes")
    if resume and store is None:
        raise ValueError("resume needs --store, the store to continue")
    loaded = _load(policy, trust)
    setting: dict[str, Any] = {
        "sigma": scale, "seed": seed, "frames": frames, "protocol": protocols[noised], "average": average, "noise": noise, "engine": engine, "device": device,
        "fast": fast, "normalisation": normalisation, "max_steps": max_steps,
    }
    play = _sampler(loaded, env, setting, jobs, dask, store, resume)
    _rehearse(loaded, env, setting, amounts, alpha, floor, band if until is None else None, budget_kind)
    if until is not None:
        _reward_until(play, until, episodes, alpha, floor, ceiling, budget_kind, out, json_)
        return
    with _progress(episodes, json_) as progress:
        returns = play(0, episodes, progress)
    rule = as_protocol(budget_kind, returns)
    certificate = certify_curve(returns, sigma=scale, budgets=amounts, alpha=alpha, floor=_floor(floor, returns.floor, env), band=band, protocol=rule)
    _deliver(certificate, out, plot, page)
    _print(certificate, returns, json_)


def _sampler(
    policy: Any, env: str, setting: dict[str, Any], jobs: int, dask: str | None, store: Path | None, resume: bool
) -> Callable[[int, int, Callable[[int, int], None] | None], Returns]:
    """Return a function of (first episode, number of episodes, progress) that samples, into the store when there is one."""
    from dataclasses import replace

    from certify.smoothing import sample_into_store, sample_returns

    if store is not None and store.exists() and not resume:
        raise ValueError(f"store {store} exists already: continue it with --resume, or name another file")

    def play(first: int, count: int, progress: Callable[[int, int], None] | None) -> Returns:
        if store is None:
            return sample_returns(policy, env, episodes=count, first_episode=first, jobs=jobs, dask=dask, progress=progress, **setting)
        whole = sample_into_store(store, policy, env, episodes=first + count, jobs=jobs, dask=dask, progress=progress, **setting)
        return replace(whole, values=whole.values[first:], first_episode=first)

    return play


def _reward_until(
    play: Callable[[int, int, Callable[[int, int], None] | None], Returns], until: str, episodes: int, alpha: float, floor: float | None,
    ceiling: float | None, budget_kind: str, out: Path | None, json_: bool,
) -> None:  # fmt: skip
    """Sample in growing batches until the anytime-valid certificate reaches the target."""
    import numpy as np

    from certify.smoothing.betting import BettingCertificate
    from certify.smoothing.protocols import Protocol, as_protocol, require_same_noise

    target, budget = parse_until(until)
    betting: BettingCertificate | None = None
    rule = Protocol()
    done, batch, total = 0, 256, 0.0
    with _progress(episodes, json_) as progress:
        while done < episodes and not (betting is not None and betting.reached(target)):
            size = min(batch, episodes - done)
            returns = play(done, size, None)
            if betting is None:
                rule = as_protocol(budget_kind, returns)
                shift = rule.shift(np.array([budget]), returns.sigma)
                require_same_noise(returns, returns.sigma, rule, shift)
                betting = _betting(float(shift[0]), target, _floor(floor, returns.floor, returns.env_id), ceiling, alpha, rule.noise_tv)
            betting.add(returns.values)
            total += float(returns.values.sum())
            done += size
            progress(done, episodes)
            batch = min(2 * batch, 16_384)
    assert betting is not None
    facts = {
        "target": target, "budget": budget, "alpha": alpha, "lower": betting.lower, "reached": betting.reached(target), "episodes": done,
        "clean_mean": total / done, "method": "betting, valid at every number of episodes", "floor": betting.floor,
        "assumptions": [*rule.sentences(), f"The return is at least {betting.floor:g} under attack too."],
    }  # fmt: skip
    if out is not None:
        from certify._files import write_atomically

        write_atomically(out, json.dumps(facts, indent=1) + "\n")
    if json_:
        typer.echo(json.dumps(facts))
    else:
        word = "reached" if facts["reached"] else "not reached"
        typer.echo(f"target {target:g} at budget {budget:g} {word}: certified {betting.lower:.4f} after {done} episodes (clean mean {total / done:.4f})")
    raise typer.Exit(0 if facts["reached"] else 3)


def _betting(shift: float, target: float, floor: float, ceiling: float | None, alpha: float, noise_tv: float) -> Any:
    """Return an empty betting certificate; its thresholds are fixed by the target and the range alone, before any data."""
    import numpy as np

    from certify.smoothing.betting import BettingCertificate

    top = ceiling if ceiling is not None else floor + 2.0 * (target - floor)
    if not target > floor or not top > floor:
        raise ValueError(f"until must name a target above the floor {floor:g} and below the ceiling {top:g}, got {target:g}")
    whole = 50 <= top - floor <= 1000
    thresholds = np.arange(floor + 1.0, top + 1.0) if whole else np.linspace(floor, top, 257)[1:]
    return BettingCertificate(shift=shift, thresholds=thresholds, alpha=alpha, floor=floor, noise_tv=noise_tv)


def _deliver(certificate: RewardCertificate, out: Path | None, plot: Path | None, page: Path | None) -> None:
    from certify.smoothing.report import plot_certificate, write_certificate_page

    if out is not None:
        certificate.save(out)
    if plot is not None:
        plot_certificate(certificate, plot)
    if page is not None:
        write_certificate_page(certificate, page)


def _print(certificate: RewardCertificate, returns: Returns, json_: bool) -> None:
    if json_:
        record = certificate.to_json()
        for bulky in ("returns", "counts", "thresholds", "survival_lower", "survival_miss"):
            record.pop(bulky, None)
        typer.echo(json.dumps(record))
        return
    from rich.console import Console
    from rich.table import Table

    title = f"{returns.policy or 'policy'} in {returns.env_id}: {certificate.episodes} episodes, confidence {100 * (1 - certificate.alpha):g} %"
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    for heading in ("budget", "certified mean return", "clean mean"):
        table.add_column(heading, justify="right")
    for amount, lower in zip(certificate.budgets, certificate.lower, strict=True):
        table.add_row(f"{amount:g}", f"{lower:.4f}", f"{certificate.clean_mean:.4f}")
    console = Console()
    console.print(table)
    if not certificate.sound:
        console.print("[bold red]no certificate:[/] the band 'plugin' uses observed frequencies as if they were probabilities")
    for sentence in certificate.assumptions:
        console.print(f"- {sentence}", highlight=False)


def verify(
    certificate: Annotated[Path, typer.Argument(help="Certificate written by 'certify reward'.")],
    policy: Annotated[str | None, typer.Option(help="Where the policy is now, if it has moved.")] = None,
    episodes: Annotated[int, typer.Option(help="Episodes to sample again.", min=0)] = 200,
    normalisation: Normalisation = None,
    jobs: Jobs = 1,
    trust: Trust = False,
    json_: Json = False,
) -> None:
    """Recompute a certificate from its stored returns and sample part of its episodes again."""
    from certify.smoothing._verification import differences, read_certificate, sample_again

    stored, record = read_certificate(certificate)
    odd, gap = differences(stored, record)
    facts: dict[str, Any] = {"recomputed": "different" if odd else "equal", "differences": odd, "largest_difference": gap, "sound": stored.sound}
    with _progress(min(episodes, stored.episodes), json_) as progress:
        facts |= sample_again(stored, episodes, policy=policy, normalisation=normalisation, jobs=jobs, trust=trust, progress=progress)
    good = not odd and facts["resampled"] != "different"
    if json_:
        typer.echo(json.dumps({"certificate": str(certificate), "verified": good, **facts}))
    else:
        why = f"in {', '.join(odd)}" if odd else f"largest difference {gap:g}"
        typer.echo(f"bound recomputed from {stored.episodes} stored returns: {facts['recomputed']} ({why})")
        typer.echo(f"episodes sampled again: {facts['resampled']} ({facts['detail']})")
        if not stored.sound:
            typer.echo("no certificate: the band 'plugin' uses observed frequencies as if they were probabilities")
        alone = "" if facts["resampled"] == "equal" else ": the bound follows from the stored returns, which were not sampled again"
        typer.echo(f"verified{alone}" if good else "NOT verified")
    raise typer.Exit(0 if good else 1)


def plan(
    sigma: Sigma,
    budget: Annotated[float, typer.Option(help="Budget of the adversary.", min=0.0)],
    target: Annotated[float, typer.Option(help="Mean return to certify.")],
    alpha: Alpha = 0.05,
    floor: Annotated[float, typer.Option(help="Lower bound of the return under attack.")] = 0.0,
    ceiling: Annotated[float | None, typer.Option(help="Largest possible return.")] = None,
    band: Annotated[str, typer.Option(help="Band that will certify: clopper-pearson plans for one threshold fixed in advance.")] = "clopper-pearson",
    json_: Json = False,
) -> None:
    """Say what n episodes can prove at best, before anything is sampled."""
    from certify.smoothing.planner import MOST
    from certify.smoothing.planner import plan as make_plan

    found = make_plan(sigma=parse_sigma(sigma), budget=budget, target=target, alpha=alpha, floor=floor, ceiling=ceiling, band=band)
    rows = [
        {"episodes": int(n), "needed": _plain(need), "best": _plain(bound), "radius": _plain(radius)}
        for n, need, bound, radius in zip(found.episodes, found.needed, found.ceiling_bound, found.radius, strict=True)
    ]
    if json_:
        typer.echo(json.dumps({"target": target, "budget": budget, "shift": found.shift, "enough": found.enough, "band": band, "rows": rows}))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for heading in ("episodes", "return needed in every episode", "best certificate", "largest radius to 1/2"):
        table.add_column(heading, justify="right")
    for row in rows:
        table.add_row(*("-" if row[name] is None else f"{row[name]:g}" for name in ("episodes", "needed", "best", "radius")))
    console = Console()
    console.print(table)
    if ceiling is not None:
        limit = f" up to {MOST[band]}" if band in MOST else ""
        said = f"{found.enough} episodes can be enough" if found.enough is not None else f"no number of episodes{limit} is enough"
        console.print(f"target {target:g} at budget {budget:g}: {said} if every return is {ceiling:g}, certified with the band {band}", highlight=False)
        if band == "clopper-pearson":
            console.print("That is one threshold, fixed in advance; the default band of certify reward has all of them: --band equal-local-level", highlight=False)


def _plain(value: float) -> float | None:
    """Return a finite number, else None: JSON knows no others."""
    number = float(value)
    return number if abs(number) < float("inf") else None


def attack(
    policy: PolicyFile,
    env: Env,
    sigma: Sigma,
    budget: Annotated[float, typer.Option(help="Total l2 budget over the episode.", min=0.0)],
    episodes: Annotated[int, typer.Option(help="Attacked episodes.", min=1)] = 1000,
    alpha: Alpha = 0.05,
    seed: Seed = 0,
    frames: Frames = 1,
    generations: Annotated[int, typer.Option(help="Rounds of the search for an adversary; more of them find a stronger one.", min=0)] = 20,
    certificate: Annotated[Path | None, typer.Option(help="Certificate to set beside the attack.")] = None,
    trust: Trust = False,
    json_: Json = False,
) -> None:
    """Attack a policy's observations within a budget: an upper bound beside the certified lower one."""
    from certify.smoothing._verification import read_certificate
    from certify.smoothing.attack import attack as run_attack

    loaded, scale = _load(policy, trust), parse_sigma(sigma)
    lower: dict[str, float] = {}
    if certificate is not None:
        stored, _ = read_certificate(certificate)
        _require_same_game(stored, loaded.sha256, env, scale, frames)
        lower["certified_lower"] = float(stored.evaluate([budget])[0])
    with _progress(None, json_, "searching an adversary") as progress:
        found = run_attack(
            loaded, env, sigma=scale, budget=budget, episodes=episodes, seed=seed, frames=frames, alpha=alpha, generations=generations, progress=progress)
    facts: dict[str, Any] = {**found.to_json(), **lower}
    if json_:
        typer.echo(json.dumps(facts))
    else:
        from rich.console import Console

        for name, value in facts.items():
            Console().print(f"{name}: {value}", highlight=False)


def _require_same_game(stored: RewardCertificate, sha256: str, env: str, sigma: float | tuple[float, ...], frames: int) -> None:
    """Refuse to set a certificate beside the attack on something else."""
    if stored.protocol.budget == "whitened":
        raise ValueError("certificate must be for a budget in units of observation, got one for a whitened budget")
    sampled = stored.provenance or {}
    for name, attacked in (("policy_sha256", sha256), ("env_id", env), ("frames", frames)):
        if sampled.get(name, attacked) != attacked:
            raise ValueError(f"certificate must be for what is attacked, with {name} {attacked!r}, got {sampled[name]!r}")
    if stored.sigma != sigma:
        raise ValueError(f"certificate must be for the noise scale {sigma}, got {stored.sigma}")
