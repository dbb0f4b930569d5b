"""The record that passes from the engine to the certificates."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from certify.smoothing import Normalisation, Returns, load_normalisation


@given(values=st.lists(st.floats(-1e300, 1e300), min_size=1, max_size=20), sigma=st.one_of(st.floats(1e-3, 1e3), st.tuples(st.floats(0.1, 1), st.floats(0.1, 1))),
       seed=st.one_of(st.none(), st.integers(0, 2**64 - 1)))  # fmt: skip
def test_json_keeps_every_bit(values: list[float], sigma: Any, seed: int | None) -> None:
    returns = Returns(np.array(values), sigma=sigma, seed=seed, env_id="CartPole-v1", floor=min(values), first_episode=7)
    again = Returns.from_json(json.loads(json.dumps(returns.to_json())))
    assert again == returns
    assert again.values.tobytes() == returns.values.tobytes()
    assert hash(again) == hash(returns)


BAD = [
    ({"values": []}, "non-empty"), ({"values": [[1.0]]}, "non-empty vector"), ({"values": [1.0, math.nan]}, "position 1"), ({"values": [math.inf]}, "finite"),
    ({"sigma": 0.0}, "sigma"), ({"sigma": (0.1, -1.0)}, "sigma"), ({"sigma": ()}, "sigma"), ({"frames": 0}, "frames"), ({"average": 0}, "average"),
    ({"first_episode": -1}, "first_episode"), ({"protocol": "x"}, "protocol"), ({"noise": "x"}, "noise"), ({"floor": 2.0}, "floor"), ({"floor": math.nan}, "floor"),
    ({"seed": "x"}, "seed must be an integer"), ({"seed": -1}, "seed must be"), ({"max_steps": 2.5}, "max_steps must be an integer"), ({"env_id": [1]}, "env_id must be text"),
    ({"policy": None}, "policy must be text"), ({"noise_tv": math.nan}, "noise_tv must be"), ({"noise_tv": 1.5}, "noise_tv must be in"), ({"grid": 0.0}, "grid must be"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "message"), BAD)
def test_bad_fields_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Returns(**{"values": [1.0, 3.0], **change})


@pytest.mark.parametrize(("record", "message"), [([], "must be an object"), ({"sigma": 1.0}, "'values'"), ({"values": [1.0], "colour": 1}, "colour"),
                                                 ({"values": [1.0], "frames": "two"}, "frames must be an integer >= 1, got 'two'"), ({"values": [1.0], "floor": "low"}, "wrong type"), ({"values": ["a"]}, "could not convert")])  # fmt: skip
def test_bad_records_are_refused(record: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Returns.from_json(record)


def test_only_the_next_episodes_of_the_same_stream_join() -> None:
    first = Returns([1.0, 2.0], seed=3, env_id="CartPole-v1")
    assert len(first.joined(Returns([3.0], seed=3, env_id="CartPole-v1", first_episode=2))) == 3
    for other, message in ((Returns([3.0], seed=4, env_id="CartPole-v1", first_episode=2), "seed"), (Returns([3.0], seed=3, env_id="CartPole-v1"), "first_episode"),
                           (Returns([3.0], seed=3, env_id="CartPole-v0", first_episode=2), "env_id")):  # fmt: skip
        with pytest.raises(ValueError, match=f"different {message}"):
            first.joined(other)


def test_values_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="read-only"):
        Returns([1.0]).values[0] = 2.0


def test_normalisation_files(tmp_path: Any) -> None:
    path = tmp_path / "stats.json"
    path.write_text(json.dumps({"mean": [0.0, 1.0], "variance": [1.0, 4.0], "clip": 5.0}))
    assert load_normalisation(path).clip == 5.0
    for text, message in (("{}", "mean"), ("[1]", "mean"), ('{"mean": [1], "variance": [1, 2]}', "one length"), ('{"mean": [NaN], "variance": [1]}', "finite"),
                          ("\x80\x04pickle", "not a pickle"), ('{"mean": [0], "variance": [1], "extra": 1}', "fields"), ("[" * 9999, "JSON")):  # fmt: skip
        path.write_text(text)
        with pytest.raises(ValueError, match=message):
            load_normalisation(path)


@pytest.mark.parametrize("change", [{"variance": np.array([-1.0])}, {"clip": 0.0}, {"mean": np.array([])}])
def test_normalisation_refuses_what_it_cannot_divide_by(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="normalisation"):
        Normalisation(**{"mean": np.zeros(1), "variance": np.ones(1), **change})
