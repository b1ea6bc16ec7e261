"""Batched geometry against the geometry of `calibration` on random rigs, and rotations against their definition."""

# ruff: noqa: E402  what is imported below needs torch
from __future__ import annotations

import numpy as np
import pytest
from binopose.calibration import triangulate as exact
from binopose.calibration.rectify import RectifiedRig

from ...conftest import need_torch

need_torch()

import torch
from binopose.models.nets.geometry import MIN_DISPARITY, normalised, project, ray_rotation, triangulate
from torch import Tensor

RIGS = 20


def random_rigs(seed: int = 0) -> list[RectifiedRig]:
    rng = np.random.default_rng(seed)
    drawn = rng.uniform([300, 100, 100, 100, 0.06], [3000, 900, 900, 700, 4], (RIGS, 5)).tolist()
    return [
        RectifiedRig(f, left, right, row, baseline, np.eye(3), np.eye(3)) for f, left, right, row, baseline in drawn
    ]


def in_pixels(rigs: list[RectifiedRig], views_px: np.ndarray) -> tuple[Tensor, Tensor, Tensor]:
    """Normalised coordinates of rectified pixels (RIGS, 2, J, 2) by the code under test, and the baselines."""
    focal_px = torch.tensor([rig.focal_px for rig in rigs], dtype=torch.float64)
    centres_px = torch.tensor(np.stack([rig.centres_px for rig in rigs]))
    left, right = (normalised(torch.from_numpy(views_px[:, view]), focal_px, centres_px[:, view]) for view in (0, 1))
    return left, right, torch.tensor([rig.baseline_m for rig in rigs], dtype=torch.float64)


def people_m(seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).uniform([-2, -1.5, 1], [2, 1.5, 8], (RIGS, 17, 3))


def test_triangulation_is_that_of_the_calibration() -> None:
    rigs, points_m = random_rigs(), people_m()
    rng = np.random.default_rng(2)
    views_px = np.stack([exact.project(rig, points) for rig, points in zip(rigs, points_m, strict=True)])
    views_px += rng.normal(0, 2, views_px.shape)
    expected_m = np.stack([exact.triangulate(rig, *views) for rig, views in zip(rigs, views_px, strict=True)])
    found_m = triangulate(*in_pixels(rigs, views_px)).numpy()
    # Where the noise made the rays part, one says NaN and the other stays finite.
    assert np.isfinite(found_m).all()
    sensible = expected_m[..., 2] < 50
    assert sensible.mean() > 0.95
    np.testing.assert_allclose(found_m[sensible], expected_m[sensible], rtol=1e-9)


def test_projection_is_that_of_the_calibration() -> None:
    rigs, points_m = random_rigs(), people_m()
    views_px = np.stack([exact.project(rig, points) for rig, points in zip(rigs, points_m, strict=True)])
    left, right, baseline_m = in_pixels(rigs, views_px)
    found = project(torch.from_numpy(points_m), baseline_m)
    for expected, view in zip((left, right), found, strict=True):
        torch.testing.assert_close(view, expected, rtol=0, atol=1e-12)


def test_rays_that_part_stay_finite_in_front_of_the_rig() -> None:
    left, right = torch.zeros(1, 3, 2), torch.tensor([[[0.0, 0.0], [0.5, 0.0], [MIN_DISPARITY / 2, 0.0]]])
    found_m = triangulate(left, right, torch.tensor([0.2]))
    torch.testing.assert_close(found_m[..., 2], torch.full((1, 3), 0.2 / MIN_DISPARITY))


def test_points_behind_the_cameras_project_to_finite_numbers() -> None:
    for view in project(torch.tensor([[[0.3, -0.2, 0.0], [1.0, 1.0, -3.0]]]), torch.tensor([0.2])):
        assert torch.isfinite(view).all()


def test_gradients_are_those_of_finite_differences() -> None:
    rng = np.random.default_rng(3)
    points_m = torch.tensor(rng.uniform([-1, -1, 2], [1, 1, 4], (2, 3, 3)), requires_grad=True)
    baseline_m = torch.tensor([0.2, 1.5], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(project, (points_m, baseline_m))

    def round_trip(points: Tensor, baseline: Tensor) -> Tensor:
        return triangulate(*project(points, baseline), torch.tensor([0.3, 1.0], dtype=torch.float64))

    assert torch.autograd.gradcheck(round_trip, (points_m, baseline_m))
    assert torch.autograd.gradcheck(lambda points: ray_rotation(points[:, 0]), (points_m,))


def test_ray_rotation_is_the_smallest_that_takes_the_ray_to_z() -> None:
    points_m = torch.from_numpy(np.random.default_rng(4).uniform([-6, -4, 0.1], [6, 4, 9], (500, 3)))
    turn = ray_rotation(points_m)
    torch.testing.assert_close(turn @ turn.transpose(1, 2), torch.eye(3, dtype=torch.float64).expand(500, 3, 3))
    torch.testing.assert_close(torch.linalg.det(turn), torch.ones(500, dtype=torch.float64))
    ahead = torch.zeros(500, 3, dtype=torch.float64)
    ahead[:, 2] = points_m.norm(dim=-1)
    torch.testing.assert_close((turn @ points_m[..., None])[..., 0], ahead)
    # A rotation by the angle between both directions, and not by any more, has this trace.
    cosine = points_m[:, 2] / points_m.norm(dim=-1)
    torch.testing.assert_close((turn.diagonal(dim1=1, dim2=2).sum(dim=-1) - 1) / 2, cosine)


@pytest.mark.parametrize("point_m", [(0.0, 0.0, 2.0), (0.0, 0.0, 0.0), (1.0, 0.0, -1.0)])
def test_ray_rotation_stays_finite(point_m: tuple[float, float, float]) -> None:
    turn = ray_rotation(torch.tensor([point_m]))
    assert torch.isfinite(turn).all()
    if point_m[2] > 0:
        torch.testing.assert_close(turn[0], torch.eye(3))
