"""The denoiser: what it is before training, what it may not depend on, and what it costs."""

# ruff: noqa: E402  what is imported below needs torch
from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from binopose.models import skeleton_fit
from binopose.models.bone_lengths import segments_of
from binopose.models.diffusion import detector_schedule
from binopose.models.skeleton import BODY17
from binopose.models.skeleton_fit import SkeletonFit, observation_sigma_m

from ...conftest import need_torch
from ..test_skeleton_fit import person_m

need_torch()

import torch
from binopose.models.nets.denoiser import (
    PAPER,
    SIGMA_M,
    Denoiser,
    DenoiserConfig,
    Estimate,
    Observation,
)
from binopose.models.nets.geometry import project, triangulate
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

POSES, JOINTS = 6, len(BODY17)
SMALL = DenoiserConfig(width=16, layers=2, heads=2, hidden=24)
SMALL_PAPER = dataclasses.replace(PAPER, width=16, layers=2, hidden=24)
CONFIGS = {"own": SMALL, "paper": SMALL_PAPER}
PELVIS, HIPS = BODY17.index("Pelvis"), [BODY17.index("RightHip"), BODY17.index("LeftHip")]
Views = tuple[Tensor, Tensor, Observation]


def true_lengths_m(points_m: np.ndarray) -> np.ndarray:
    """Of somebody whose bones keep their lengths, (G,)."""
    fit = SkeletonFit()
    for pose_m in points_m:
        fit.lengths.observe(pose_m, np.ones(JOINTS))
    return fit.lengths.median_m


def observed(seed: int = 0, noise: float = 0.004, dtype: torch.dtype = torch.float32) -> Views:
    """Both views of one person in front of several rigs, (POSES, J, 2) normalised, with noise in these units."""
    generator = torch.Generator().manual_seed(seed)
    person = person_m(240, seed)
    baseline_m = torch.logspace(-0.7, 0.5, POSES)
    left, right = (
        view + noise * torch.randn(POSES, JOINTS, 2, generator=generator)
        for view in project(torch.tensor(person[:: 240 // POSES], dtype=torch.float32), baseline_m)
    )
    confidence = 0.3 + 0.7 * torch.rand(POSES, JOINTS, generator=generator)
    lengths_m = torch.tensor(true_lengths_m(person), dtype=torch.float32).expand(POSES, -1)
    seen = Observation(*(value.to(dtype) for value in (confidence, baseline_m, lengths_m)))
    return left.to(dtype), right.to(dtype), seen


def trained(config: DenoiserConfig, seed: int = 0) -> Denoiser:
    """A network whose heads say something, as after training."""
    torch.manual_seed(seed)
    network = Denoiser(config)
    for name, parameter in network.named_parameters():
        if name.startswith(("points.", "body.", "sigma.")):
            torch.nn.init.normal_(parameter, std=0.1)
    return network.eval()


def with_settings(network: Denoiser, **settings: float) -> Denoiser:
    """The same weights under other settings."""
    other = Denoiser(dataclasses.replace(network.config, **settings))  # pyright: ignore[reportArgumentType]
    other.load_state_dict(network.state_dict())
    return other.eval()


@torch.no_grad()
def at_detections(network: Denoiser, left: Tensor, right: Tensor, seen: Observation) -> Estimate:
    return network(left, right, torch.ones_like(seen.baseline_m), seen)


def without(seen: Observation, *joints: str) -> Observation:
    confidence = seen.confidence.clone()
    confidence[:, [BODY17.index(joint) for joint in joints]] = 0
    return seen._replace(confidence=confidence)


# --- before training


def test_untrained_network_returns_the_bone_length_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    """With enough iterations that is what the skeleton refiner makes of the same detections."""
    monkeypatch.setattr(skeleton_fit, "GAUSS_NEWTON_STEPS", 100)
    left, right, seen = observed(noise=0.001, dtype=torch.float64)
    network = Denoiser(dataclasses.replace(SMALL, fit_iterations=1000)).double()
    found = at_detections(network, left, right, seen)
    measured_m = triangulate(left, right, seen.baseline_m).numpy()
    person = person_m(240, 0)
    for pose in range(POSES):
        fit = SkeletonFit()
        for seen_m in person:
            fit.lengths.observe(seen_m, np.ones(JOINTS))
        confidence = seen.confidence[pose].numpy()
        sigma_m = observation_sigma_m(measured_m[pose], confidence, 1.0, float(seen.baseline_m[pose]), 0.0)
        expected_m, _ = fit.refine(measured_m[pose], confidence, sigma_m)
        assert np.abs(expected_m - measured_m[pose]).max() > 0.005
        np.testing.assert_allclose(found.points_m[pose].numpy(), expected_m, atol=1e-4)


def test_untrained_network_without_lengths_returns_the_triangulation() -> None:
    """All but the pelvis, which starts between the hips."""
    left, right, seen = observed()
    seen = seen._replace(lengths_m=torch.zeros_like(seen.lengths_m))
    found = at_detections(Denoiser(SMALL), left, right, seen)
    expected_m = triangulate(left, right, seen.baseline_m)
    expected_m[:, PELVIS] = expected_m[:, HIPS].mean(dim=1)
    torch.testing.assert_close(found.points_m, expected_m, rtol=0, atol=1e-5)


def test_untrained_sigma_is_largest_along_the_line_of_sight() -> None:
    left, right, seen = observed()
    found = at_detections(Denoiser(SMALL), left, right, seen)
    ray = torch.nn.functional.normalize(found.points_m[:, PELVIS], dim=-1)
    # The rotation to the line of sight shares out the variance between the axes and keeps its sum.
    distance_m = found.points_m[:, PELVIS].norm(dim=-1)
    gain = 1 + 0.15 * distance_m / seen.baseline_m
    total = (found.sigma_m**2).sum(dim=-1)
    torch.testing.assert_close(total, (SIGMA_M**2 * (2 + gain**2))[:, None].expand_as(total), rtol=1e-3, atol=0)
    assert (found.sigma_m[..., 2] > found.sigma_m[..., 0])[ray[:, 2] > 0.9].all()


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_initial_weights_follow_the_seed(config: DenoiserConfig) -> None:
    states = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        states.append(torch.cat([value.flatten() for value in Denoiser(config).state_dict().values()]))
    assert torch.equal(states[0], states[1])
    assert not torch.equal(states[0], states[2])


# --- what does not matter


@pytest.mark.parametrize("calls", [1, 3])
@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_pixels_of_missing_joints_do_not_matter(config: DenoiserConfig, calls: int) -> None:
    left, right, seen = observed()
    missing = ("Pelvis", "LeftWrist", "RightHip", "HeadTop")
    seen = without(seen, *missing)
    network, schedule = trained(config), detector_schedule(calls)
    expected = network.denoise(left, right, seen, schedule)
    assert torch.isfinite(expected.points_m).all()
    places = [BODY17.index(joint) for joint in missing]
    for value in (0.0, -3.0, 1000.0):
        other_left, other_right = left.clone(), right.clone()
        other_left[:, places], other_right[:, places] = value, -0.5 * value
        found = network.denoise(other_left, other_right, seen, schedule)
        torch.testing.assert_close(found.points_m, expected.points_m, rtol=0, atol=1e-6)
        torch.testing.assert_close(found.sigma_m, expected.sigma_m, rtol=0, atol=1e-6)
    # A joint that was seen does matter.
    other_left = left.clone()
    other_left[:, BODY17.index("RightWrist")] += 0.05
    assert (network.denoise(other_left, right, seen, schedule).points_m - expected.points_m).abs().max() > 1e-3


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_poses_of_a_batch_know_nothing_of_each_other(config: DenoiserConfig) -> None:
    left, right, seen = observed()
    seen = without(seen, "Nose", "LeftKnee")
    network = trained(config)
    together = network.denoise(left, right, seen, detector_schedule(2))
    for pose in range(POSES):
        one = slice(pose, pose + 1)
        alone = network.denoise(left[one], right[one], Observation(*(v[one] for v in seen)), detector_schedule(2))
        torch.testing.assert_close(alone.points_m, together.points_m[one], rtol=0, atol=2e-5)
        torch.testing.assert_close(alone.sigma_m, together.sigma_m[one], rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_conditions_that_are_off_are_not_looked_at(config: DenoiserConfig) -> None:
    config = dataclasses.replace(config, lengths=False, confidence=False)
    left, right, seen = observed()
    network = trained(config)
    expected = at_detections(network, left, right, seen)
    found = at_detections(
        network, left, right, seen._replace(confidence=seen.confidence / 2, lengths_m=2 * seen.lengths_m)
    )
    assert torch.equal(found.points_m, expected.points_m)


@pytest.mark.parametrize("condition", ["lengths", "confidence", "epipolar"])
def test_conditions_that_are_on_are_looked_at(condition: str) -> None:
    left, right, seen = observed()
    network = trained(dataclasses.replace(SMALL, fit_iterations=0))
    expected = at_detections(network, left, right, seen)
    match condition:
        case "lengths":
            seen = seen._replace(lengths_m=1.1 * seen.lengths_m)
        case "confidence":
            seen = seen._replace(confidence=seen.confidence / 2)
        case "epipolar":
            shift = torch.zeros_like(left)
            shift[:, 0, 1] = 0.02
            left, right = left + shift, right - shift
    assert (at_detections(network, left, right, seen).points_m - expected.points_m).abs().max() > 1e-5


def test_single_precision_is_enough() -> None:
    left, right, seen = observed(dtype=torch.float64)
    for config in CONFIGS.values():
        network = trained(config)
        single = network.denoise(
            left.float(), right.float(), Observation(*(v.float() for v in seen)), detector_schedule(2)
        )
        double = network.double().denoise(left, right, seen, detector_schedule(2))
        assert double.points_m.dtype == torch.float64
        torch.testing.assert_close(single.points_m.double(), double.points_m, rtol=0, atol=1e-4)
        torch.testing.assert_close(single.sigma_m.double(), double.sigma_m, rtol=1e-3, atol=1e-5)


def test_reduced_precision_leaves_the_geometry_alone() -> None:
    left, right, seen = observed()
    network = trained(SMALL)
    exact = at_detections(network, left, right, seen)
    network.reduced_precision = True
    rounded = at_detections(network, left, right, seen)
    assert rounded.points_m.dtype == torch.float32
    difference_m = (rounded.points_m - exact.points_m).norm(dim=-1)
    assert difference_m.max() > 0
    # Of corrections of centimetres a hundredth.
    assert difference_m.max() < 0.02 * (exact.points_m - triangulate(left, right, seen.baseline_m)).norm(dim=-1).max()


# --- the loop


def test_steps_are_told_their_noise_and_see_the_state_of_the_diffusion() -> None:
    """Two steps written out: the second sees the detections half way to the projection of the first answer."""
    left, right, seen = observed()
    network = trained(SMALL)
    first = at_detections(network, left, right, seen)
    clean_left, clean_right = project(first.points_m, seen.baseline_m)
    with torch.no_grad():
        second = network(
            (left + clean_left) / 2, (right + clean_right) / 2, torch.full_like(seen.baseline_m, 0.5), seen
        )
        found = network.denoise(left, right, seen, detector_schedule(2))
        once = network.denoise(left, right, seen)
    torch.testing.assert_close(once.points_m, first.points_m, rtol=0, atol=0)
    torch.testing.assert_close(found.points_m, second.points_m, rtol=0, atol=1e-5)
    # What is uncertain is what was detected, and not what the network made of it.
    torch.testing.assert_close(found.sigma_m, first.sigma_m, rtol=0, atol=0)
    assert (second.points_m - first.points_m).abs().max() > 1e-3


def test_share_of_the_correction_counts_where_lengths_are_known() -> None:
    left, right, seen = observed()
    lengths_m = seen.lengths_m.clone()
    lengths_m[::2] = 0
    seen = seen._replace(lengths_m=lengths_m)
    network = trained(SMALL)
    none_m, half_m, all_m = (
        at_detections(with_settings(network, correction_share=share), left, right, seen).points_m
        for share in (0.0, 0.5, 1.0)
    )
    fitted_m = at_detections(Denoiser(SMALL), left, right, seen).points_m
    torch.testing.assert_close(none_m[1::2], fitted_m[1::2], rtol=0, atol=1e-5)
    torch.testing.assert_close(half_m[1::2], (fitted_m + all_m)[1::2] / 2, rtol=0, atol=1e-5)
    torch.testing.assert_close(none_m[::2], all_m[::2], rtol=0, atol=0)
    assert (all_m - fitted_m).abs().amax(dim=(1, 2)).min() > 1e-3


def test_sigma_is_widened_by_its_factor() -> None:
    left, right, seen = observed()
    network = trained(SMALL)
    plain, wide = (with_settings(network, sigma_scale=scale).denoise(left, right, seen) for scale in (1.0, 1.5))
    torch.testing.assert_close(wide.sigma_m, 1.5 * plain.sigma_m)
    torch.testing.assert_close(wide.points_m, plain.points_m, rtol=0, atol=0)


# --- bad input and gradients


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
@pytest.mark.parametrize("kind", ["nothing seen", "rays part", "absurd lengths", "far away", "two cameras in one"])
def test_bad_input_gives_finite_numbers(config: DenoiserConfig, kind: str) -> None:
    left, right, seen = observed()
    match kind:
        case "nothing seen":
            seen = seen._replace(confidence=torch.zeros_like(seen.confidence))
        case "rays part":
            left, right = right, left
        case "absurd lengths":
            seen = seen._replace(lengths_m=torch.linspace(0.001, 50, segments_of(BODY17).groups).expand(POSES, -1))
        case "far away":
            left, right = left / 100, right / 100
        case "two cameras in one":
            seen = seen._replace(baseline_m=torch.full_like(seen.baseline_m, 1e-6))
    with torch.no_grad():
        found = trained(config).denoise(left, right, seen, detector_schedule(3))
    for value in found:
        assert torch.isfinite(value).all()
    if kind != "nothing seen":
        assert (found.sigma_m > 0).all()


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_gradients_reach_every_weight(config: DenoiserConfig) -> None:
    left, right, seen = observed()
    network = trained(config)
    found = network.denoise(left, right, without(seen, "Pelvis", "Neck", "LeftElbow"), detector_schedule(2))
    (found.points_m.square().sum() + found.sigma_m.log().sum()).backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.abs().max() > 0, name


# --- cost


def multiply_adds(config: DenoiserConfig) -> int:
    """Of matrix products and convolutions, one pose."""
    left, right, seen = observed()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        Denoiser(config).denoise(left[:1], right[:1], Observation(*(value[:1] for value in seen)))
    return counter.get_total_flops() // 2


def test_one_step_costs_at_most_13_million_multiply_adds() -> None:
    found = multiply_adds(DenoiserConfig())
    # At least its largest linear layers once per joint, so the count did count.
    assert 17 * 4 * 80 * (4 * 80 + 2 * 160) < found <= 13_000_000


def test_weights_are_small() -> None:
    """Four bytes each, in a file of at most 8 MB; the published network has 1.58 million."""
    for config in (DenoiserConfig(), PAPER):
        numbers = sum(parameter.numel() for parameter in Denoiser(config).parameters())
        assert 200_000 < numbers < 2_000_000
