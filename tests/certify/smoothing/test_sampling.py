"""The sampling engine against Gymnasium, against slow twins in plain Python, and against itself in other batches."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.special import ndtr

from certify.smoothing import CallablePolicy, CnnPolicy, Head, MlpPolicy, Normalisation, default_policy_path, load_policy, noise_limit, sample_returns
from certify.smoothing._environments import BUILT_IN
from certify.smoothing._plan import scores_by_row

WORDS = 0xFFFFFFFF
SHIPPED = load_policy(default_policy_path())


def philox(counter: tuple[int, ...], key: tuple[int, int]) -> list[int]:
    """The generator in Python integers."""
    (a, b, c, d), (k, m) = counter, key
    for _ in range(10):
        p, q = 0xD2511F53 * a, 0xCD9E8D57 * c
        a, b, c, d = (q >> 32) ^ b ^ k, q & WORDS, (p >> 32) ^ d ^ m, p & WORDS
        k, m = (k + 0x9E3779B9) & WORDS, (m + 0xBB67AE85) & WORDS
    return [a, b, c, d]


def gaussians(t: int, episode: int, seed: int, size: int, *, first_block: int = 0) -> np.ndarray:
    """Observation noise of one step, in Python."""
    out: list[float] = []
    for block in range(-(-size // 4)):
        u = [(w + 0.5) / 2**32 for w in philox((t, 1 | (first_block + block) << 8, episode & WORDS, episode >> 32), (seed & WORDS, seed >> 32))]
        for first, second in (u[:2], u[2:]):
            out += [math.sqrt(-2 * math.log(first)) * f(2 * math.pi * second) for f in (math.cos, math.sin)]
    return np.array(out[:size])


KNOWN = [
    ((0, 0, 0, 0), (0, 0), "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    ((WORDS,) * 4, (WORDS,) * 2, "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    ((0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344), (0xA4093822, 0x299F31D0), "d16cfe09 94fdcceb 5001e420 24126ea1"),
]


@pytest.mark.parametrize(("counter", "key", "answer"), KNOWN)
def test_known_answers_of_the_generator(counter: Any, key: Any, answer: str) -> None:
    from certify.smoothing import _kernels_noise as kernels

    out = np.empty((1, 4), np.uint64)
    kernels.philox_blocks(np.array([counter], np.uint64), np.uint64(key[0]), np.uint64(key[1]), out)
    assert " ".join(f"{int(w):08x}" for w in out[0]) == answer
    assert " ".join(f"{w:08x}" for w in philox(counter, key)) == answer


@given(t=st.integers(0, 2**20), episode=st.integers(0, 2**40), seed=st.integers(0, 2**64 - 1), size=st.integers(1, 11))
@settings(max_examples=50)
def test_gaussian_noise_equals_its_twin(t: int, episode: int, seed: int, size: int) -> None:
    from certify.smoothing import _kernels_rollout as kernels

    z = np.empty((1, size))
    key = np.array([seed & WORDS, seed >> 32], np.uint64)
    kernels.noise_rows(key, t, episode, np.ones(1, np.bool_), 0, 0.0, np.zeros(0, np.uint64), np.zeros(257, np.int64), z)
    np.testing.assert_allclose(z[0], gaussians(t, episode, seed, size), rtol=1e-12, atol=1e-13)


def draws(grid: float, count: int = 100_000) -> np.ndarray:
    from certify.smoothing import _kernels_rollout as kernels
    from certify.smoothing._grid import grid_table

    z = np.empty((count // 4, 4))
    table = grid_table() if grid else (np.zeros(0, np.uint64), np.zeros(257, np.int64))
    kernels.noise_rows(np.array([5, 0], np.uint64), 3, 0, np.ones(len(z), np.bool_), 0, grid, *table, z)
    return z * (grid or 1.0)


@pytest.mark.parametrize("grid", [0.0, 2.0**-8])
def test_noise_is_standard_normal_and_uncorrelated(grid: float) -> None:
    """False alarm 1e-6 for the law and 1e-4 for six correlations; the seed is fixed."""
    z = draws(grid)
    assert stats.kstest(z.ravel(), "norm").pvalue > 1e-6
    correlation = np.corrcoef(z.T) - np.eye(4)
    assert np.abs(correlation).max() < 4.5 / math.sqrt(len(z))
    assert np.abs(z).max() < noise_limit("grid" if grid else "gaussian")


def test_grid_table_is_the_rounded_gaussian() -> None:
    from certify.smoothing._grid import GRID_STEP, grid_table, grid_tv

    table, _ = grid_table()
    half = len(table) // 2
    k = np.arange(-half, half)
    np.testing.assert_allclose(table.astype(float) * 2.0**-64, ndtr((k + 0.5) * GRID_STEP), rtol=0, atol=3e-16)
    assert [int(t) + int(u) for t, u in zip(table, table[::-1], strict=True)] == [1 << 64] * len(table)
    assert np.all(np.diff(table[:half].astype(object)) >= 0)
    assert 0 < grid_tv(1000) < 1e-12
    assert noise_limit("grid") == half * GRID_STEP


def test_the_largest_gaussian_draw() -> None:
    assert noise_limit() == pytest.approx(6.7637, abs=5e-5)
    with pytest.raises(ValueError, match="gaussian, grid"):
        noise_limit("laplace")


def test_tanh_is_accurate_to_the_last_bits() -> None:
    for dtype, limit in ((np.float64, 4e-16), (np.float32, 2e-7)):
        identity = MlpPolicy((np.ones((1, 8), dtype), np.eye(8, dtype=dtype)), (np.zeros(8, dtype), np.zeros(8, dtype)))
        x = np.concatenate([np.linspace(-30, 30, 4001), [0.0, 1e-8, -1e-20]])[:, None]
        error = np.abs(scores_by_row(identity, x, np.dtype(dtype).name)[:, 0] - np.tanh(x[:, 0].astype(dtype).astype(float)))
        assert error.max() < limit


@given(widths=st.lists(st.integers(1, 20), min_size=2, max_size=4), rows=st.integers(1, 5), relu=st.booleans(), seed=st.integers(0, 999))
@settings(max_examples=40)
def test_the_fixed_order_network_agrees_with_numpy_and_with_itself(widths: list[int], rows: int, relu: bool, seed: int) -> None:
    rng = np.random.default_rng(seed)
    weights = tuple(rng.normal(size=pair) for pair in pairwise(widths))
    policy = MlpPolicy(weights, tuple(rng.normal(size=n) for n in widths[1:]), "relu" if relu else "tanh")
    x = rng.normal(size=(rows, widths[0]))
    together = scores_by_row(policy, x, "float64")
    np.testing.assert_allclose(together, policy.scores(x), rtol=1e-11, atol=1e-11)
    apart = np.concatenate([scores_by_row(policy, row[None], "float64") for row in x])
    assert together.tobytes() == apart.tobytes()


def stepped(env_id: str, actions: Any, state: Any, tolerance: float) -> None:
    """Follow one trajectory in Gymnasium and in the compiled dynamics."""
    import gymnasium

    from certify.smoothing import _kernels_envs as kernels

    code, inner = BUILT_IN[env_id].code, gymnasium.make(env_id, disable_env_checker=True).unwrapped
    inner.reset(seed=0)
    mine = np.zeros(5)
    mine[: len(state)] = state
    inner.state = np.array(state)
    seen = np.empty(BUILT_IN[env_id].size)
    for action in actions:
        observation, reward, done, _, _ = inner.step(int(action) if BUILT_IN[env_id].actions else np.array([action], np.float32))
        got = kernels.step(code, mine, int(action) if BUILT_IN[env_id].actions else 0, float(action))
        kernels.observe(code, mine, seen)
        np.testing.assert_allclose(mine[: len(state)], np.asarray(inner.state, float), rtol=0, atol=tolerance)
        np.testing.assert_allclose(seen, np.asarray(observation, float), rtol=0, atol=tolerance and 1e-6)
        # Gymnasium's u ** 2 of a float32 is sometimes one unit in the last place off u * u
        last_place = {"Pendulum-v1": 5e-10}.get(env_id, 1e-12)
        assert got[0] == pytest.approx(float(reward), abs=last_place if tolerance == 0.0 else 1e-9)
        assert got[1] == done
        if done:
            break


@pytest.mark.filterwarnings("ignore:.*out of date.*")
@given(data=st.data(), name=st.sampled_from(sorted(set(BUILT_IN) - {"CartPole-v0"})), seed=st.integers(0, 9999))
@settings(max_examples=60)
def test_dynamics_equal_gymnasium(data: st.DataObject, name: str, seed: int) -> None:
    """States bit for bit where that is promised; Acrobot within 1e-9 over 40 steps."""
    rng = np.random.default_rng(seed)
    env = BUILT_IN[name]
    if env.actions:
        actions = rng.integers(env.actions, size=120)
        state = rng.uniform(-0.05, 0.05, 4) if name != "MountainCar-v0" else np.array([rng.uniform(-0.6, -0.4), 0.0])
        if name == "Acrobot-v1":
            actions, state = actions[:40], rng.uniform(-0.1, 0.1, 4).astype(np.float32).astype(float)
    else:
        actions = rng.uniform(-1.5, 1.5, 120) * (2.0 if name == "Pendulum-v1" else 1.0)
        if data.draw(st.booleans(), label="one direction"):
            actions = np.abs(actions)
        state = rng.uniform(-1, 1, 2) if name == "Pendulum-v1" else np.array([rng.uniform(-0.6, -0.4), 0.0])
    stepped(name, actions, state, 1e-9 if name == "Acrobot-v1" else 0.0)


def test_episodes_equal_a_plain_loop_over_gymnasium() -> None:
    """Everything independent of the engine: the generator, the noise, the network in float64 NumPy, the environment itself."""
    import gymnasium

    sigma, seed = 0.2, 2**40 + 17
    expected = []
    for episode in range(6):
        env = gymnasium.make("CartPole-v1")
        env.reset(seed=0)
        u = [(w + 0.5) / 2**32 for w in philox((0, 0, episode, 0), (seed & WORDS, seed >> 32))]
        env.unwrapped.state = -0.05 + 0.1 * np.array(u)
        observation, total, done, t = env.unwrapped.state.astype(np.float32), 0.0, False, 0
        while not done:
            x = observation.astype(float) + sigma * gaussians(t, episode, seed, 4)
            for k, (w, b) in enumerate(zip(SHIPPED.weights, SHIPPED.biases, strict=True)):
                x = x @ w.astype(float) + b
                x = np.tanh(x) if k + 1 < len(SHIPPED.weights) else x
            observation, reward, terminated, truncated, _ = env.step(int(np.argmax(x)))
            total, done, t = total + float(reward), terminated or truncated, t + 1
        expected.append(total)
    for dtype in ("float64", "float32"):
        assert sample_returns(SHIPPED, "CartPole-v1", sigma=sigma, episodes=6, seed=seed, dtype=dtype).values.tolist() == expected


def linear(frames: int) -> MlpPolicy:
    k = np.tile([0.1, 0.4, 2.0, 1.0], frames) / frames
    return MlpPolicy((np.stack([np.zeros(4 * frames), k], axis=1),), (np.zeros(2),))


@pytest.mark.parametrize(("frames", "sigma", "mean", "error"), [(1, 0.1, 200.0, 0.01), (1, 0.2, 189.53, 0.09), (1, 0.4, 87.88, 0.16), (2, 0.2, 196.16, 0.06),
                                                                (2, 0.4, 101.18, 0.18), (3, 0.2, 196.17, 0.06)])  # fmt: skip
def test_linear_policies_reproduce_the_reference_table(frames: int, sigma: float, mean: float, error: float) -> None:
    """Difference of two means within five standard errors: false alarm below 1e-6 for each cell."""
    returns = sample_returns(linear(frames), "CartPole-v0", sigma=sigma, episodes=10_000, seed=frames, frames=frames)
    own = returns.values.std() / math.sqrt(len(returns))
    assert abs(returns.mean - mean) < 5 * math.hypot(own, error)


@pytest.mark.parametrize("change", [{}, {"noise": "grid"}, {"average": 2}, {"frames": 3, "protocol": "frames-noised-per-copy"}, {"sigma": (0.1, 0.3, 0.2, 0.4)}])
def test_gymnasium_and_compiled_engine_agree(change: dict[str, Any]) -> None:
    policy = linear(3) if change.get("frames") == 3 else SHIPPED
    setting = {"sigma": 0.3, "episodes": 12, "seed": 4, **change}
    compiled = sample_returns(policy, "CartPole-v0", **setting)
    assert sample_returns(policy, "CartPole-v0", engine="gymnasium", **setting).values.tobytes() == compiled.values.tobytes()


CONTROLLERS = {
    "MountainCar-v0": (MlpPolicy((np.array([[0.0, 0, 0], [-50.0, 0, 50]]),), (np.array([0.0, -0.5, 0.0]),)), 0.01),
    "MountainCarContinuous-v0": (MlpPolicy((np.array([[0.0], [40.0]]),), (np.zeros(1),), head=Head("box", (-1.0,), (1.0,))), 0.002),
    "Acrobot-v1": (MlpPolicy((np.stack([-np.eye(6)[4], np.zeros(6), np.eye(6)[4]], axis=1),), (np.zeros(3),)), 0.1),
    "Pendulum-v1": (MlpPolicy((np.array([[0.0], [-2.0], [-0.5]]),), (np.zeros(1),), head=Head("box", (-2.0,), (2.0,), squash=True)), 0.05),
}


@pytest.mark.parametrize("env_id", CONTROLLERS)
def test_the_other_environments_agree_between_engines(env_id: str) -> None:
    policy, sigma = CONTROLLERS[env_id]
    mine = sample_returns(policy, env_id, sigma=sigma, episodes=6, seed=1)
    theirs = sample_returns(policy, env_id, sigma=sigma, episodes=6, seed=1, engine="gymnasium")
    np.testing.assert_allclose(mine.values, theirs.values, rtol=0, atol=1e-7)
    assert mine.floor is not None
    assert mine.floor <= mine.values.min()


@pytest.mark.parametrize("engine", ["numba", "gymnasium"])
def test_bytes_do_not_depend_on_batches_or_workers(engine: str) -> None:
    setting: dict[str, Any] = {"sigma": 0.4, "seed": 11, "engine": engine, "max_steps": 60}
    whole = sample_returns(SHIPPED, "CartPole-v1", episodes=300 if engine == "numba" else 70, **setting)
    parts = [sample_returns(SHIPPED, "CartPole-v1", episodes=n, first_episode=at, **setting) for at, n in ((0, 1), (1, 39), (40, 30))]
    joined = parts[0].joined(parts[1]).joined(parts[2])
    assert joined.values.tobytes() == whole.values[:70].tobytes()
    if engine == "numba":
        threads = sample_returns(SHIPPED, "CartPole-v1", episodes=300, jobs=2, **setting)
        assert threads == whole


@pytest.mark.slow
def test_gymnasium_processes_give_the_same_bytes() -> None:
    setting: dict[str, Any] = {"sigma": 0.4, "seed": 11, "engine": "gymnasium", "max_steps": 60, "episodes": 70}
    assert sample_returns(SHIPPED, "CartPole-v1", jobs=2, **setting) == sample_returns(SHIPPED, "CartPole-v1", **setting)


def test_fast_mode_plays_the_same_episodes() -> None:
    setting: dict[str, Any] = {"sigma": 0.2, "episodes": 200, "seed": 3, "max_steps": 100}
    slow, fast = (sample_returns(SHIPPED, "CartPole-v1", fast=flag, **setting) for flag in (False, True))
    assert (fast.engine, slow.engine) == ("numba-fast", "numba")
    assert np.count_nonzero(fast.values != slow.values) <= 2


@pytest.mark.parametrize("change", [{}, {"noise": "grid"}, {"average": 2}, {"frames": 3, "protocol": "frames-noised-per-copy"}])
def test_torch_plays_the_same_episodes(change: dict[str, Any]) -> None:
    pytest.importorskip("torch", reason="needs the extra [torch]")
    policy = linear(3) if change.get("frames") == 3 else SHIPPED
    setting: dict[str, Any] = {"sigma": 0.3, "episodes": 40, "seed": 3, "max_steps": 60, "dtype": "float64", **change}
    mine, theirs = sample_returns(policy, "CartPole-v1", **setting), sample_returns(policy, "CartPole-v1", engine="torch", **setting)
    assert theirs.engine == "torch-cpu"
    assert np.count_nonzero(mine.values != theirs.values) == 0


@pytest.mark.parametrize("env_id", CONTROLLERS)
def test_torch_plays_the_other_environments(env_id: str) -> None:
    pytest.importorskip("torch", reason="needs the extra [torch]")
    policy, sigma = CONTROLLERS[env_id]
    setting: dict[str, Any] = {"sigma": sigma, "episodes": 20, "seed": 1, "dtype": "float64", "max_steps": 120}
    mine, theirs = sample_returns(policy, env_id, **setting), sample_returns(policy, env_id, engine="torch", **setting)
    np.testing.assert_allclose(theirs.values, mine.values, rtol=0, atol=1e-4)


@pytest.mark.gpu
def test_gpu_and_cpu_differ_rarely() -> None:
    torch = pytest.importorskip("torch", reason="needs the extra [torch]")
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    setting: dict[str, Any] = {"sigma": 0.2, "episodes": 10_000, "seed": 3}
    there = sample_returns(SHIPPED, "CartPole-v1", engine="torch", device="cuda", **setting)
    here = sample_returns(SHIPPED, "CartPole-v1", dtype="float64", **setting)
    assert np.count_nonzero(here.values != there.values) <= 20


def test_a_missing_gpu_is_named() -> None:
    torch = pytest.importorskip("torch", reason="needs the extra [torch]")
    if torch.cuda.is_available():
        pytest.skip("needs a machine without a CUDA device")
    for engine in ("torch", "auto"):
        with pytest.raises(ValueError, match="finds 0 CUDA devices"):
            sample_returns(SHIPPED, "CartPole-v1", sigma=0.1, episodes=1, seed=0, engine=engine, device="cuda")


class Recorder:
    """A policy that keeps what it was shown."""

    inputs = None

    def __init__(self) -> None:
        self.seen: list[np.ndarray] = []

    def __call__(self, x: np.ndarray) -> np.ndarray:
        self.seen.append(x.copy())
        return np.zeros(len(x), int)


def shown(**setting: Any) -> np.ndarray:
    """Inputs of episode 0, shape (steps, frames, 4)."""
    recorder = Recorder()
    sample_returns(CallablePolicy(recorder), "CartPole-v1", sigma=setting.pop("sigma", 0.2), episodes=2, seed=9, dtype="float64", **setting)
    return np.array([x[0].reshape(-1, 4) for x in recorder.seen])


def test_a_stack_starts_as_copies_of_the_first_noised_frame() -> None:
    x = shown(frames=3)
    assert np.all(x[0] == x[0, :1])
    assert np.all(x[1, 2] != x[0, 2])
    np.testing.assert_array_equal(x[1, :2], x[0, 1:])
    np.testing.assert_array_equal(x[2, :2], x[1, 1:])


def test_noise_for_every_copy_is_fresh() -> None:
    x = shown(frames=3, protocol="frames-noised-per-copy")
    # Slots that hold the first frame share a draw within a step: 1, 2 and 3 different frames in the first three stacks, then always 3.
    assert [len(set(row)) for row in x[:6, :, 0].tolist()] == [1, 2, 3, 3, 3, 3]
    assert len({float(v) for v in x[:6, :, 0].ravel()}) == 1 + 2 + 3 + 3 + 3 + 3
    # So the first frame is noised 3 times in all, as sqrt(3) B charges for; one draw for every slot would make it 6.
    assert len({*x[0, :, 0], *x[1, :2, 0], x[2, 0, 0]}) == 3


def test_grid_noise_leaves_nothing_below_the_grid() -> None:
    multiples = shown(noise="grid", sigma=0.25) / (0.25 / 256)
    np.testing.assert_array_equal(multiples, np.rint(multiples))


def test_noise_scale_of_each_coordinate() -> None:
    sigma = np.array([0.01, 1.0, 0.1, 10.0])
    clean, noised = shown(sigma=tuple(1e-12 * sigma))[:7], shown(sigma=tuple(sigma))[:7]  # no episode is shorter
    expected = np.array([gaussians(t, 0, 9, 4) for t in range(len(clean))])
    np.testing.assert_allclose((noised - clean)[:, 0] / sigma, expected, atol=1e-5)


def test_normalisation_is_applied_after_the_noise() -> None:
    """A linear layer absorbs it, so the returns must be those of the other weights without it."""
    mean, variance = np.array([0.1, -0.2, 0.01, 0.3]), np.array([0.5, 2.0, 0.1, 1.5])
    policy = linear(1)
    absorbed = MlpPolicy(tuple(w / np.sqrt(variance + 1e-8)[:, None] for w in policy.weights), (-(mean / np.sqrt(variance + 1e-8)) @ policy.weights[0],))
    setting: dict[str, Any] = {"sigma": 0.1, "episodes": 20, "seed": 2, "max_steps": 100}
    given_apart = sample_returns(policy, "CartPole-v1", normalisation=Normalisation(mean, variance, clip=1e9), **setting)
    np.testing.assert_array_equal(given_apart.values, sample_returns(absorbed, "CartPole-v1", **setting).values)
    assert len(given_apart.normalisation_sha256) == 64
    clipped = sample_returns(policy, "CartPole-v1", normalisation=Normalisation(mean, variance, clip=1e-3), **setting)
    assert clipped.mean < given_apart.mean
    gym = sample_returns(policy, "CartPole-v1", normalisation=Normalisation(mean, variance, clip=0.5), engine="gymnasium", **setting)
    assert gym.values.tobytes() == sample_returns(policy, "CartPole-v1", normalisation=Normalisation(mean, variance, clip=0.5), **setting).values.tobytes()


def test_any_gymnasium_environment_and_a_function() -> None:
    returns = sample_returns(lambda x: np.zeros(len(x), int), "CartPole-v0", sigma=0.1, episodes=5, seed=0)
    assert (returns.engine, len(returns)) == ("gymnasium", 5)
    assert 7 <= returns.values.min() <= returns.values.max() < 13


def test_an_object_that_only_acts_is_a_policy() -> None:
    class Left:
        def act(self, x: np.ndarray) -> np.ndarray:
            return np.zeros(len(x), int)

    setting: dict[str, Any] = {"sigma": 0.1, "episodes": 5, "seed": 0}
    named, plain = sample_returns(Left(), "CartPole-v0", **setting), sample_returns(Left().act, "CartPole-v0", **setting)
    assert named.policy == "Left"
    assert named.values.tobytes() == plain.values.tobytes()


def test_progress_counts_to_the_end() -> None:
    calls: list[tuple[int, int]] = []
    sample_returns(SHIPPED, "CartPole-v1", sigma=0.2, episodes=600, seed=0, max_steps=5, progress=lambda done, total: calls.append((done, total)))
    assert calls == [(256, 600), (512, 600), (600, 600)]


def test_a_seed_sequence_is_a_seed() -> None:
    a, b = (sample_returns(SHIPPED, "CartPole-v1", sigma=0.2, episodes=3, seed=np.random.SeedSequence(5)) for _ in range(2))
    assert a == b
    assert isinstance(a.seed, int)


NETS = {
    "five": MlpPolicy((np.zeros((5, 2)),), (np.zeros(2),)),
    "three actions": MlpPolicy((np.zeros((4, 3)),), (np.zeros(3),)),
    "box": MlpPolicy((np.zeros((4, 1)),), (np.zeros(1),), head=Head("box", (-1.0,), (1.0,))),
    "from one": MlpPolicy((np.zeros((4, 2)),), (np.zeros(2),), head=Head(start=1)),
    "stacked": MlpPolicy((np.zeros((20, 2)),), (np.zeros(2),)),
}
BAD = [
    ({"sigma": 0.0}, "sigma must be positive"), ({"sigma": -1.0}, "sigma"), ({"sigma": math.nan}, "sigma"), ({"sigma": math.inf}, "sigma"),
    ({"sigma": "wide"}, "sigma"), ({"sigma": (0.1, 0.2)}, "4 numbers"), ({"sigma": (0.1, 0.2, 0.3, 0.0)}, "sigma"),
    ({"episodes": 0}, "episodes"), ({"episodes": 2.5}, "episodes"), ({"seed": -1}, "seed"), ({"seed": 2**64}, "seed"), ({"seed": 1.5}, "seed"),
    ({"frames": 0}, "frames"), ({"average": 0}, "average"), ({"jobs": 0}, "jobs"), ({"first_episode": -1}, "first_episode"), ({"max_steps": 0}, "max_steps"),
    ({"protocol": "other"}, "protocol must be one of"), ({"noise": "laplace"}, "noise must be one of"), ({"engine": "cuda"}, "engine must be one of"),
    ({"dtype": "float16"}, "dtype"), ({"device": "cuda", "engine": "numba"}, "device is for"), ({"env_id": "Nope-v0"}, "Nope"), ({"env_id": "CartPole-v7"}, "v7"),
    ({"env_id": "not an id"}, "cannot be made"), ({"env_id": 3}, "env_id"), ({"env_id": "FrozenLake-v1"}, "only Box"), ({"policy": 3}, "policy must be"),
    ({"policy": NETS["five"]}, "reads 5 numbers"), ({"policy": NETS["stacked"]}, "frames=5 fits"), ({"policy": NETS["three actions"]}, "3 outputs"),
    ({"policy": NETS["box"]}, "2 discrete actions"), ({"policy": NETS["from one"]}, "those of CartPole-v1 begin with 0"), ({"policy": "missing.zip"}, "does not exist"), ({"fast": True, "average": 2}, "fast=True"),
    ({"fast": True, "policy": len}, "fast=True"), ({"fast": True, "engine": "torch"}, "fast=True is for"), ({"engine": "numba", "policy": len}, "engine='numba'"), ({"engine": "torch", "policy": len}, "engine='torch'"),
    ({"average": 2, "policy": len}, "average"), ({"normalisation": Normalisation(np.zeros(3), np.ones(3))}, "normalisation"),
    ({"policy": lambda x: np.full(len(x), 2)}, "integers from 0 to 1"), ({"policy": lambda x: np.zeros((len(x), 2))}, "integers from 0"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "message"), BAD, ids=[f"{k}-{next(iter(c))}" for k, (c, _) in enumerate(BAD)])
def test_bad_arguments_are_refused_in_one_line(change: dict[str, Any], message: str) -> None:
    setting: dict[str, Any] = {"policy": SHIPPED, "env_id": "CartPole-v1", "sigma": 0.1, "episodes": 2, "seed": 0, **change}
    with pytest.raises((ValueError, OSError), match=message) as caught:
        sample_returns(setting.pop("policy"), setting.pop("env_id"), **setting)
    assert "\n" not in str(caught.value)


def test_actions_are_numbered_as_the_environment_numbers_them() -> None:
    import gymnasium

    class FromOne(gymnasium.Env[Any, Any]):
        """Three steps, each paying the number of the action."""

        observation_space = gymnasium.spaces.Box(-1.0, 1.0, (1,))
        action_space = gymnasium.spaces.Discrete(2, start=1)

        def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
            self.left = 3
            return np.zeros(1, np.float32), {}

        def step(self, action: Any) -> Any:
            self.left -= 1
            return np.zeros(1, np.float32), float(action), self.left == 0, False, {}

    gymnasium.register("FromOne-v0", FromOne)
    try:
        setting: dict[str, Any] = {"sigma": 1e-6, "episodes": 2, "seed": 0, "max_steps": 5}
        for bias, total in ((-1.0, 6.0), (1.0, 3.0)):
            policy = MlpPolicy((np.zeros((1, 2)),), (np.array([bias, 0.0]),), head=Head(start=1))
            assert sample_returns(policy, "FromOne-v0", **setting).values.tolist() == [total, total]
            answers = sample_returns(lambda x, bias=bias: np.full(len(x), 2 if bias < 0 else 1), "FromOne-v0", **setting)
            assert answers.values.tolist() == [total, total]
        with pytest.raises(ValueError, match="those of FromOne-v0 begin with 1"):
            sample_returns(MlpPolicy((np.zeros((1, 2)),), (np.zeros(2),)), "FromOne-v0", **setting)
        with pytest.raises(ValueError, match="integers from 1 to 2, got 0 to 0"):
            sample_returns(lambda x: np.zeros(len(x), int), "FromOne-v0", **setting)
    finally:
        del gymnasium.registry["FromOne-v0"]


def nature(seed: int) -> CnnPolicy:
    rng = np.random.default_rng(seed)
    shapes = ((32, 4, 8, 8), (64, 32, 4, 4), (64, 64, 3, 3))
    kernels = tuple((rng.normal(size=s) / math.sqrt(np.prod(s[1:]))).astype(np.float32) for s in shapes)
    dense = MlpPolicy(
        (rng.normal(size=(3136, 512)).astype(np.float32) / 56, rng.normal(size=(512, 3)).astype(np.float32)), (np.zeros(512, np.float32), np.zeros(3, np.float32)), "relu"
    )  # fmt: skip
    return CnnPolicy(kernels, tuple(np.zeros(s[0], np.float32) for s in shapes), (4, 2, 1), dense, (4, 84, 84))


def test_the_fixed_order_convolutions_agree_with_numpy() -> None:
    from certify.smoothing._gym_rows import _image_scores

    policy = nature(0)
    x = np.random.default_rng(1).uniform(0, 255, size=(2, policy.inputs)).astype(np.float32)
    np.testing.assert_allclose(_image_scores(policy, x, "float32"), policy.scores(x), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("game", ["ALE/Freeway-v5", "ALE/Pong-v5"])
def test_atari_through_its_vector_environment(game: str) -> None:
    pytest.importorskip("ale_py", reason="needs the extra [atari]")
    up = CallablePolicy(lambda x: np.ones(len(x), int), "always-up")
    setting: dict[str, Any] = {"sigma": 5.0, "episodes": 2, "seed": 0, "frames": 4, "max_steps": 40}
    a, b = (sample_returns(up, game, **setting) for _ in range(2))
    assert a.values.tobytes() == b.values.tobytes()
    assert a.floor is None


def test_an_untrained_network_on_images() -> None:
    pytest.importorskip("ale_py", reason="needs the extra [atari]")
    returns = sample_returns(nature(0), "ALE/Freeway-v5", sigma=5.0, episodes=1, seed=0, frames=4, max_steps=3)
    assert len(returns) == 1
