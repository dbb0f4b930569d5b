"""Drawing the figure of a check to a file, in one style, without a display."""

from __future__ import annotations

import io
from pathlib import Path

from certify._files import require_writable
from verify.check import Check
from verify.records import write_atomically

__all__ = ["FORMATS", "draw", "render"]

FORMATS = ("png", "svg", "pdf")

STYLE = {
    "axes.grid": True, "grid.alpha": 0.3, "axes.spines.top": False, "axes.spines.right": False, "font.size": 10, "axes.titlesize": 11,
    "legend.frameon": False, "svg.fonttype": "path", "svg.hashsalt": "lemmata", "figure.constrained_layout.use": True,
}


def render(check: Check, kind: str) -> bytes:
    """Return the figure of a check as the bytes of a file.

    Parameters
    ----------
    check : Check
        Whose figure to draw.
    kind : str
        One of `FORMATS`.

    Raises
    ------
    ValueError
        If the format is unknown.
    """
    if kind not in FORMATS:
        raise ValueError(f"figure format must be one of {', '.join(FORMATS)}; got {kind!r}")
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(7.2, 4.2), dpi=150)
        FigureCanvasAgg(figure)
        check.figure(figure)
        buffer = io.BytesIO()
        metadata = {"Date": None} if kind == "svg" else {"CreationDate": None} if kind == "pdf" else None
        figure.savefig(buffer, format=kind, metadata=metadata)
    return buffer.getvalue()


def draw(check: Check, path: str | Path) -> None:
    """Draw the figure of a check to a file; the ending of its name chooses the format.

    Raises
    ------
    ValueError
        If the ending is not one of `FORMATS`.
    OSError
        If the file cannot be written; nothing is left behind.
    """
    target = Path(path)
    kind = target.suffix.lstrip(".").lower()
    if kind not in FORMATS:
        raise ValueError(f"out must end in one of .{', .'.join(FORMATS)}; got {target.name!r}")
    require_writable("out", target)
    write_atomically(target, render(check, kind))
