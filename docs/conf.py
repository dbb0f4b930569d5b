"""Configuration of the documentation: `sphinx-build docs docs/_build`."""

from __future__ import annotations

from pathlib import Path

project = "Lemmata"
author = "The Lemmata authors"
extensions = ["sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.mathjax", "myst_parser"]
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}
myst_enable_extensions = ["dollarmath"]
exclude_patterns = ["_build", "images"]
napoleon_google_docstring = False
autodoc_typehints = "none"
html_theme = "furo"

ROOMS = (
    "theory", "mdps", "mdps.families", "mdps.robust", "mdps.exact", "certify.smoothing", "certify.robust", "certify.complexity", "certify.martingale",
    "certify.returns", "verify", "verify.strategies", "verify.testing", "verify.simulators",
)


def write_catalogue(folder: Path) -> None:
    """Write the page of the catalogue from the guarantees themselves."""
    import theory

    lines = ["# The catalogue\n"]
    for key, paper in theory.papers().items():
        lines.append(f"## {paper.title}\n\n{paper.authors}, {paper.year}, arXiv {paper.arxiv or 'none'}; key `{key}`.\n")
        for g in theory.catalogue().values():
            if g.paper.key == key:
                note = f"\n\n*{g.note}*" if g.note else ""
                lines.append(f"### `{g.key}` {g.title}\n\n{g.kind}; {g.status_line}.\n\n{g.statement}{note}\n")
    (folder / "catalogue.md").write_text("\n".join(lines))


def write_api(folder: Path) -> None:
    """Write the page of the public names of every room."""
    import importlib

    lines = ["# The public names\n"]
    for room in ROOMS:
        try:
            module = importlib.import_module(room)
        except ModuleNotFoundError:
            continue
        names = [name for name in getattr(module, "__all__", ()) if callable(getattr(module, name))]
        directives = "\n".join(f".. autofunction:: {name}" if not isinstance(getattr(module, name), type) else f".. autoclass:: {name}" for name in names)
        lines.append(f"## {room}\n\n```{{eval-rst}}\n.. currentmodule:: {room}\n\n{directives}\n```\n")
    (folder / "api.md").write_text("\n".join(lines))


def keep_bars(app: object, what: str, name: str, obj: object, options: object, lines: list[str]) -> None:
    """Keep absolute values and sizes of sets in docstrings from being read as substitutions."""
    lines[:] = [line.replace("|", "\\|") for line in lines]


def setup(app: object) -> None:
    """Generate the two pages that come from the sources."""
    app.connect("autodoc-process-docstring", keep_bars)  # type: ignore[attr-defined]
    here = Path(__file__).parent
    write_catalogue(here)
    write_api(here)
