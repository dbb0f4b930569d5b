"""The two values that everything else speaks of: a paper and a guarantee stated in it."""

from __future__ import annotations

import re
from dataclasses import dataclass

KINDS = ("identity", "inequality", "rate", "algorithm guarantee", "impossibility", "equivalence", "definition")
STATUSES = ("as published", "corrected", "derived", "refuted")
SOURCES = ("quoted", "second-hand", "recalled", "ours")

_PAPER_KEY = re.compile(r"[a-z0-9_]+")
_GUARANTEE_KEY = re.compile(r"[a-z0-9_]+/[A-Za-z0-9.-]+")


@dataclass(frozen=True, slots=True)
class Paper:
    """A publication whose guarantees are in the catalogue.

    Parameters
    ----------
    key : str
        Short name, also the name of its modules: lower-case letters, digits and underscores.
    title : str
        Title as printed.
    authors : str
        Authors, separated by commas.
    year : int
        Year of publication.
    arxiv : str
        Identifier of the preprint, or an empty string.

    Raises
    ------
    ValueError
        If the key has another form or the title is empty.
    """

    key: str
    title: str
    authors: str
    year: int
    arxiv: str = ""

    def __post_init__(self) -> None:
        if not _PAPER_KEY.fullmatch(self.key):
            raise ValueError(f"key must match {_PAPER_KEY.pattern}, got {self.key!r}")
        if not self.title.strip():
            raise ValueError("title must not be empty")

    def bibtex(self) -> str:
        """Return the BibTeX entry of the paper."""
        authors = " and ".join(name.strip() for name in self.authors.split(",") if name.strip())
        eprint = f"  eprint = {{{self.arxiv}}},\n  archivePrefix = {{arXiv}},\n" if self.arxiv else ""
        return f"@article{{{self.key},\n  title = {{{self.title}}},\n  author = {{{authors}}},\n{eprint}  year = {{{self.year}}}\n}}\n"


@dataclass(frozen=True, slots=True)
class Guarantee:
    """One statement of a paper, with how we know it and what became of it.

    Parameters
    ----------
    key : str
        `paper/number`, for instance `policy_smoothing/G2`; a prime becomes a word (`r2pvi/G9-split`).
    paper : Paper
        The paper the statement belongs to; its key is the first half of `key`.
    title : str
        A few words.
    kind : str
        One of `theory.KINDS`.
    statement : str
        The statement in LaTeX: prose with mathematics between dollar signs.
    assumptions : tuple of str
        Everything the statement needs, one sentence each.
    status : str
        One of `theory.STATUSES`: *corrected* and *refuted* need a `note`.
    source : str
        One of `theory.SOURCES`: how the printed form is known.
    note : str
        What differs from the printed form and the instance that shows it.

    Raises
    ------
    ValueError
        If a field is outside the allowed values, naming the field.
    """

    key: str
    paper: Paper
    title: str
    kind: str
    statement: str
    assumptions: tuple[str, ...]
    status: str
    source: str
    note: str = ""

    def __post_init__(self) -> None:
        if not _GUARANTEE_KEY.fullmatch(self.key):
            raise ValueError(f"key must match {_GUARANTEE_KEY.pattern}, got {self.key!r}")
        if self.key.split("/")[0] != self.paper.key:
            raise ValueError(f"key {self.key!r} must begin with the key of its paper, {self.paper.key!r}")
        for name, value, allowed in (("kind", self.kind, KINDS), ("status", self.status, STATUSES), ("source", self.source, SOURCES)):
            if value not in allowed:
                raise ValueError(f"{name} of {self.key} must be one of {', '.join(allowed)}; got {value!r}")
        if not isinstance(self.assumptions, tuple):
            raise ValueError(f"assumptions of {self.key} must be a tuple of sentences, got {type(self.assumptions).__name__}")
        if not self.statement.strip() or not self.title.strip():
            raise ValueError(f"title and statement of {self.key} must not be empty")
        if self.status in ("corrected", "refuted") and not self.note.strip():
            raise ValueError(f"note of {self.key} must say what is wrong with the printed form, because its status is {self.status!r}")

    def bibtex(self) -> str:
        """Return the BibTeX entry of the paper with a note that names the guarantee and its status."""
        entry = self.paper.bibtex().rstrip()
        return f"{entry[:-2]},\n  note = {{Guarantee {self.key.split('/')[1]} ({self.title}): {self.status_line}}}\n}}\n"

    @property
    def status_line(self) -> str:
        """The status with the word on how the printed form is known, as it must be shown beside the statement."""
        return f"{self.status} ({self.source})"
