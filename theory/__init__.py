"""What is claimed: papers, their guarantees, and the bounds as pure functions of arrays.

One module a paper, named by its key.  Each such module defines `PAPER` and `GUARANTEES`; `catalogue()` finds them by itself,
and so finds those that other distributions announce under the entry point group `lemmata.guarantees`.
"""

from theory._catalogue import catalogue, paper_modules, papers
from theory._types import KINDS, SOURCES, STATUSES, Guarantee, Paper

__all__ = ["KINDS", "SOURCES", "STATUSES", "Guarantee", "Paper", "catalogue", "paper_modules", "papers"]
