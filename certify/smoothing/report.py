"""A reward certificate for a person to read: a figure, and one standalone HTML page.

Source: policy_smoothing, G5 and G8.
"""

from __future__ import annotations

import base64
import html
import io
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from certify._files import write_atomically

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from certify.smoothing.certificates import RewardCertificate

__all__ = ["plot_certificate", "write_certificate_page"]

_BLUE, _ORANGE, _GREY = "#1f5fa8", "#d9742b", "#777777"

_NOT_COVERED = (
    "attacks on anything but the observations: rewards, dynamics, actions, the policy's memory or its weights",
    "an adversary that sees the noise of a step before it perturbs that step, or a budget that holds on average only",
    "another policy, noise scale, environment, stack of frames or number format than the ones sampled",
    "a single episode: the bound is on the mean return over episodes",
    "rounding of observation plus noise in floating point, unless the noise was drawn on an integer grid",
)


def plot_certificate(certificate: RewardCertificate, path: str | os.PathLike[str] | Figure) -> None:
    """Draw the certified curve and the histogram of the sampled returns.

    Parameters
    ----------
    certificate : RewardCertificate
        What to draw.
    path : path or matplotlib Figure
        An image file to write (its ending names the format; it appears complete or not at all), or an empty figure to draw on.

    Raises
    ------
    OSError
        If the file cannot be written.
    ValueError
        If the ending names no image format.

    Source: policy_smoothing, G5.

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> from certify.smoothing.certificates import certify_curve
    >>> figure = Figure()
    >>> plot_certificate(certify_curve([10.0] * 50, sigma=1.0, budgets=[0.0, 1.0]), figure)
    >>> len(figure.axes)
    2
    """
    from matplotlib.figure import Figure

    if isinstance(path, Figure):
        _draw(certificate, path)
        return
    target = Path(path)
    ending = target.suffix.lstrip(".").lower() or "png"
    if ending not in ("png", "svg", "pdf"):
        raise ValueError(f"path of a plot must end in .png, .svg or .pdf, got {target.name!r}")
    write_atomically(target, _image(certificate, ending))


def write_certificate_page(certificate: RewardCertificate, path: str | os.PathLike[str]) -> None:
    """Write one HTML page with the curve, the numbers, the assumptions in words, and what is not covered.

    Parameters
    ----------
    certificate : RewardCertificate
        What to show.
    path : path
        File to write; it needs nothing else and appears complete or not at all.

    Raises
    ------
    OSError
        If the file cannot be written.

    Source: policy_smoothing, G5.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> from certify.smoothing.certificates import certify_curve
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     target = pathlib.Path(folder) / "certificate.html"
    ...     write_certificate_page(certify_curve([10.0] * 50, sigma=1.0, budgets=[0.0, 1.0]), target)
    ...     "What it does not cover" in target.read_text(encoding="utf-8")
    True
    """
    picture = base64.b64encode(_image(certificate, "png")).decode()
    rows = "".join(
        f"<tr><td>{b:g}</td><td>{low:.6g}</td><td>{value:.6g}</td></tr>"
        for b, low, value in zip(certificate.budgets, _shown(certificate), certificate.value, strict=True)
    )
    settings = "".join(f"<tr><th>{html.escape(name)}</th><td>{html.escape(text)}</td></tr>" for name, text in _settings(certificate))
    title = "Reward certificate" if certificate.sound else "No certificate: observed frequencies only"
    page = f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title><style>
body {{ font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #222; background: #fff; }}
h1 {{ font-size: 1.5rem; margin-bottom: .2rem; }} h2 {{ font-size: 1.1rem; margin-top: 1.6rem; }}
table {{ border-collapse: collapse; }} td, th {{ padding: .15rem .8rem .15rem 0; text-align: left; font-weight: normal; vertical-align: top; }}
table.numbers td, table.numbers th {{ text-align: right; border-bottom: 1px solid #ddd; padding: .15rem .8rem; }}
.settings th {{ color: #666; }} img {{ max-width: 100%; }} .warning {{ color: #a33; }}
</style></head><body>
<h1{"" if certificate.sound else ' class="warning"'}>{title}</h1>
<p>{html.escape(_sentence(certificate))}</p>
<img alt="Certified mean return over the budget, and histogram of the sampled returns" src="data:image/png;base64,{picture}">
<h2>Numbers</h2>
<table class="numbers"><tr><th>budget</th><th>certified mean return</th><th>at observed frequencies</th></tr>{rows}</table>
<h2>What it rests on</h2><ul>{_bullets(certificate.assumptions)}</ul>
<h2>What it does not cover</h2><ul>{_bullets(_NOT_COVERED)}</ul>
<h2>Settings</h2><table class="settings">{settings}</table>
</body></html>
"""
    write_atomically(Path(path), page.encode("utf-8"))


def _sentence(certificate: RewardCertificate) -> str:
    if not certificate.sound:
        return "The curve uses observed frequencies in place of confidence limits and proves nothing."
    middle = certificate.budgets.size // 2
    return (
        f"With confidence {1.0 - certificate.alpha:g}, for all budgets at once, the mean return under any adaptive attack on the observations stays above "
        f"the curve: for a budget of {certificate.budgets[middle]:g} it is at least {_shown(certificate)[middle]:.6g}. "
        f"Without attack the {certificate.episodes} sampled episodes had the mean {certificate.clean_mean:.6g}."
    )


def _shown(certificate: RewardCertificate) -> Any:
    """Return the bounds rounded down to six digits, so that print does not round them up."""
    with np.errstate(divide="ignore"):
        scale = 10.0 ** np.clip(5 - np.floor(np.log10(np.maximum(np.abs(certificate.lower), 1e-12))), 0, 15)
    return np.floor(certificate.lower * scale) / scale


def _settings(certificate: RewardCertificate) -> list[tuple[str, str]]:
    rows = [
        ("noise scale", str(certificate.sigma)),
        ("failure probability", f"{certificate.alpha:g}"),
        ("lower limit of the return", f"{certificate.floor:g}"),
        ("confidence band", certificate.band),
        ("level of each limit", f"{certificate.level:.6g}"),
        ("thresholds", f"{certificate.thresholds.size}, {'the observed returns' if certificate.observed_thresholds else 'fixed in advance'}"),
        ("episodes", str(certificate.episodes)),
    ]
    return rows + [(name, str(value)) for name, value in (certificate.provenance or {}).items() if value not in ("", None)]


def _bullets(sentences: tuple[str, ...]) -> str:
    return "".join(f"<li>{html.escape(sentence)}</li>" for sentence in sentences)


def _draw(certificate: RewardCertificate, figure: Figure) -> None:
    left, right = figure.subplots(1, 2, width_ratios=(3, 2))
    if certificate.sound:
        left.plot(certificate.budgets, certificate.lower, color=_BLUE, label=f"certified, confidence {1 - certificate.alpha:g}")
    left.plot(certificate.budgets, certificate.value, color=_GREY, ls=":", label="at observed frequencies (no certificate)")
    left.axhline(certificate.clean_mean, color=_ORANGE, ls="--", lw=1, label="sampled mean without attack")
    left.set_xlabel("budget of the adversary")
    left.set_ylabel("mean return")
    left.set_title("Certified mean return" if certificate.sound else "Observed frequencies: no certificate", fontsize=10)
    left.set_ylim(bottom=certificate.floor)
    left.grid(alpha=0.25)
    left.legend(fontsize=8)
    right.hist(certificate.returns, bins=40, color=_BLUE, alpha=0.8)
    right.set_yscale("log")
    right.set_xlabel("return without attack")
    right.set_ylabel("episodes")
    right.set_title(f"{certificate.episodes} sampled episodes", fontsize=10)
    right.grid(alpha=0.25)


def _image(certificate: RewardCertificate, ending: str) -> bytes:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.5, 3.8), layout="constrained")
    _draw(certificate, figure)
    buffer = io.BytesIO()
    figure.savefig(buffer, format=ending, dpi=110, metadata={"Date": None} if ending == "svg" else None)
    return buffer.getvalue()
