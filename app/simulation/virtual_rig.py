"""A pair of webcams that never existed, with what is wrong with real ones."""

from __future__ import annotations

import numpy as np
from scipy.spatial.transform import Rotation

from ...calibration.rig import Camera, RigidTransform, StereoRig
from .choreography import PATH_CENTRE_M

SIZE_PX = (1280, 720)
# With the barrel distortion drawn below this sees about 74 degrees across.
FOCAL_PX = 930.0
BASELINE_M = 0.25
CAMERA_HEIGHT_M = 1.3
# Aim below the middle of a standing person: feet leave the picture before the head would.
AIM_HEIGHT_M = 0.98
# Each camera looks this much toward the other.
TOE_IN_DEG = 1.2
# Mounting: standard deviation of each camera's roll and pitch.
MOUNTING_DEG = 0.3


def _camera(rng: np.random.Generator) -> Camera:
    width, height = SIZE_PX
    focal_px = FOCAL_PX * rng.uniform(0.99, 1.01)
    centre_px = np.array([(width - 1) / 2, (height - 1) / 2]) + rng.normal(0.0, 6.0, 2)
    matrix = np.array([[focal_px, 0.0, centre_px[0]], [0.0, focal_px * 1.001, centre_px[1]], [0.0, 0.0, 1.0]])
    distortion = [rng.uniform(-0.2, -0.14), rng.uniform(0.03, 0.05), *rng.normal(0.0, 8e-4, 2), 0.0]
    return Camera(SIZE_PX, matrix, np.array(distortion))


def _world_from_camera(rng: np.random.Generator, side: int) -> RigidTransform:
    """side: -1 left, +1 right."""
    centre_m = np.array([side * BASELINE_M / 2, 0.0, CAMERA_HEIGHT_M])
    ahead = np.array([PATH_CENTRE_M[0], PATH_CENTRE_M[1], AIM_HEIGHT_M]) - [0.0, 0.0, CAMERA_HEIGHT_M]
    forward = ahead / np.linalg.norm(ahead)
    right = np.array([1.0, 0.0, 0.0])
    level = np.stack([right, np.cross(forward, right), forward], axis=1)  # camera x, y (down), z in the world
    pitch_deg, roll_deg = rng.normal(0.0, MOUNTING_DEG, 2)
    # In the camera's own axes: y points down, so a positive turn about it looks to the right.
    mounting = Rotation.from_euler("YXZ", [-side * TOE_IN_DEG, pitch_deg, roll_deg], degrees=True).as_matrix()
    return RigidTransform(level @ mounting, centre_m)


def virtual_rig(seed: int = 0) -> StereoRig:
    """Two 1280 x 720 webcams, 0.25 m apart, at 1.3 m height, looking at where the simulated person walks.

    Focal lengths, principal points, lens distortion (barrel, with tangential terms), roll and pitch differ a little
    between the cameras and from seed to seed; both look slightly inward. `world_from_left` leads to the world of
    `choreography`: z up, floor at 0, origin below the middle of the rig.
    """
    rng = np.random.default_rng(seed)
    left, right = _camera(rng), _camera(rng)
    world_from_left, world_from_right = _world_from_camera(rng, -1), _world_from_camera(rng, 1)
    return StereoRig(
        left,
        right,
        right_from_left=world_from_right.inverse() @ world_from_left,
        world_from_left=world_from_left,
        provenance={"source": "simulated", "seed": seed},
    )
