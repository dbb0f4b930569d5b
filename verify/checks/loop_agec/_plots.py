"""Figures that several checks of this paper share."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from verify.check import Sides
from verify.types import Instance

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["BLUE", "GREY", "GREEN", "ORANGE", "RED", "ratio_figure"]

BLUE, ORANGE, GREEN, RED, GREY = "#1f6fb2", "#d9822b", "#2a8f5b", "#b8312f", "#6b7280"


def ratio_figure(
    instances: Callable[[str, int], Iterable[Instance]],
    sides: Sides,
    *,
    title: str,
    label: str,
    parts: tuple[str, ...] = (),
) -> Callable[[Figure], None]:
    """Return a figure function that shows achieved / bound on the quick instances, one colour for each part of the statement."""

    def draw(figure: Figure) -> None:
        axes: Any = figure.subplots()
        rows = []
        for index, instance in enumerate(instances("quick", 1)):
            left, right = sides(instance, 1000 + index)
            a, b = np.broadcast_arrays(np.atleast_1d(np.asarray(left.value, dtype=float)), np.atleast_1d(np.asarray(right.value, dtype=float)))
            with np.errstate(divide="ignore", invalid="ignore"):
                rows.append(np.where((b > 0) & np.isfinite(b), a / b, np.nan))
        width = max(len(r) for r in rows)
        table = np.array([np.pad(r, (0, width - len(r)), constant_values=np.nan) for r in rows])
        colours = (BLUE, ORANGE, GREEN, GREY)
        for part in range(width):
            name = parts[part] if part < len(parts) else None
            axes.plot(table[:, part], "o", markersize=4, color=colours[part % 4], label=name)
        axes.axhline(1.0, color=RED, linewidth=1.2, label="bound")
        axes.set_xlabel("instance")
        axes.set_ylabel(label)
        axes.set_title(title)
        axes.set_ylim(0.0, 1.45)
        axes.legend(loc="upper center", ncols=3, fontsize=8)

    return draw
