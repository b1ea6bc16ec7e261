"""A simulated person before streamed cameras: the pictures say when they were made, so a detector can know the pose."""

from __future__ import annotations

import time

import numpy as np
from binopose.app.simulation.motion import SimulatedPerson
from binopose.app.simulation.scene import SimulatedScene
from binopose.app.simulation.virtual_rig import virtual_rig
from binopose.calibration.rectify import Rectifier
from binopose.calibration.rig import StereoRig
from binopose.models.pose import Pose2D
from binopose.models.skeleton import BODY17

from .stream_server import read_picture

SIZE_PX = (320, 180)


def small_rig() -> StereoRig:
    rig, _ = virtual_rig(0).adapted_to((SIZE_PX, SIZE_PX))
    return rig


class PictureClockDetector:
    """A `StereoDetector` that reads from each picture when it was made and gives the joints of that moment.

    swapped: gives each view what the other camera sees; nobody: finds nobody. slow_s: how long it takes.
    """

    name, device, skeleton = "picture clock", "cpu", BODY17

    def __init__(
        self, rig: StereoRig, rectifier: Rectifier, noise_px: float = 0.2, epoch_s: float | None = None
    ) -> None:
        """epoch_s: when, on the clock of the pictures, the person's motion begins; None for now."""
        self._scene = SimulatedScene(rig, SimulatedPerson(seed=2))
        self._rectifier = rectifier
        self._noise_px = noise_px
        self._epoch_s = time.monotonic() if epoch_s is None else epoch_s
        self.swapped = self.nobody = False
        self.slow_s = 0.0
        self.resets = 0

    def detect(self, left: np.ndarray, right: np.ndarray, timestamp_s: float) -> tuple[Pose2D | None, Pose2D | None]:
        time.sleep(self.slow_s)
        if self.nobody:
            return None, None
        made = [read_picture(image) for image in (left, right)]
        views = [1, 0] if self.swapped else [0, 1]
        poses = [self.pose(view, made_s, number) for view, (number, made_s) in zip(views, made, strict=True)]
        return poses[0], poses[1]

    def pose(self, view: int, made_s: float, number: int) -> Pose2D:
        truth_m = self._scene.truth_m(made_s - self._epoch_s) @ self._rectifier.rig.left_from_rectified
        rng = np.random.default_rng([view, number])
        points_px = self._rectifier.picture_px(view, truth_m) + rng.normal(0, self._noise_px, (len(BODY17), 2))
        return Pose2D(points_px, np.full(len(BODY17), 0.9), BODY17)

    def reset(self) -> None:
        self.resets += 1

    def close(self) -> None:
        """Nothing to release."""
