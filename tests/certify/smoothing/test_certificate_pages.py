"""The page and the picture of a certificate: standalone, complete or absent, honest about what is no certificate."""

from __future__ import annotations

import re

import numpy as np
import pytest

from certify.smoothing import certify_curve
from certify.smoothing.report import _shown, plot_certificate, write_certificate_page


@pytest.fixture
def certificate():
    returns = np.random.default_rng(0).integers(0, 200, 500).astype(float)
    return certify_curve(returns, sigma=0.2, budgets=np.linspace(0, 1, 11))


@pytest.mark.parametrize(("name", "start"), [("a.png", b"\x89PNG"), ("a.svg", b"<?xml"), ("a.pdf", b"%PDF")])
def test_pictures(certificate, tmp_path, name, start):
    plot_certificate(certificate, tmp_path / name)
    assert (tmp_path / name).read_bytes().startswith(start)


def test_page_is_standalone_and_says_what_it_rests_on(certificate, tmp_path):
    write_certificate_page(certificate, tmp_path / "a.html")
    page = (tmp_path / "a.html").read_text(encoding="utf-8")
    assert not re.search(r"(src|href)=\"(?!data:)", page)
    for sentence in certificate.assumptions:
        assert sentence.split(",")[0] in page
    assert page.count("<tr><td>") == 11


def test_plugin_is_announced_as_no_certificate(tmp_path):
    write_certificate_page(certify_curve([1.0, 2.0], sigma=0.2, budgets=[0.0], band="plugin"), tmp_path / "a.html")
    assert "No certificate" in (tmp_path / "a.html").read_text(encoding="utf-8")


def test_provenance_cannot_inject_markup(tmp_path):
    from certify.smoothing.returns import Returns

    returns = Returns(np.ones(20), policy="<script>alert(1)</script>", sigma=0.2)
    write_certificate_page(certify_curve(returns, sigma=0.2, budgets=[0.1]), tmp_path / "a.html")
    assert "<script>" not in (tmp_path / "a.html").read_text(encoding="utf-8")


def test_printed_bounds_are_never_rounded_up(certificate):
    assert np.all(_shown(certificate) <= certificate.lower)
    for shown, low in zip(_shown(certificate), certificate.lower, strict=True):
        assert float(f"{shown:.6g}") <= low


def test_nothing_half_written(certificate, tmp_path):
    with pytest.raises(OSError):
        write_certificate_page(certificate, tmp_path / "missing" / "a.html")
    with pytest.raises(OSError):
        plot_certificate(certificate, tmp_path / "missing" / "a.png")
    with pytest.raises(ValueError, match="must end in"):
        plot_certificate(certificate, tmp_path / "a.exe")
    assert list(tmp_path.iterdir()) == []
