"""Stereo geometry of the rectified frame for batches of poses, differentiable and exportable.

Image coordinates here are normalised: (pixel - principal point) / focal length, so a point (X, Y, Z) of the left frame
lies at (X / Z, Y / Z) in the left view and at ((X - B) / Z, Y / Z) in the right one.
"""

from __future__ import annotations

import torch
from torch import Tensor

# Rays that meet further away than this many baselines, or behind the cameras, tell nothing about depth.
MIN_DISPARITY = 1e-4


def normalised(points_px: Tensor, focal_px: Tensor, centre_px: Tensor) -> Tensor:
    """Normalised image coordinates of rectified pixels. points_px: (B, J, 2); focal_px: (B,); centre_px: (B, 2)."""
    return (points_px - centre_px[:, None]) / focal_px[:, None, None]


def triangulate(left: Tensor, right: Tensor, baseline_m: Tensor) -> Tensor:
    """Points in the rectified left frame. left, right: (B, J, 2) normalised; baseline_m: (B,) -> (B, J, 3) metres.

    The maximum-likelihood point for equal independent noise (see `calibration.triangulate`): Z = B / (x1 - x2). The
    disparity is clamped from below at MIN_DISPARITY to stay finite; whoever calls masks such joints.
    """
    disparity = (left[..., 0] - right[..., 0]).clamp(min=MIN_DISPARITY)
    depth_m = baseline_m[:, None] / disparity
    x_m = ((left[..., 0] + right[..., 0]) * depth_m + baseline_m[:, None]) / 2
    y_m = (left[..., 1] + right[..., 1]) * depth_m / 2
    return torch.stack([x_m, y_m, depth_m], dim=-1)


def project(points_m: Tensor, baseline_m: Tensor) -> tuple[Tensor, Tensor]:
    """Normalised coordinates of points in both views. points_m: (B, J, 3); baseline_m: (B,) -> two (B, J, 2)."""
    x, y, depth = points_m.unbind(-1)
    depth = depth.clamp(min=1e-2)
    row = y / depth
    return torch.stack([x / depth, row], dim=-1), torch.stack([(x - baseline_m[:, None]) / depth, row], dim=-1)


def ray_rotation(point_m: Tensor) -> Tensor:
    """The smallest rotation that takes the direction of a point to +z. point_m: (B, 3), in front -> (B, 3, 3).

    Triangulation errs mostly along the line of sight, which these coordinates make an axis. Rodrigues' formula for the
    rotation between two unit vectors r = (a, b, c) and z.
    """
    a, b, c = (point_m / point_m.norm(dim=-1, keepdim=True).clamp(min=1e-6)).unbind(-1)
    share = 1 / (1 + c.clamp(min=-0.5))
    rows = [1 - a * a * share, -a * b * share, -a, -a * b * share, 1 - b * b * share, -b, a, b, c]
    return torch.stack(rows, dim=-1).reshape(-1, 3, 3)
