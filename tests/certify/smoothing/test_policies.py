"""Policy files of every kind, against their libraries where those are installed."""

from __future__ import annotations

import json
import struct
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from certify.smoothing import CallablePolicy, Head, MlpPolicy, default_policy_path, load_policy
from certify.smoothing._flat import write_npz


def plain_forward(policy: MlpPolicy, x: np.ndarray) -> np.ndarray:
    """The slow twin: one number at a time."""
    rows = []
    for row in np.asarray(x, float):
        h = list(row)
        for k, (w, b) in enumerate(zip(policy.weights, policy.biases, strict=True)):
            h = [float(b[j]) + sum(float(h[i]) * float(w[i, j]) for i in range(len(h))) for j in range(len(b))]
            if k + 1 < len(policy.weights):
                h = [np.tanh(v) if policy.activation == "tanh" else max(v, 0.0) for v in h]
        rows.append(h)
    return np.array(rows)


def test_the_shipped_policy_is_small_and_reads_four_numbers() -> None:
    path = default_policy_path()
    policy = load_policy(path)
    assert path.stat().st_size < 8000
    assert (policy.inputs, policy.outputs, policy.activation) == (4, 2, "tanh")
    assert len(policy.sha256) == 64


def test_sb3_weights_activation_and_head(sb3_zip: Any, files: Any) -> None:
    tensors = files.ppo_tensors()
    policy = load_policy(sb3_zip())
    assert policy.activation == "tanh"
    np.testing.assert_array_equal(policy.weights[0], tensors["mlp_extractor.policy_net.0.weight"].T)
    x = np.random.default_rng(1).normal(size=(20, 4)).astype(np.float32)
    np.testing.assert_allclose(policy.scores(x), plain_forward(policy, x), rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize(("name", "activation"), [("ReLU", "relu"), ("Tanh", "tanh")])
def test_sb3_activation_is_read_from_the_json(sb3_zip: Any, files: Any, name: str, activation: str) -> None:
    text = f"<class 'torch.nn.modules.activation.{name}'>"
    assert load_policy(sb3_zip(data=files.sb3_data(policy_kwargs={"activation_fn": text}))).activation == activation


def families(files: Any) -> dict[str, tuple[dict[str, np.ndarray], str, bool]]:
    t = files.ppo_tensors(outputs=2)
    w = [t[f"{name}.{part}"] for name in ("mlp_extractor.policy_net.0", "mlp_extractor.policy_net.2", "action_net") for part in ("weight", "bias")]
    names = {
        "dqn": [f"q_net.q_net.{k}.{p}" for k in (0, 2, 4) for p in ("weight", "bias")],
        "td3": [f"actor.mu.{k}.{p}" for k in (0, 2, 4) for p in ("weight", "bias")],
        "sac": [f"actor.{k}.{p}" for k in ("latent_pi.0", "latent_pi.2", "mu") for p in ("weight", "bias")],
    }
    return {family: (dict(zip(keys, w, strict=True)), "relu", family != "dqn") for family, keys in names.items()}


@pytest.mark.parametrize("family", ["dqn", "td3", "sac"])
def test_sb3_families_default_to_relu_and_actors_squash(sb3_zip: Any, files: Any, family: str) -> None:
    tensors, activation, actor = families(files)[family]
    box = {":type:": "<class 'gymnasium.spaces.box.Box'>", "_shape": [2], "low": "[-2. -1.]", "high": "[2. 1.]"}
    data = files.sb3_data(**({"action_space": box} if actor else {}))
    policy = load_policy(sb3_zip(data=data, policy=files.state_dict(tensors)))
    assert (policy.activation, policy.head.squash) == (activation, actor)
    if actor:
        x = np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32)
        np.testing.assert_allclose(policy.act(x), np.array([2.0, 1.0]) * np.tanh(plain_forward(policy, x)), atol=1e-5)


REFUSED = [
    ({"observation_space": {":type:": "<class 'gymnasium.spaces.dict.Dict'>"}}, "Dict observations"),
    ({"observation_space": {":type:": "<class 'gymnasium.spaces.discrete.Discrete'>"}}, "only Box"),
    ({"policy_class": {"__module__": "sb3_contrib.common.recurrent.policies"}}, "recurrent"),
    ({"policy_class": {"__module__": "my.own.policies"}}, "not one of Stable-Baselines3"),
    ({"policy_kwargs": {"activation_fn": "<class 'torch.nn.modules.activation.ELU'>"}}, "tanh and ReLU"),
    ({"action_space": {":type:": "<class 'gymnasium.spaces.multi_discrete.MultiDiscrete'>"}}, "Discrete and Box"),
    ({"action_space": {":type:": "<class 'gymnasium.spaces.box.Box'>", "_shape": [2], "low": "[nan 0.]", "high": "[1. 1.]"}}, "bounds"),
    ({"action_space": {":type:": "<class 'gymnasium.spaces.discrete.Discrete'>", "n": "7"}}, "7 actions"),
    ({"action_space": None}, "no action_space"),
]


@pytest.mark.parametrize(("change", "message"), REFUSED)
def test_sb3_policies_that_cannot_be_rebuilt_are_refused(sb3_zip: Any, files: Any, change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load_policy(sb3_zip(data=files.sb3_data(**change)))


@pytest.mark.parametrize(("key", "message"), [("lstm_actor.weight_ih_l0", "recurrent"), ("features_extractor.extractors.a.weight", "Dict"),
                                              ("pi_features_extractor.own.weight", "features extractor")])  # fmt: skip
def test_sb3_tensors_that_cannot_be_rebuilt_are_refused(sb3_zip: Any, files: Any, key: str, message: str) -> None:
    tensors = {**files.ppo_tensors(), key: np.zeros((2, 2), np.float32)}
    with pytest.raises(ValueError, match=message):
        load_policy(sb3_zip(policy=files.state_dict(tensors)))


@given(hidden=st.lists(st.integers(1, 9), max_size=3), outputs=st.integers(1, 10), activation=st.sampled_from(["tanh", "relu"]), seed=st.integers(0, 99))
def test_npz_round_trip(tmp_path_factory: pytest.TempPathFactory, hidden: list[int], outputs: int, activation: str, seed: int) -> None:
    rng, widths = np.random.default_rng(seed), [3, *hidden, outputs]
    policy = MlpPolicy(
        tuple(rng.normal(size=pair) for pair in pairwise(widths)), tuple(rng.normal(size=n) for n in widths[1:]),
        activation, Head("box", (-1.0,) * outputs, (2.0,) * outputs, squash=True),
    )  # fmt: skip
    path = tmp_path_factory.mktemp("npz") / "policy.npz"
    write_npz(policy, path)
    again = load_policy(path)
    x = rng.normal(size=(6, 3))
    np.testing.assert_array_equal(again.act(x), policy.act(x))
    np.testing.assert_allclose(again.scores(x), plain_forward(policy, x), rtol=1e-10, atol=1e-12)


def test_npz_keeps_the_number_of_the_first_action(tmp_path: Path) -> None:
    policy = MlpPolicy((np.eye(3),), (np.zeros(3),), "tanh", Head("argmax", start=5))
    write_npz(policy, tmp_path / "policy.npz")
    assert load_policy(tmp_path / "policy.npz").act(np.eye(3)).tolist() == policy.act(np.eye(3)).tolist() == [5, 6, 7]


def test_safetensors_agree_with_npz(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    arrays = {"W0": rng.normal(size=(4, 5)), "b0": rng.normal(size=5), "W1": rng.normal(size=(5, 2)), "b1": rng.normal(size=2)}
    np.savez(tmp_path / "p.npz", activation="relu", **arrays)
    header, body = {"__metadata__": {"activation": "relu"}}, b""
    for name, a in arrays.items():
        header[name] = {"dtype": "F64", "shape": list(a.shape), "data_offsets": [len(body), len(body) + a.nbytes]}
        body += a.tobytes()
    raw = json.dumps(header).encode()
    (tmp_path / "p.safetensors").write_bytes(struct.pack("<Q", len(raw)) + raw + body)
    x = rng.normal(size=(7, 4))
    np.testing.assert_array_equal(load_policy(tmp_path / "p.npz").scores(x), load_policy(tmp_path / "p.safetensors").scores(x))


def test_safetensors_of_the_library_are_read(tmp_path: Path) -> None:
    library = pytest.importorskip("safetensors.numpy", reason="needs the extra [safetensors]")
    arrays = {"W0": np.eye(4, 2, dtype=np.float32), "b0": np.zeros(2, np.float32)}
    library.save_file(arrays, tmp_path / "p.safetensors")
    np.testing.assert_array_equal(load_policy(tmp_path / "p.safetensors").weights[0], arrays["W0"])


def test_a_function_is_named_by_module_and_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_policies.py").write_text("import numpy as np\ndef right(x):\n    return np.ones(len(x), int)\nnumber = 3\n")
    monkeypatch.syspath_prepend(tmp_path)
    policy = load_policy("my_policies:right")
    assert policy.act(np.zeros((3, 4))).tolist() == [1, 1, 1]
    assert len(policy.sha256) == 64
    for bad, message in (("my_policies:wrong", "no function"), ("no_such_module_here:f", "no function"), ("my_policies:number", "must name a function")):
        with pytest.raises(ValueError, match=message):
            load_policy(bad)
    sys.modules.pop("my_policies", None)


def test_a_function_must_answer_for_every_row() -> None:
    with pytest.raises(ValueError, match="one action for each of 3"):
        CallablePolicy(lambda x: np.zeros(2, int)).act(np.zeros((3, 4)))


def test_missing_and_unknown_files(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="does not exist"):
        load_policy(tmp_path / "nothing.zip")
    (tmp_path / "text.txt").write_text("hello there")
    with pytest.raises(ValueError, match="no known kind"):
        load_policy(tmp_path / "text.txt")
    for nothing in (None, 3, b"policy.zip"):
        with pytest.raises(ValueError, match="path must be that of a policy file or module:function"):
            load_policy(nothing)


@pytest.mark.parametrize(("weights", "biases", "message"), [
    ((), (), "as many bias vectors"),
    ((np.zeros((2, 3)),), (np.zeros(2),), "layer 0"),
    ((np.zeros((2, 3)), np.zeros((4, 1))), (np.zeros(3), np.zeros(1)), "layer 1"),
    ((np.full((2, 1), np.nan),), (np.zeros(1),), "not finite"),
    ((np.zeros((2, 1), int),), (np.zeros(1),), "not finite floating"),
])  # fmt: skip
def test_weights_that_are_no_perceptron(weights: Any, biases: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MlpPolicy(weights, biases)


@pytest.mark.parametrize(("arguments", "message"), [
    (("other",), "argmax or box"), (("box", (0.0,), ()), "equal length"), (("box", (1.0,), (0.0,)), "ordered"),
    (("box", (-np.inf,), (np.inf,), True), "finite"),
])  # fmt: skip
def test_heads_that_make_no_action(arguments: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Head(*arguments)


SPACES = {"PPO": "CartPole-v1", "A2C": "CartPole-v1", "DQN": "CartPole-v1", "SAC": "Pendulum-v1", "TD3": "Pendulum-v1"}


@pytest.mark.parametrize("algorithm", SPACES)
def test_actions_equal_those_of_stable_baselines(tmp_path: Path, algorithm: str) -> None:
    library = pytest.importorskip("stable_baselines3", reason="needs the extra [sb3]")
    model = getattr(library, algorithm)("MlpPolicy", SPACES[algorithm], policy_kwargs={"net_arch": [16, 8]}, device="cpu", seed=3)
    model.save(tmp_path / "m.zip")
    policy = load_policy(tmp_path / "m.zip")
    x = np.random.default_rng(0).normal(size=(200, policy.inputs)).astype(np.float32)
    expected, _ = model.predict(x, deterministic=True)
    np.testing.assert_allclose(policy.act(x), expected, atol=2e-6)


def test_nature_cnn_equals_stable_baselines(tmp_path: Path) -> None:
    library = pytest.importorskip("stable_baselines3", reason="needs the extra [sb3]")
    import gymnasium
    from gymnasium import spaces

    class Images(gymnasium.Env):  # type: ignore[type-arg]
        observation_space = spaces.Box(0, 255, (4, 84, 84), np.uint8)
        action_space = spaces.Discrete(3)

    for algorithm in ("PPO", "DQN"):
        kwargs = {"buffer_size": 10} if algorithm == "DQN" else {"n_steps": 2, "batch_size": 2}
        model = getattr(library, algorithm)("CnnPolicy", Images(), device="cpu", seed=1, **kwargs)
        model.save(tmp_path / "cnn.zip")
        policy = load_policy(tmp_path / "cnn.zip")
        x = np.random.default_rng(0).integers(0, 256, size=(6, 4, 84, 84), dtype=np.uint8)
        expected, _ = model.predict(x, deterministic=True)
        np.testing.assert_array_equal(policy.act(x), expected)


def test_torch_needs_trust_and_then_agrees(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch = pytest.importorskip("torch", reason="needs the extra [torch]")
    expression = "torch.nn.Sequential(torch.nn.Linear(4, 6), torch.nn.Tanh(), torch.nn.Linear(6, 2))"
    net = torch.nn.Sequential(torch.nn.Linear(4, 6), torch.nn.Tanh(), torch.nn.Linear(6, 2))
    torch.save(net.state_dict(), tmp_path / "net.pth")
    (tmp_path / "my_nets.py").write_text(f"import torch\ndef make():\n    return {expression}\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ValueError, match="trust=True"):
        load_policy(tmp_path / "net.pth")
    with pytest.raises(ValueError, match="architecture"):
        load_policy(tmp_path / "net.pth", trust=True)
    policy = load_policy(tmp_path / "net.pth", trust=True, architecture="my_nets:make")
    x = np.random.default_rng(0).normal(size=(9, 4)).astype(np.float32)
    np.testing.assert_array_equal(policy.act(x), net(torch.as_tensor(x)).argmax(1).numpy())
    program = torch.export.export(net, (torch.zeros(3, 4),), dynamic_shapes=({0: torch.export.Dim("batch")},))
    torch.export.save(program, tmp_path / "net.pt2")
    np.testing.assert_array_equal(load_policy(tmp_path / "net.pt2", trust=True).act(x), policy.act(x))
    sys.modules.pop("my_nets", None)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_torchscript_agrees(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="needs the extra [torch]")
    net = torch.nn.Sequential(torch.nn.Linear(4, 6), torch.nn.ReLU(), torch.nn.Linear(6, 1))
    torch.jit.script(net).save(str(tmp_path / "net.ts"))
    policy = load_policy(tmp_path / "net.ts", trust=True, action_bounds=([-0.1], [0.1]))
    x = np.random.default_rng(0).normal(size=(9, 4)).astype(np.float32)
    np.testing.assert_allclose(policy.act(x), np.clip(net(torch.as_tensor(x)).detach().numpy(), -0.1, 0.1), atol=1e-7)


def onnx_model(onnx: Any, **changes: Any) -> Any:
    h, n = onnx.helper, onnx.numpy_helper
    weight = n.from_array(np.random.default_rng(0).normal(size=(4, 2)).astype(np.float32), "w")
    node = h.make_node("MatMul", ["x", "w"], ["y"])
    graph = h.make_graph([node], "g", [h.make_tensor_value_info("x", 1, ["n", 4])], [h.make_tensor_value_info("y", 1, ["n", 2])], [weight])
    return h.make_model(graph, opset_imports=[h.make_opsetid(changes.get("domain", ""), 13)], ir_version=8)


def test_onnx_agrees_and_foreign_parts_are_refused(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx", reason="needs the extra [onnx]")
    pytest.importorskip("onnxruntime", reason="needs the extra [onnx]")
    model = onnx_model(onnx)
    (tmp_path / "p.onnx").write_bytes(model.SerializeToString())
    policy = load_policy(tmp_path / "p.onnx")
    x = np.random.default_rng(1).normal(size=(9, 4)).astype(np.float32)
    np.testing.assert_array_equal(policy.act(x), (x @ onnx.numpy_helper.to_array(model.graph.initializer[0])).argmax(1))
    assert policy.inputs == 4
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = 1
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", "/etc/passwd"
    (tmp_path / "q.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(ValueError, match="other files"):
        load_policy(tmp_path / "q.onnx")
    (tmp_path / "r.onnx").write_bytes(onnx_model(onnx, domain="evil.ops").SerializeToString())
    with pytest.raises(ValueError, match=r"evil\.ops"):
        load_policy(tmp_path / "r.onnx")
    (tmp_path / "s.onnx").write_bytes(b"\x08\xff\xff nonsense")
    with pytest.raises(ValueError, match="ONNX"):
        load_policy(tmp_path / "s.onnx")


SHARED = Path(__file__).resolve().parents[3].parent / "shared" / "policies"


@pytest.mark.skipif(not SHARED.is_dir(), reason="no folder with saved policies beside the repository")
def test_saved_policies_beside_the_repository_agree_with_their_library() -> None:
    library = pytest.importorskip("stable_baselines3", reason="needs the extra [sb3]")
    for path in sorted(SHARED.glob("ppo_*.zip")):
        policy, model = load_policy(path), library.PPO.load(path, device="cpu")
        x = np.random.default_rng(0).normal(size=(300, policy.inputs)).astype(np.float32)
        np.testing.assert_allclose(policy.act(x), model.predict(x, deterministic=True)[0], atol=2e-6)
