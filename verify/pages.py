"""The pages of the report as text: pure functions from results to HTML."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from importlib import resources
from typing import TYPE_CHECKING, Any

from theory import Paper, papers

if TYPE_CHECKING:
    from verify.check import Check
    from verify.runner import Result, Run

__all__ = ["certificate_page", "mathematics", "overview_page", "paper_page", "stylesheet"]

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="style.css">
</head>
<body>
<header><a href="index.html">Lemmata</a><span>{subtitle}</span></header>
<main>
{body}
</main>
</body>
</html>
"""


def stylesheet() -> str:
    """Return the style sheet: readable on a phone and in dark mode."""
    return resources.files("verify").joinpath("style.css").read_text()


def mathematics(text: str) -> str:
    """Return prose with LaTeX between dollar signs as HTML with MathML."""
    from latex2mathml.converter import convert

    parts = re.split(r"(\$\$.+?\$\$|\$.+?\$)", text, flags=re.DOTALL)
    done = []
    for part in parts:
        if part.startswith("$"):
            display = "block" if part.startswith("$$") else "inline"
            done.append(convert(part.strip("$"), display=display))
        else:
            done.append(html.escape(part))
    return "".join(done)


def _badge(verdict: Any) -> str:
    return f'<span class="badge {verdict}">{verdict}</span>'


def _number(value: float | None, digits: int = 4) -> str:
    return "&ndash;" if value is None else f"{value:.{digits}g}"


def _page(title: str, subtitle: str, body: str) -> str:
    return _PAGE.format(title=html.escape(title), subtitle=html.escape(subtitle), body=body)


def overview_page(run: Run, certificate: Mapping[str, Any] | None, origin: Mapping[str, str]) -> str:
    """Return the first page: what was run, every verdict, the certificate, and where the numbers come from."""
    good = sum(r.as_expected for r in run.results.values())
    body = [
        "<h1>What is claimed, and whether it holds</h1>",
        f"<p>{good} of {len(run.results)} guarantees came out as expected at the {html.escape(run.budget)} budget. A <em>refuted</em> statement is "
        "expected to be violated; every check also ran its controls, broken variants that it must tell apart.</p>",
        f"<p>Failure probability spent by all sampled checks together: {run.failure_spent:.3g}. "
        f"Checked in {run.seconds:.0f} s, seed {run.seed}.</p>",
    ]
    if certificate is not None:
        body.append(_certificate_summary(certificate))
    for key in dict.fromkeys(k.split("/")[0] for k in run.results):
        paper = papers()[key]
        body.append(f'<h2><a href="{key}.html">{html.escape(paper.title)}</a></h2><p class="soft">{html.escape(paper.authors)}, {paper.year}</p>')
        body.append(_table({k: r for k, r in run.results.items() if k.split("/")[0] == key}))
    rows = "".join(f"<dt>{html.escape(k)}</dt><dd>{html.escape(v)}</dd>" for k, v in origin.items())
    body.append(
        f'<h2>Provenance</h2><dl>{rows}</dl><p><a href="results.csv">results.csv</a> &middot; <a href="references.bib">references.bib</a></p>'
        f"<pre>lemmata report --budget {html.escape(run.budget)} --seed {run.seed}</pre>"
    )
    return _page("Lemmata report", "report", "\n".join(body))


def _table(results: Mapping[str, Result]) -> str:
    import theory

    rows = []
    for key, r in results.items():
        g = theory.catalogue()[key]
        passed = sum(c.passed for c in r.controls.values())
        odd = "" if r.as_expected else ' class="odd"'
        rows.append(
            f'<tr{odd}><td><a href="{key.split("/")[0]}.html#{key.split("/")[1]}">{html.escape(key.split("/")[1])}</a></td><td>{html.escape(g.title)}</td>'
            f'<td>{html.escape(g.status_line)}</td><td>{_badge(r.verdict)}</td><td class="n">{_number(r.tightness)}</td>'
            f'<td class="n">{passed}/{len(r.controls)}</td><td class="n">{r.instances}</td></tr>'
        )
    return (
        '<div class="scroll"><table><thead><tr><th>key</th><th>guarantee</th><th>status</th><th>verdict</th><th class="n">tightness</th>'
        '<th class="n">controls</th><th class="n">instances</th></tr></thead><tbody>' + "".join(rows) + "</tbody></table></div>"
    )


def paper_page(paper: Paper, mine: Mapping[str, Check], results: Mapping[str, Result], *, budget: str, seed: int) -> str:
    """Return the page of one paper: each guarantee with statement, assumptions, status, verdict, controls, figure and command."""
    link = f' arXiv <a href="https://arxiv.org/abs/{paper.arxiv}">{paper.arxiv}</a>.' if paper.arxiv else ""
    body = [f"<h1>{html.escape(paper.title)}</h1><p>{html.escape(paper.authors)}, {paper.year}.{link}</p>", _table(results)]
    body += [_guarantee(check, results[key], budget, seed) for key, check in mine.items()]
    body.append(f"<h2>BibTeX</h2><pre>{html.escape(paper.bibtex())}</pre>")
    return _page(paper.title, paper.key, "\n".join(body))


def _guarantee(check: Check, result: Result, budget: str, seed: int) -> str:
    g = check.guarantee
    name = g.key.split("/")[1]
    assumptions = "".join(f"<li>{mathematics(a)}</li>" for a in g.assumptions)
    controls = "".join(
        f"<tr><td>{html.escape(n)}</td><td>{_badge(c.verdict)}</td><td>{'as required' if c.passed else f'must be {c.required}'}</td></tr>"
        for n, c in result.controls.items()
    )
    worst = result.worst()
    example = "" if worst is None else (
        f"<dt>nearest instance</dt><dd>{html.escape(str(getattr(worst.instance, 'name', worst.instance)))}: {_sides(worst)}</dd>"
    )
    spent = f"<dt>failure probability</dt><dd>{result.alpha:.3g}</dd>" if result.alpha else ""
    note = f"<p><strong>Note.</strong> {mathematics(g.note)}</p>" if g.note else ""
    error = f"<pre>{html.escape(result.error)}</pre>" if result.error else ""
    command = f"lemmata check {g.key} --budget {budget} --seed {seed}\nlemmata plot {g.key}"
    return f"""<section class="guarantee" id="{html.escape(name)}">
<h3>{html.escape(name)}: {html.escape(g.title)} {_badge(result.verdict)}</h3>
<p class="soft">{html.escape(g.kind)}, {html.escape(g.status_line)}; expected: {result.expected}</p>
<p>{mathematics(g.statement)}</p>
{note}
<details><summary>Assumptions</summary><ul>{assumptions or "<li>none</li>"}</ul></details>
{error}
<dl><dt>test</dt><dd>{html.escape(check.statement_of_test) or "both sides computed on every instance"}</dd>
<dt>instances</dt><dd>{result.instances}</dd>
<dt>tightness</dt><dd>{_number(result.tightness, 6)}</dd>
<dt>rejects from</dt><dd>{"&ndash;" if result.sensitivity is None else f"bound scaled by {result.sensitivity:.6g}"}</dd>{example}{spent}
<dt>time</dt><dd>{result.seconds:.2f} s</dd></dl>
<div class="scroll"><table><thead><tr><th>control</th><th>verdict</th><th></th></tr></thead><tbody>{controls}</tbody></table></div>
<figure><img src="figures/{html.escape(g.key.replace("/", "-"))}.svg" alt="{html.escape(g.title)}" loading="lazy">
<figcaption>{html.escape(g.title)}</figcaption></figure>
<details><summary>Reproduce</summary><pre>{html.escape(command)}</pre></details>
</section>"""


def _sides(comparison: Any) -> str:
    def text(estimate: Any) -> str:
        if getattr(estimate.value, "size", 1) != 1:
            return f"an array of {estimate.value.size} values"
        number, low, high = (float(getattr(x, "flat", (x,))[0]) for x in (estimate.value, estimate.lower, estimate.upper))
        return f"{number:.10g}" if low == high else f"{number:.6g} in [{low:.6g}, {high:.6g}]"

    return f"left {text(comparison.left)}, right {text(comparison.right)}"


def _certificate_summary(c: Mapping[str, Any]) -> str:
    return (
        '<h2><a href="certificate.html">Certificate of the shipped CartPole policy</a></h2>'
        f'<figure><img src="figures/certificate.svg" alt="certified mean return against budget"><figcaption>Certified mean return against the '
        f"adversary's budget, confidence {100 * (1 - float(c['alpha'])):g} %.</figcaption></figure>"
    )


def certificate_page(c: Mapping[str, Any]) -> str:
    """Return the page of the certificate of the shipped policy."""
    rows = "".join(f'<tr><td class="n">{float(b):.2f}</td><td class="n">{float(low):.3f}</td></tr>' for b, low in zip(c["budgets"], c["lower"], strict=True))
    assumptions = "".join(f"<li>{html.escape(str(a))}</li>" for a in c.get("assumptions", ()))
    return _page(
        "Certificate",
        "certificate",
        f"""<h1>Certified mean return of the shipped CartPole policy</h1>
<figure><img src="figures/certificate.svg" alt="certified mean return against budget"></figure>
<ul>{assumptions}</ul>
<div class="scroll"><table><thead><tr><th class="n">budget</th><th class="n">certified mean return</th></tr></thead><tbody>{rows}</tbody></table></div>
<p><a href="certificate.json">certificate.json</a></p>
<pre>lemmata certify verify certificate.json</pre>""",
    )
