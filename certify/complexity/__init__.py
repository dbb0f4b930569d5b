"""How hard a class is to learn: eluder dimension, AGEC, information gain, and the regret certificates that follow from them.

Names load on first use, so that `import certify.complexity` stays light.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from certify.complexity.certificate import RegretCertificate as RegretCertificate
    from certify.complexity.certificate import confidence_radius as confidence_radius
    from certify.complexity.certificate import regret_certificate as regret_certificate
    from certify.complexity.classes import FiniteClass as FiniteClass
    from certify.complexity.classes import model_class as model_class
    from certify.complexity.classes import value_class as value_class
    from certify.complexity.covering import linear_mixture_regret_certificate as linear_mixture_regret_certificate
    from certify.complexity.covering import linear_regret_certificate as linear_regret_certificate
    from certify.complexity.eluder import DimensionBracket as DimensionBracket
    from certify.complexity.eluder import eluder_dimension as eluder_dimension
    from certify.complexity.gain import GainBracket as GainBracket
    from certify.complexity.gain import effective_dimension as effective_dimension
    from certify.complexity.gain import information_gain as information_gain
    from certify.complexity.sequences import AgecNumbers as AgecNumbers
    from certify.complexity.sequences import agec as agec

_HOMES: dict[str, str] = {
    **dict.fromkeys(("AgecNumbers", "agec"), "certify.complexity.sequences"),
    **dict.fromkeys(("RegretCertificate", "confidence_radius", "regret_certificate"), "certify.complexity.certificate"),
    **dict.fromkeys(("linear_mixture_regret_certificate", "linear_regret_certificate"), "certify.complexity.covering"),
    **dict.fromkeys(("FiniteClass", "model_class", "value_class"), "certify.complexity.classes"),
    **dict.fromkeys(("DimensionBracket", "eluder_dimension"), "certify.complexity.eluder"),
    **dict.fromkeys(("GainBracket", "effective_dimension", "information_gain"), "certify.complexity.gain"),
}

__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
