"""The whole of a denoiser as one graph, pixels in and metres out: what every engine runs."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from ..bone_lengths import segments_of
from ..denoiser_ports import DENOISER_INPUTS, DENOISER_OUTPUTS
from ..diffusion import Schedule, detector_schedule
from ..skeleton import BODY17
from .denoiser import Denoiser, Observation
from .geometry import normalised


class FusedDenoiser(nn.Module):
    """Triangulation, conditions, K steps and projection behind the inputs and outputs of `models.denoiser_ports`."""

    def __init__(self, network: Denoiser, steps: int) -> None:
        super().__init__()
        self.network = network.eval()
        self.schedule: Schedule = detector_schedule(steps)

    def forward(
        self, left_px: Tensor, right_px: Tensor, confidence: Tensor, rig: Tensor, lengths_m: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Everything from pixels to metres.

        left_px, right_px: (B, J, 2); confidence: (B, J); rig: (B, 5) focal length, baseline, columns of both principal
        points, their row; lengths_m: (B, G). Returns points_m, sigma_m (B, J, 3) and epipolar_px (B, J).
        """
        focal_px, baseline_m = rig[:, 0], rig[:, 1]
        left = normalised(left_px, focal_px, torch.stack([rig[:, 2], rig[:, 4]], dim=-1))
        right = normalised(right_px, focal_px, torch.stack([rig[:, 3], rig[:, 4]], dim=-1))
        estimate = self.network.denoise(left, right, Observation(confidence, baseline_m, lengths_m), self.schedule)
        known = (confidence > 0).to(left_px.dtype)
        return estimate.points_m, estimate.sigma_m, (left_px[..., 1] - right_px[..., 1]) * known


# A standing person, as bones from parent to child in metres (x to the person's left, y down), to bend at random.
_STANDING = {
    "Hip": (0.12, 0, 0), "Knee": (0.02, 0.42, 0), "Ankle": (0, 0.42, 0.03), "Thorax": (0, -0.25, 0),
    "Neck": (0, -0.25, 0), "Nose": (0, -0.09, -0.07), "HeadTop": (0, -0.11, 0.04), "Shoulder": (0.16, -0.2, 0),
    "Elbow": (0.06, 0.27, 0),
    "Wrist": (0.02, 0.23, -0.06),
}  # fmt: skip


def _random_people(count: int, rng: np.random.Generator) -> np.ndarray:
    """(count, J, 3) around the pelvis: each bone of the standing person turned and stretched at random."""
    heading = rng.uniform(0, 2 * np.pi, count)
    cos, sin, zero, one = np.cos(heading), np.sin(heading), np.zeros(count), np.ones(count)
    turn = np.stack([cos, zero, sin, zero, one, zero, -sin, zero, cos], axis=-1).reshape(-1, 3, 3)
    points_m = np.zeros((count, len(BODY17), 3))
    for child, parent in BODY17.bones_from_root:
        name = BODY17.joints[child]
        bone_m = np.array(_STANDING[name.removeprefix("Right").removeprefix("Left")])
        bone_m[0] *= -1 if name.startswith("Right") else 1
        length_m = np.linalg.norm(bone_m)
        bent = bone_m + rng.normal(0, 0.35 * length_m, (count, 3))
        bent *= length_m * rng.uniform(0.9, 1.1, (count, 1)) / np.linalg.norm(bent, axis=1, keepdims=True)
        points_m[:, child] = points_m[:, parent] + bent
    return np.einsum("njc,nkc->njk", points_m, turn)


def random_inputs(count: int, seed: int) -> dict[str, np.ndarray]:
    """Plausible inputs on random rigs, by name, float32: people of random shape, some joints and lengths missing."""
    rng = np.random.default_rng(seed)
    segments = segments_of(BODY17)
    focal_px = rng.uniform(400, 1600, count)
    distance_m = rng.uniform(1.5, 7, count)
    baseline_m = distance_m * np.exp(rng.uniform(np.log(0.04), np.log(1.0), count))
    centres_px = rng.uniform(250, 900, (count, 3))
    points_m = _random_people(count, rng)
    ends_m = points_m[:, segments.ends]
    lengths_m = np.linalg.norm(ends_m[:, :, 0] - ends_m[:, :, 1], axis=-1)
    pooled = np.eye(segments.groups)[segments.group]
    lengths_m = lengths_m @ (pooled / pooled.sum(axis=0)) * rng.uniform(0.96, 1.04, (count, segments.groups))
    points_m += np.stack([baseline_m / 2, np.zeros(count), distance_m], axis=-1)[:, None]
    points_m += rng.normal(0, 0.015, points_m.shape)
    focal = focal_px[:, None, None]
    left_px = focal * points_m[..., :2] / points_m[..., 2:] + centres_px[:, None, [0, 2]]
    shifted_m = points_m[..., :2] - baseline_m[:, None, None] * np.array([1.0, 0.0])
    right_px = focal * shifted_m / points_m[..., 2:] + centres_px[:, None, [1, 2]]
    right_px[..., 1] += rng.normal(0, 1.0, right_px.shape[:2])
    joints = len(BODY17)
    confidence = np.where(rng.random((count, joints)) < 0.05, 0.0, rng.uniform(0.2, 1, (count, joints)))
    seen = (confidence > 0)[..., None]
    lengths_m *= rng.random((count, 1)) < 0.7
    rig = np.column_stack([focal_px, baseline_m, centres_px])
    values = (left_px * seen, right_px * seen, confidence, rig, lengths_m)
    return {name: np.ascontiguousarray(v, np.float32) for name, v in zip(DENOISER_INPUTS, values, strict=True)}


def double_answers(network: Denoiser, steps: int, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """What the network says in float64, by the names of the outputs. The network stays as it is."""
    copy = Denoiser(network.config).double()
    copy.load_state_dict({name: value.double() for name, value in network.state_dict().items()})
    with torch.no_grad():
        answers = FusedDenoiser(copy, steps)(*(torch.tensor(inputs[name]).double() for name in DENOISER_INPUTS))
    return {name: value.numpy() for name, value in zip(DENOISER_OUTPUTS, answers, strict=True)}
