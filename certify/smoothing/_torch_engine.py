"""Play the built-in environments with PyTorch, on the CPU or a GPU by the same code.

The same episodes as the compiled engine: the same counter-based words, the same formulas.  Logarithms, sines and the order of the sums
inside matrix products differ by units in the last place between devices, so returns are compared and counted, not assumed equal.
All rows of a chunk stay in place until the last episode ends.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from certify.smoothing._networks import MlpPolicy
from certify.smoothing._plan import CHUNKS, Plan

__all__ = ["play_torch", "resolve_device"]

_POLL = 25
"""Steps between questions whether any episode is alive; each one waits for the device."""


def resolve_device(device: str) -> str:
    """Return the device, or say what was found instead.

    Parameters
    ----------
    device : str
        `cpu`, `cuda` or `cuda:N`.

    Returns
    -------
    str
        The same.

    Raises
    ------
    ValueError
        If PyTorch or the device is missing.
    """
    kind, _, number = device.partition(":")
    if kind not in ("cpu", "cuda") or (number and not number.isdigit()):
        raise ValueError(f"device must be cpu, cuda or cuda:N, got {device!r}")
    try:
        import torch
    except ImportError:
        raise ValueError("engine='torch' needs the package torch: pip install 'lemmata[torch]'") from None
    if kind == "cuda":
        found = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if int(number or 0) >= found:
            built = f"built for CUDA {torch.version.cuda}" if torch.version.cuda else "built without CUDA"
            raise ValueError(f"device {device!r} was asked for, but torch {torch.__version__} ({built}) finds {found} CUDA devices; use device='cpu'")
    return device


def play_torch(plan: Plan, first: int, count: int) -> NDArray[np.float64]:
    """Return the returns of some episodes of one chunk.

    Parameters
    ----------
    plan : Plan
        The job.
    first, count : int
        Which episodes.

    Returns
    -------
    float array, shape (count,)
        Their returns.
    """
    import torch

    if plan.device == "cpu":
        torch.set_num_threads(1)
    width = CHUNKS[plan.engine]
    start = first // width * width
    with torch.no_grad():
        # The whole chunk is laid out even when a part is asked for: a row's products depend on the shape of the batch.
        numbers = torch.arange(start, start + width, dtype=torch.int64, device=plan.device)
        wanted = (numbers >= first) & (numbers < first + count)
        returns = _episodes(plan, torch, numbers, wanted)
        return np.asarray(returns[first - start : first - start + count].cpu().numpy())


def _episodes(plan: Plan, torch: Any, numbers: Any, alive: Any) -> Any:
    code, size, rows = plan.env.code, plan.env.size, len(numbers)
    place = {"dtype": torch.float64, "device": plan.device}
    draw = _Draws(plan, torch, numbers)
    network = _Network(plan, torch)
    dynamics = _Dynamics(int(code or 0), torch)
    state = dynamics.reset(draw.uniforms(0, 0, 0))
    returns = torch.zeros(rows, **place)
    sigma = torch.as_tensor(plan.sigma, **place)
    spread = sigma.repeat(plan.frames) if plan.per_copy else sigma
    clean: Any = None
    stacks: list[Any] = [None] * plan.average
    for t in range(plan.max_steps):
        observation = dynamics.observe(state).to(torch.float32).to(torch.float64)
        if plan.per_copy:
            clean = _push(torch, clean, observation, plan.frames, size)
        total: Any = None
        for m in range(plan.average):
            z = draw.noise(t, m, len(spread))
            padding = plan.frames - 1 - t if plan.per_copy else 0
            if padding > 0:  # copies of the first frame share a draw
                z = torch.cat([z[:, padding * size : (padding + 1) * size].repeat(1, padding), z[:, padding * size :]], dim=1)
            source = clean if plan.per_copy else observation
            noised = spread * plan.grid * (torch.round(source / (spread * plan.grid)) + z) if plan.grid else source + spread * z
            stacks[m] = noised if plan.per_copy else _push(torch, stacks[m], noised, plan.frames, size)
            raw = network(stacks[m])
            total = raw if total is None else total + raw
        reward, done = dynamics.step(state, network.decide(total / plan.average))
        returns += torch.where(alive, reward, torch.zeros_like(reward))
        alive = alive & ~done
        if t % _POLL == _POLL - 1 and not bool(alive.any()):
            break
    return returns


def _push(torch: Any, stack: Any, frame: Any, frames: int, size: int) -> Any:
    return frame.repeat(1, frames) if stack is None else torch.cat([stack[:, size:], frame], dim=1)


class _Draws:
    """Philox4x32-10 on int64 tensors: products wrap modulo 2^64, which keeps every bit that is needed."""

    def __init__(self, plan: Plan, torch: Any, numbers: Any) -> None:
        self.torch, self.plan = torch, plan
        self.low, self.high = (numbers & 0xFFFFFFFF)[:, None], (numbers >> 32)[:, None]
        self.tables = None
        if plan.grid:
            table, _ = plan.tables
            # searchsorted compares signed numbers: moving the origin keeps the order.
            self.tables = torch.as_tensor((table ^ np.uint64(1 << 63)).view(np.int64), device=plan.device)

    def words(self, t: int, stream: int, first_block: int, blocks: int) -> Any:
        """Return the words of some blocks, shape (rows, blocks, 4)."""
        torch = self.torch
        mask = 0xFFFFFFFF
        second = (torch.arange(first_block, first_block + blocks, dtype=torch.int64, device=self.plan.device) << 8 | stream)[None, :]
        shape = (len(self.low), blocks)
        c0, c1 = torch.full(shape, t, dtype=torch.int64, device=self.plan.device), second.expand(shape)
        c2, c3 = self.low.expand(shape), self.high.expand(shape)
        k0, k1 = (int(k) for k in self.plan.key)
        for _ in range(10):
            p0, p1 = c0 * 0xD2511F53, c2 * 0xCD9E8D57
            c0, c1, c2, c3 = ((p1 >> 32) & mask) ^ c1 ^ k0, p1 & mask, ((p0 >> 32) & mask) ^ c3 ^ k1, p0 & mask
            k0, k1 = (k0 + 0x9E3779B9) & mask, (k1 + 0xBB67AE85) & mask
        return torch.stack([c0, c1, c2, c3], dim=2)

    def uniforms(self, t: int, stream: int, block: int) -> Any:
        """Return four uniform numbers a row."""
        return (self.words(t, stream, block, 1)[:, 0].to(self.torch.float64) + 0.5) * 2.0**-32

    def noise(self, t: int, m: int, width: int) -> Any:
        """Return the noise of evaluation m at step t, shape (rows, width), in units of sigma or of the grid."""
        torch = self.torch
        if self.tables is not None:
            blocks = (width + 1) // 2
            w = self.words(t, 1, m * blocks, blocks)
            bits = torch.stack([w[:, :, 0] << 32 | w[:, :, 1], w[:, :, 2] << 32 | w[:, :, 3]], dim=2) ^ -(1 << 63)
            found = torch.searchsorted(self.tables, bits.contiguous(), right=True) - len(self.tables) // 2
            return found.reshape(len(w), -1)[:, :width].to(torch.float64)
        blocks = (width + 3) // 4
        u = (self.words(t, 1, m * blocks, blocks).to(torch.float64) + 0.5) * 2.0**-32
        radius, angle = torch.sqrt(-2.0 * torch.log(u[:, :, 0::2])), 2.0 * math.pi * u[:, :, 1::2]
        return torch.stack([radius * torch.cos(angle), radius * torch.sin(angle)], dim=3).reshape(len(u), -1)[:, :width]


class _Network:
    """The perceptron in the plan's dtype."""

    def __init__(self, plan: Plan, torch: Any) -> None:
        policy: MlpPolicy = plan.policy
        self.torch, self.plan, self.head, self.relu = torch, plan, policy.head, policy.activation == "relu"
        self.dtype = torch.float32 if plan.dtype == "float32" else torch.float64
        place = {"dtype": self.dtype, "device": plan.device}
        self.layers = [
            (torch.as_tensor(np.array(w), **place), torch.as_tensor(np.array(b), **place)) for w, b in zip(policy.weights, policy.biases, strict=True)
        ]
        self.shift, self.scale = (torch.as_tensor(v, dtype=torch.float64, device=plan.device) for v in (plan.shift, plan.scale))

    def __call__(self, x: Any) -> Any:
        """Return raw outputs of a batch of stacks."""
        torch = self.torch
        if self.plan.clip:
            x = torch.clamp((x - self.shift) / self.scale, -self.plan.clip, self.plan.clip)
        x = x.to(self.dtype)
        for k, (w, b) in enumerate(self.layers):
            x = torch.addmm(b, x, w)
            if k + 1 < len(self.layers):
                x = torch.relu(x) if self.relu else torch.tanh(x)
        return x

    def decide(self, raw: Any) -> Any:
        """Return discrete actions (int64) or the first real action (float32)."""
        torch = self.torch
        if self.head.kind == "argmax":
            return torch.argmax(raw, dim=1)
        action, low, high = raw[:, 0].to(torch.float64), self.head.low[0], self.head.high[0]
        if self.head.squash:
            return (low + 0.5 * (torch.tanh(action) + 1.0) * (high - low)).to(torch.float32)
        return torch.clamp(action, low, high).to(torch.float32)


class _Dynamics:
    """The classic control environments on tensors, in the order of operations of the compiled ones."""

    def __init__(self, code: int, torch: Any) -> None:
        self.code, self.torch = code, torch
        self.first = True

    def reset(self, u: Any) -> list[Any]:
        """Return the state as a list of columns."""
        if self.code == 0:
            return [-0.05 + 0.1 * u[:, j] for j in range(4)]
        if self.code == 3:
            return [(-0.1 + 0.2 * u[:, j]).to(self.torch.float32).to(self.torch.float64) for j in range(4)]
        if self.code == 4:
            return [math.pi * (2.0 * u[:, 0] - 1.0), 2.0 * u[:, 1] - 1.0]
        return [-0.6 + 0.2 * u[:, 0], self.torch.zeros_like(u[:, 0])]

    def observe(self, state: list[Any]) -> Any:
        """Return the observation, shape (rows, size)."""
        torch = self.torch
        if self.code == 3:
            a, b, c, d = state
            return torch.stack([torch.cos(a), torch.sin(a), torch.cos(b), torch.sin(b), c, d], dim=1)
        if self.code == 4:
            return torch.stack([torch.cos(state[0]), torch.sin(state[0]), state[1]], dim=1)
        return torch.stack(state, dim=1)

    def step(self, state: list[Any], action: Any) -> tuple[Any, Any]:
        """Advance the columns in place; return rewards and who has ended."""
        return (self._cartpole, self._mountain_car, self._mountain_car_continuous, self._acrobot, self._pendulum)[self.code](state, action)

    def _cartpole(self, state: list[Any], action: Any) -> tuple[Any, Any]:
        torch = self.torch
        x, x_dot, theta, theta_dot = state
        force = action.to(torch.float64) * 20.0 - 10.0
        cos, sin = torch.cos(theta), torch.sin(theta)
        temp = (force + 0.05 * (theta_dot * theta_dot) * sin) / 1.1
        thetaacc = (9.8 * sin - cos * temp) / (0.5 * (4.0 / 3.0 - 0.1 * (cos * cos) / 1.1))
        xacc = temp - 0.05 * thetaacc * cos / 1.1
        state[:] = [x + 0.02 * x_dot, x_dot + 0.02 * xacc, theta + 0.02 * theta_dot, theta_dot + 0.02 * thetaacc]
        done = (state[0].abs() > 2.4) | (state[2].abs() > 12 * 2 * math.pi / 360)
        return torch.ones_like(x), done

    def _mountain_car(self, state: list[Any], action: Any) -> tuple[Any, Any]:
        torch = self.torch
        position, velocity = state
        velocity = torch.clamp(velocity + ((action.to(torch.float64) - 1) * 0.001 + torch.cos(3 * position) * (-0.0025)), -0.07, 0.07)
        position = torch.clamp(position + velocity, -1.2, 0.6)
        velocity = torch.where((position == -1.2) & (velocity < 0), torch.zeros_like(velocity), velocity)
        state[:] = [position, velocity]
        return -torch.ones_like(position), (position >= 0.5) & (velocity >= 0.0)

    def _mountain_car_continuous(self, state: list[Any], action: Any) -> tuple[Any, Any]:
        torch = self.torch
        real = torch.float64 if self.first else torch.float32
        position, velocity = (column.to(real) for column in state)
        pull = 0.0025 * torch.cos((3.0 * position).to(torch.float64))
        inside = action.abs() <= 1.0
        push = torch.where(
            inside, (action * np.float32(0.0015) - pull.to(torch.float32)).to(torch.float64), torch.sign(action).to(torch.float64) * 0.0015 - pull
        )
        velocity = torch.clamp(velocity + push.to(real), -0.07, 0.07)
        position = torch.clamp(position + velocity, -1.2, 0.6)
        low = torch.tensor(-1.2, dtype=real, device=position.device)
        velocity = torch.where((position == low) & (velocity < 0), torch.zeros_like(velocity), velocity)
        goal = torch.tensor(0.45, dtype=real, device=position.device)
        done = (position >= goal) & (velocity >= 0.0)
        state[:] = [column.to(torch.float32).to(torch.float64) for column in (position, velocity)]
        self.first = False
        effort = action.to(torch.float64)
        return torch.where(done, 100.0, 0.0) - (effort * effort) * 0.1, done

    def _slopes(self, s: list[Any], torque: Any) -> list[Any]:
        torch = self.torch
        t1, t2, v1, v2 = s
        d1 = 0.25 + (1.0 + 0.25 + torch.cos(t2)) + 1.0 + 1.0
        d2 = (0.25 + 0.5 * torch.cos(t2)) + 1.0
        phi2 = 4.9 * torch.cos(t1 + t2 - math.pi / 2.0)
        phi1 = -0.5 * (v2 * v2) * torch.sin(t2) - v2 * v1 * torch.sin(t2) + 14.7 * torch.cos(t1 - math.pi / 2) + phi2
        a2 = (torque + d2 / d1 * phi1 - 0.5 * (v1 * v1) * torch.sin(t2) - phi2) / (0.25 + 1.0 - d2 * d2 / d1)
        return [v1, v2, -(d2 * a2 + phi1) / d1, a2]

    def _acrobot(self, state: list[Any], action: Any) -> tuple[Any, Any]:
        torch = self.torch
        torque, h = action.to(torch.float64) - 1.0, 0.2
        k1 = self._slopes(state, torque)
        k2 = self._slopes([s + h / 2 * k for s, k in zip(state, k1, strict=True)], torque)
        k3 = self._slopes([s + h / 2 * k for s, k in zip(state, k2, strict=True)], torque)
        k4 = self._slopes([s + h * k for s, k in zip(state, k3, strict=True)], torque)
        a, b, c, d = (s + h / 6.0 * (p + 2 * q + 2 * r + w) for s, p, q, r, w in zip(state, k1, k2, k3, k4, strict=True))
        # At most one turn a step, so one correction wraps.
        a, b = (torch.where(s > math.pi, s - 2 * math.pi, torch.where(s < -math.pi, s + 2 * math.pi, s)) for s in (a, b))
        state[:] = [a, b, torch.clamp(c, -4 * math.pi, 4 * math.pi), torch.clamp(d, -9 * math.pi, 9 * math.pi)]
        done = -torch.cos(a) - torch.cos(b + a) > 1.0
        return torch.where(done, 0.0, -1.0).to(torch.float64), done

    def _pendulum(self, state: list[Any], action: Any) -> tuple[Any, Any]:
        torch = self.torch
        theta, speed = state
        u = torch.clamp(action, -2.0, 2.0)
        angle = torch.remainder(theta + math.pi, 2 * math.pi) - math.pi
        cost = angle * angle + 0.1 * (speed * speed) + (np.float32(0.001) * (u * u)).to(torch.float64)
        push = (np.float32(3.0) * u).to(torch.float64)
        speed = torch.clamp(speed + (15.0 * torch.sin(theta) + push) * 0.05, -8.0, 8.0)
        state[:] = [theta + speed * 0.05, speed]
        return -cost, torch.zeros_like(cost, dtype=torch.bool)
