"""A real recording in which BlazePose exchanges left and right, against what one sees when one looks at it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from binopose.app.lookahead import LookAhead
from binopose.app.pipeline import Pipeline
from binopose.app.recording import StereoRecording
from binopose.calibration.rectify import Rectifier
from binopose.calibration.rig_import import import_rig
from binopose.engines.denoiser import SkeletonDenoiser
from binopose.engines.detectors import blazepose
from binopose.models.skeleton import BLAZEPOSE33, BODY17

# Throughout these frames the man faces the cameras and leans to the picture's right: in the right view his right
# shoulder, elbow, wrist and knee are further to the left of the picture than his left ones.
FRAMES = range(28, 66)
PARTS = ("Shoulder", "Elbow", "Wrist", "Knee")


@pytest.mark.parametrize("lookahead", [0, 12])
def test_sides_of_the_recorded_man(lookahead: int, shared_data: Path, blazepose_weights: Path) -> None:
    folder = shared_data / "stereo" / "pose2sim-single-person"
    with StereoRecording(folder / "videos" / "cam01.mp4", folder / "videos" / "cam02.mp4") as recording:
        rig, _ = import_rig([folder / "calibration" / "Calib.qca.txt"], "cam01", "cam02").adapted_to(recording.sizes_px)
        rectifier = Rectifier(rig)
        detector = blazepose.open_detector(rectifier, blazepose_weights)
        ahead = LookAhead(Pipeline(rectifier, detector, SkeletonDenoiser()), lookahead)
        wanted = [pair for pair in recording if pair.index in FRAMES]
        found = [result for pair in wanted for result in ahead.push(pair)] + list(ahead.finish())
        detector.close()
    right, left = ([BLAZEPOSE33.index(side + part) for part in PARTS] for side in ("Right", "Left"))
    wrong = []
    for result in found:
        pose = result.detections[1]
        assert pose is not None
        if not (pose.points_px[right, 0] < pose.points_px[left, 0]).all():
            wrong.append(result.pair.index)
    assert sum(bool(result.exchange) for result in found) >= 15, "the detector made no mistakes: nothing was tested"
    assert wrong == []
    poses_m = np.stack([result.person.pose.points_m for result in found if result.person is not None])
    assert len(poses_m) == len(FRAMES)
    for outer, inner in (("Ankle", "Knee"), ("Wrist", "Elbow")):
        for side in ("Right", "Left"):
            ends = [BODY17.index(side + outer), BODY17.index(side + inner)]
            lengths_m = np.linalg.norm(poses_m[:, ends[0]] - poses_m[:, ends[1]], axis=1)
            assert lengths_m.std() / lengths_m.mean() < 0.08
