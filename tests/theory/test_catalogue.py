"""Papers and guarantees: the catalogue is a mapping, and what is half-stated is refused."""

from __future__ import annotations

import types

import pytest

import theory
from theory import Guarantee, Paper, _catalogue

PAPER = Paper("a_paper", "A title", "A. One, B. Two", 2026, "1234.56789")
FIELDS = {
    "key": "a_paper/G1", "paper": PAPER, "title": "Something", "kind": "inequality", "statement": "$1 \\le 2$", "assumptions": (), "status": "derived",
    "source": "ours", "note": "",
}


def test_the_catalogue_maps_keys_to_guarantees_and_cannot_be_changed():
    catalogue = theory.catalogue()
    assert {"policy_smoothing", "r2pvi", "dr_rpo", "loop_agec", "martingale_td", "distributional_dp"} <= set(theory.papers())
    for key, guarantee in catalogue.items():
        assert guarantee.key == key
        assert guarantee.paper is theory.papers()[key.split("/")[0]]
    with pytest.raises(TypeError):
        catalogue["x"] = None


def test_keys_of_the_first_paper_are_there():
    assert {f"policy_smoothing/{k}" for k in ("G2", "G3", "G4", "G5", "G6", "G8a", "G8b", "G8c")} <= set(theory.catalogue())


def test_statements_have_balanced_mathematics():
    for guarantee in theory.catalogue().values():
        for text in (guarantee.statement, guarantee.note, *guarantee.assumptions):
            assert text.count("$") % 2 == 0, guarantee.key


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"key": "G1"}, "key must match"),
        ({"key": "A/G 1"}, "key must match"),
        ({"key": "other/G1"}, "must begin with the key of its paper"),
        ({"kind": "theorem"}, "kind of a_paper/G1 must be one of"),
        ({"status": "true"}, "status"),
        ({"source": "rumour"}, "source"),
        ({"assumptions": ["a list"]}, "tuple"),
        ({"statement": " "}, "empty"),
        ({"title": ""}, "empty"),
        ({"status": "refuted"}, "note"),
        ({"status": "corrected"}, "note"),
    ],
)
def test_half_stated_guarantees_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        Guarantee(**{**FIELDS, **change})


@pytest.mark.parametrize("change", [{"key": "A paper"}, {"key": ""}, {"title": "  "}])
def test_papers_without_a_name_are_refused(change):
    with pytest.raises(ValueError, match=r"key|title"):
        Paper(**{"key": "a", "title": "t", "authors": "x", "year": 2026, **change})


def test_bibtex_names_authors_preprint_and_guarantee():
    text = PAPER.bibtex()
    assert "A. One and B. Two" in text
    assert "1234.56789" in text
    assert "eprint" not in Paper("a", "t", "x", 2026).bibtex()
    assert "Guarantee G1 (Something): derived (ours)" in Guarantee(**FIELDS).bibtex()


def test_modules_that_contradict_each_other_are_refused(monkeypatch):
    guarantee = Guarantee(**FIELDS)
    one = types.SimpleNamespace(__name__="one", PAPER=PAPER, GUARANTEES=(guarantee, guarantee))
    monkeypatch.setattr(_catalogue, "paper_modules", lambda: {"a_paper": one})
    with pytest.raises(ValueError, match="stated twice"):
        _catalogue.catalogue.__wrapped__()
    monkeypatch.setattr(_catalogue, "paper_modules", lambda: {"b_paper": one})
    with pytest.raises(ValueError, match="belongs to another paper"):
        _catalogue.catalogue.__wrapped__()
