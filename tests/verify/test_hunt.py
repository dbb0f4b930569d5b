"""Hunting the whole catalogue: every search space works, refuted statements are found out, true ones stand a short search."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from verify import Verdict
from verify.hunt import hunt
from verify.registry import checks

SEARCHED = [check for check in checks().values() if check.strategy is not None or check.box is not None]


@pytest.mark.parametrize("check", [c for c in SEARCHED if c.strategy is not None], ids=lambda check: check.key)
def test_strategies_draw_instances_that_can_be_written_down(check):
    import json

    @settings(max_examples=5, phases=[Phase.generate], suppress_health_check=list(HealthCheck), database=None)
    @given(check.strategy())
    def draws(instance):
        json.dumps(instance.to_json())

    draws()


@pytest.mark.parametrize("check", [c for c in SEARCHED if c.box is not None], ids=lambda check: check.key)
def test_boxes_name_numbers_of_the_instances(check):
    params = [instance.params for instance in check.instances("quick", 0)]
    for name, (low, high) in check.box.items():
        assert low < high
        assert any(name in p for p in params), name


@pytest.mark.parametrize("check", [c for c in checks().values() if c.expected is Verdict.VIOLATED], ids=lambda check: check.key)
def test_refuted_statements_are_found_out(check):
    found = hunt(check, seconds=50)
    assert found.verdict is Verdict.VIOLATED
    assert found.confirmed


@pytest.mark.slow
@pytest.mark.parametrize("check", [c for c in SEARCHED if c.expected is Verdict.HOLDS], ids=lambda check: check.key)
def test_true_statements_stand_a_search(check):
    assert hunt(check, seconds=8).verdict is not Verdict.VIOLATED
