"""The schedules against published facts, the DDIM loop against its closed form and against the paper's own notation."""

# ruff: noqa: E402  what is imported below needs torch
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from binopose.models.diffusion import Schedule, ddim, detector_schedule, linear_beta_noise, published_schedule

from ..conftest import need_torch

need_torch()

import torch

CALLS = (1, 2, 3, 4, 5)


def schedules() -> list[Schedule]:
    return [make(calls) for calls in CALLS for make in (detector_schedule, lambda k: published_schedule(26, k))]


def test_published_noise_ends_at_an_eighth_of_the_detectors() -> None:
    signal, noise = linear_beta_noise(1e-4, 1e-3, 26)
    assert len(signal) == len(noise) == 26
    assert noise[-1] == pytest.approx(0.12, abs=0.005)
    assert signal[-1] ** 2 == pytest.approx(0.986, abs=0.0005)
    # The first step is the first beta alone, and variance is preserved throughout.
    assert noise[0] ** 2 == pytest.approx(1e-4)
    np.testing.assert_allclose(signal**2 + noise**2, 1)
    betas = np.linspace(1e-4, 1e-3, 26)
    np.testing.assert_allclose(signal[-1] ** 2, np.exp(np.log1p(-betas).sum()))


@pytest.mark.parametrize("calls", CALLS)
def test_published_schedule_starts_at_the_last_of_its_steps(calls: int) -> None:
    signal, noise = linear_beta_noise(1e-4, 1e-3, 26)
    schedule = published_schedule(26, calls)
    assert len(schedule) == calls
    assert (schedule.signal[0], schedule.noise[0]) == (signal[-1], noise[-1])
    steps = np.searchsorted(noise, schedule.noise)
    np.testing.assert_array_equal(noise[steps], schedule.noise)
    np.testing.assert_array_equal(signal[steps], schedule.signal)
    # Evenly spaced, and the end of the last stretch is no noise at all, which is what the last prediction stands for.
    assert np.ptp(-np.diff([*(steps + 1), 0])) <= 1


@pytest.mark.parametrize("calls", CALLS)
def test_our_schedule_starts_with_what_the_detector_saw(calls: int) -> None:
    schedule = detector_schedule(calls)
    np.testing.assert_array_equal(schedule.signal, np.ones(calls))
    np.testing.assert_allclose(schedule.noise, [1 - k / calls for k in range(calls)])


@pytest.mark.parametrize(
    ("signal", "noise"),
    [([1.0], [1.0, 0.5]), ([], []), ([[1.0]], [[1.0]]), ([1.0, 1.0], [0.5, 1.0]), ([1.0], [0.0]), ([0.0], [1.0])],
    ids=["lengths", "empty", "shape", "rising", "no noise", "no signal"],
)
def test_schedules_that_are_none_are_refused(signal: list[Any], noise: list[Any]) -> None:
    with pytest.raises(ValueError, match="signal, noise: expected"):
        Schedule(np.array(signal), np.array(noise))


@pytest.mark.parametrize("schedule", schedules())
def test_loop_has_the_closed_form_of_a_linear_predictor(schedule: Schedule) -> None:
    """With u_0' = c u every step multiplies the state by a number."""
    share = 0.3
    factor = share
    for k in range(1, len(schedule)):
        a, a_next = schedule.signal[k - 1 : k + 1]
        s, s_next = schedule.noise[k - 1 : k + 1]
        factor *= a_next * share + s_next * (1 - a * share) / s
    state = np.random.default_rng(0).normal(size=(4, 17, 4))

    def shrunk(u: Any, _k: int) -> Any:
        return share * u

    np.testing.assert_allclose(ddim(state, schedule, shrunk), factor * state, rtol=1e-12)
    found = ddim(torch.from_numpy(state), schedule, shrunk)
    assert isinstance(found, torch.Tensor)
    np.testing.assert_allclose(found.numpy(), factor * state, rtol=1e-12)


def test_loop_pinned_by_hand() -> None:
    """u = 8: prediction 4, error 4, next state 4 + 0.5 * 4 = 6, prediction 3."""
    assert ddim(np.array(8.0), detector_schedule(2), lambda u, _k: u / 2) == pytest.approx(3.0)


@pytest.mark.parametrize("schedule", schedules())
def test_states_of_a_perfect_predictor_are_those_of_the_forward_process(schedule: Schedule) -> None:
    rng = np.random.default_rng(1)
    clean, error = rng.normal(size=(2, 5, 17, 4))
    seen: list[tuple[int, np.ndarray]] = []

    def perfect(state: np.ndarray, k: int) -> np.ndarray:
        seen.append((k, state))
        return clean

    found = ddim(schedule.signal[0] * clean + schedule.noise[0] * error, schedule, perfect)
    np.testing.assert_array_equal(found, clean)
    assert [k for k, _ in seen] == list(range(len(schedule)))
    for k, state in seen:
        np.testing.assert_allclose(state, schedule.signal[k] * clean + schedule.noise[k] * error, atol=1e-12)


def as_in_the_paper(state: np.ndarray, alpha_bar: np.ndarray, noise_of: Callable[[np.ndarray], np.ndarray]) -> Any:
    """DDIM written with predicted noise and cumulated alphas (Song et al. 2021, eq. 12, sigma = 0)."""
    for now, following in zip(alpha_bar, [*alpha_bar[1:], 1.0], strict=True):
        predicted = noise_of(state)
        clean = (state - np.sqrt(1 - now) * predicted) / np.sqrt(now)
        state = np.sqrt(following) * clean + np.sqrt(1 - following) * predicted
    return state


@pytest.mark.parametrize("calls", CALLS)
def test_loop_is_the_papers_whatever_the_network(calls: int) -> None:
    schedule = published_schedule(76, calls)
    state = np.random.default_rng(2).normal(size=(3, 17, 4))

    def clean(u: np.ndarray, k: int) -> np.ndarray:
        return (u - schedule.noise[k] * np.tanh(u)) / schedule.signal[k]

    expected = as_in_the_paper(state, schedule.signal**2, np.tanh)
    np.testing.assert_allclose(ddim(state, schedule, clean), expected, rtol=1e-10)
