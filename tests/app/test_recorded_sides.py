"""Real recordings in which BlazePose is wrong, against what one sees when one looks at them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from binopose.app.lookahead import LookAhead
from binopose.app.pipeline import FrameResult, Pipeline
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


def results(folder: Path, weights: Path, frames: range, lookahead: int) -> tuple[Rectifier, list[FrameResult]]:
    """What the pipeline, with bone lengths alone, makes of some frames of a recording."""
    with StereoRecording(folder / "videos" / "cam01.mp4", folder / "videos" / "cam02.mp4") as recording:
        rig, _ = import_rig([folder / "calibration" / "Calib.qca.txt"], "cam01", "cam02").adapted_to(recording.sizes_px)
        rectifier = Rectifier(rig)
        detector = blazepose.open_detector(rectifier, weights)
        ahead = LookAhead(Pipeline(rectifier, detector, SkeletonDenoiser()), lookahead)
        wanted = [pair for pair in recording if pair.index in frames]
        found = [result for pair in wanted for result in ahead.push(pair)] + list(ahead.finish())
        detector.close()
    return rectifier, found


@pytest.mark.parametrize("lookahead", [0, 12])
def test_sides_of_the_recorded_man(lookahead: int, shared_data: Path, blazepose_weights: Path) -> None:
    _, found = results(shared_data / "stereo" / "pose2sim-single-person", blazepose_weights, FRAMES, lookahead)
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


def test_a_forearm_that_one_view_gives_to_somebody_else(shared_data: Path, blazepose_weights: Path) -> None:
    """The woman in front lifts her right hand beside her head. In the left view her forearm is hidden behind it, and
    the detector takes the hand of the man behind her; in the right view it is plain to see."""
    folder, wrist = shared_data / "stereo" / "pose2sim-two-people", BODY17.index("RightWrist")
    rectifier, found = results(folder, blazepose_weights, range(85), 12)
    away_px = []
    for result in found[74:82]:
        assert result.person is not None
        assert result.person.outliers[wrist]
        assert np.isnan(result.person.raw.points_m[wrist]).all()
        pose = result.person.pose
        assert pose.confidence[wrist] == 0
        assert np.linalg.norm(pose.sigma_m[wrist]) > 0.03
        shown_px = [rectifier.picture_px(view, pose.points_m)[wrist] for view in (0, 1)]
        seen_px = [pose.to_skeleton(BODY17).points_px[wrist] for pose in result.detections if pose is not None]
        away_px.append([np.linalg.norm(shown - seen) for shown, seen in zip(shown_px, seen_px, strict=True)])
    left_px, right_px = np.median(away_px, axis=0)
    assert right_px < 25 < 60 < left_px
