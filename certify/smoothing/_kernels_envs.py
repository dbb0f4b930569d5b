"""Compiled: the classic control environments of Gymnasium 1.x, in its order of operations.

CartPole and MountainCar agree bit for bit; so does MountainCarContinuous, whose state is float32 after the first step and whose
products mix float32 and float64, and the state of Pendulum, whose torque is float32.  Acrobot agrees to about 1e-10 (powers).
A state is a vector of four float64 numbers; the fifth counts steps.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from certify.smoothing._kernels_noise import philox, unit
from mdps.jit import compiled

CARTPOLE, MOUNTAIN_CAR, MOUNTAIN_CAR_CONTINUOUS, ACROBOT, PENDULUM = range(5)
POLE_LIMIT = 12 * 2 * math.pi / 360
F32_POWER = np.float32(0.0015)
F32_SPEED, F32_LOW, F32_HIGH, F32_GOAL = np.float32(0.07), np.float32(-1.2), np.float32(0.6), np.float32(0.45)


@compiled
def reset(env: Any, k0: Any, k1: Any, low: Any, high: Any, state: Any) -> None:
    """Draw the initial state of an episode from stream 0."""
    zero = np.uint64(0)
    w0, w1, w2, w3 = philox(zero, zero, low, high, k0, k1)
    state[:] = 0.0
    if env == CARTPOLE:
        state[0], state[1], state[2], state[3] = -0.05 + 0.1 * unit(w0), -0.05 + 0.1 * unit(w1), -0.05 + 0.1 * unit(w2), -0.05 + 0.1 * unit(w3)
    elif env == ACROBOT:
        state[0], state[1] = np.float64(np.float32(-0.1 + 0.2 * unit(w0))), np.float64(np.float32(-0.1 + 0.2 * unit(w1)))
        state[2], state[3] = np.float64(np.float32(-0.1 + 0.2 * unit(w2))), np.float64(np.float32(-0.1 + 0.2 * unit(w3)))
    elif env == PENDULUM:
        state[0], state[1] = math.pi * (2.0 * unit(w0) - 1.0), 2.0 * unit(w1) - 1.0
    else:
        state[0] = -0.6 + 0.2 * unit(w0)


@compiled
def observe(env: Any, state: Any, obs: Any) -> None:
    """Write the observation, rounded to float32 as Gymnasium does."""
    if env == ACROBOT:
        obs[0], obs[1] = np.float32(math.cos(state[0])), np.float32(math.sin(state[0]))
        obs[2], obs[3] = np.float32(math.cos(state[1])), np.float32(math.sin(state[1]))
        obs[4], obs[5] = np.float32(state[2]), np.float32(state[3])
    elif env == PENDULUM:
        obs[0], obs[1], obs[2] = np.float32(math.cos(state[0])), np.float32(math.sin(state[0])), np.float32(state[1])
    else:
        for j in range(obs.shape[0]):
            obs[j] = np.float32(state[j])


@compiled
def step(env: Any, state: Any, choice: Any, action: Any) -> Any:
    """Advance the state in place; return (reward, terminated).  `action` is the real action, `choice` the discrete one."""
    if env == CARTPOLE:
        return _cartpole(state, choice)
    if env == MOUNTAIN_CAR:
        return _mountain_car(state, choice)
    if env == MOUNTAIN_CAR_CONTINUOUS:
        return _mountain_car_continuous(state, np.float32(action))
    if env == ACROBOT:
        return _acrobot(state, choice)
    return _pendulum(state, np.float32(action))


@compiled
def _cartpole(state: Any, choice: Any) -> Any:
    x, x_dot, theta, theta_dot = state[0], state[1], state[2], state[3]
    force = 10.0 if choice == 1 else -10.0
    costheta, sintheta = math.cos(theta), math.sin(theta)
    temp = (force + 0.05 * (theta_dot * theta_dot) * sintheta) / 1.1
    thetaacc = (9.8 * sintheta - costheta * temp) / (0.5 * (4.0 / 3.0 - 0.1 * (costheta * costheta) / 1.1))
    xacc = temp - 0.05 * thetaacc * costheta / 1.1
    x = x + 0.02 * x_dot
    x_dot = x_dot + 0.02 * xacc
    theta = theta + 0.02 * theta_dot
    theta_dot = theta_dot + 0.02 * thetaacc
    state[0], state[1], state[2], state[3] = x, x_dot, theta, theta_dot
    return 1.0, x < -2.4 or x > 2.4 or theta < -POLE_LIMIT or theta > POLE_LIMIT


@compiled
def _mountain_car(state: Any, choice: Any) -> Any:
    position, velocity = state[0], state[1]
    velocity += (choice - 1) * 0.001 + math.cos(3 * position) * (-0.0025)
    velocity = min(max(velocity, -0.07), 0.07)
    position += velocity
    position = min(max(position, -1.2), 0.6)
    if position == -1.2 and velocity < 0:
        velocity = 0.0
    state[0], state[1] = position, velocity
    return -1.0, position >= 0.5 and velocity >= 0.0


@compiled
def _mountain_car_continuous(state: Any, action: Any) -> Any:
    first = state[4] == 0.0
    inside = action >= np.float32(-1.0) and action <= np.float32(1.0)
    if first:
        pull = 0.0025 * math.cos(3.0 * state[0])
        if inside:
            speed = state[1] + np.float64(np.float32(action * F32_POWER) - np.float32(pull))
        else:
            speed = state[1] + (math.copysign(1.0, np.float64(action)) * 0.0015 - pull)
        speed = min(max(speed, -0.07), 0.07)
        place = min(max(state[0] + speed, -1.2), 0.6)
        if place == -1.2 and speed < 0:
            speed = 0.0
        done = place >= 0.45 and speed >= 0.0
        state[0], state[1] = np.float64(np.float32(place)), np.float64(np.float32(speed))
    else:
        position, velocity = np.float32(state[0]), np.float32(state[1])
        pull = 0.0025 * math.cos(np.float64(np.float32(np.float32(3.0) * position)))
        if inside:
            velocity = np.float32(velocity + np.float32(np.float32(action * F32_POWER) - np.float32(pull)))
        else:
            velocity = np.float32(velocity + np.float32(math.copysign(1.0, np.float64(action)) * 0.0015 - pull))
        velocity = min(max(velocity, -F32_SPEED), F32_SPEED)
        position = np.float32(position + velocity)
        position = min(max(position, F32_LOW), F32_HIGH)
        if position == F32_LOW and velocity < np.float32(0.0):
            velocity = np.float32(0.0)
        done = position >= F32_GOAL and velocity >= np.float32(0.0)
        state[0], state[1] = np.float64(position), np.float64(velocity)
    state[4] = 1.0
    effort = np.float64(action)
    return (100.0 if done else 0.0) - (effort * effort) * 0.1, done


@compiled
def _slopes(t1: Any, t2: Any, v1: Any, v2: Any, torque: Any) -> Any:
    d1 = 0.25 + (1.0 + 0.25 + 2 * 0.5 * math.cos(t2)) + 1.0 + 1.0
    d2 = (0.25 + 0.5 * math.cos(t2)) + 1.0
    phi2 = 0.5 * 9.8 * math.cos(t1 + t2 - math.pi / 2.0)
    phi1 = (
        -0.5 * (v2 * v2) * math.sin(t2) - 2 * 0.5 * v2 * v1 * math.sin(t2) + (0.5 + 1.0) * 9.8 * math.cos(t1 - math.pi / 2) + phi2
    )  # fmt: skip
    a2 = (torque + d2 / d1 * phi1 - 0.5 * (v1 * v1) * math.sin(t2) - phi2) / (0.25 + 1.0 - d2 * d2 / d1)
    return v1, v2, -(d2 * a2 + phi1) / d1, a2


@compiled
def _acrobot(state: Any, choice: Any) -> Any:
    torque = choice - 1.0
    a, b, c, d = state[0], state[1], state[2], state[3]
    h = 0.2
    k1 = _slopes(a, b, c, d, torque)
    k2 = _slopes(a + h / 2 * k1[0], b + h / 2 * k1[1], c + h / 2 * k1[2], d + h / 2 * k1[3], torque)
    k3 = _slopes(a + h / 2 * k2[0], b + h / 2 * k2[1], c + h / 2 * k2[2], d + h / 2 * k2[3], torque)
    k4 = _slopes(a + h * k3[0], b + h * k3[1], c + h * k3[2], d + h * k3[3], torque)
    a += h / 6.0 * (k1[0] + 2 * k2[0] + 2 * k3[0] + k4[0])
    b += h / 6.0 * (k1[1] + 2 * k2[1] + 2 * k3[1] + k4[1])
    c += h / 6.0 * (k1[2] + 2 * k2[2] + 2 * k3[2] + k4[2])
    d += h / 6.0 * (k1[3] + 2 * k2[3] + 2 * k3[3] + k4[3])
    state[0], state[1] = _wrapped(a), _wrapped(b)
    state[2] = min(max(c, -4 * math.pi), 4 * math.pi)
    state[3] = min(max(d, -9 * math.pi), 9 * math.pi)
    done = -math.cos(state[0]) - math.cos(state[1] + state[0]) > 1.0
    return 0.0 if done else -1.0, done


@compiled
def _wrapped(angle: Any) -> Any:
    while angle > math.pi:
        angle -= 2 * math.pi
    while angle < -math.pi:
        angle += 2 * math.pi
    return angle


@compiled
def _pendulum(state: Any, action: Any) -> Any:
    theta, speed = state[0], state[1]
    u = min(max(action, np.float32(-2.0)), np.float32(2.0))
    angle = ((theta + math.pi) % (2 * math.pi)) - math.pi
    cost = angle * angle + 0.1 * (speed * speed) + np.float64(np.float32(0.001) * np.float32(u * u))
    push = np.float64(np.float32(np.float32(3.0) * u))
    speed = min(max(speed + (15.0 * math.sin(theta) + push) * 0.05, -8.0), 8.0)
    state[0], state[1] = theta + speed * 0.05, speed
    return -cost, False
