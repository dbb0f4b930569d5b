"""Checks of the average-reward guarantees: exact layer, confidence sets, complexity measures, algorithms."""

from __future__ import annotations

from verify.checks.loop_agec import dimension, models, radii, regret

__all__ = ["CHECKS"]

_ORDER = ("G1", "G2", "G3", "G4", "G5", "G6", "G7", "G8", "G9", "G10", "G11", "G11-rate", "G12", "G12-printed", "G13", "G14")
_FOUND = {check.key.split("/")[1]: check for module in (models, radii, dimension, regret) for check in module.CHECKS}

CHECKS = tuple(_FOUND[number] for number in _ORDER)
