"""MediaPipe's BlazePose: its two networks, run by ai-edge-litert without MediaPipe.

Facts from MediaPipe 0.10.21's graph `pose_landmark_cpu`: input ranges, regions, thresholds, what the outputs mean and
how the heat map refines the landmarks. Two things differ on purpose. Landmarks come without MediaPipe's smoothing over
time; and they are half a crop pixel further up and left, see LABEL_SHIFT_PX.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from ...calibration.rectify import Rectifier
from ...models.pose import Pose2D
from ...models.skeleton import BLAZEPOSE33
from .litert import LiteRtNetwork
from .person import BlazePosePersonDetector, PersonCandidate, body_region
from .pose_network import Pictures, PoseReading, Regions
from .region import Region
from .tracker import StereoTracker
from .two_views import TwoViews

PERSON_FILE = "pose_detection.tflite"
LANDMARK_FILE = "pose_landmark_full.tflite"

INPUT_PX = 256
LANDMARKS = 39  # 33 joints, then six auxiliary points
LANDMARK_VALUES = 5  # x, y, z, visibility, presence
HEATMAP_CELLS = 64
# MediaPipe's options say 7; its program uses the default, 9: only with 9 do its landmarks come out.
REFINE_CELLS = 9
MIN_REFINE_CONFIDENCE = 0.5
# The auxiliary points that carry the next region: middle of the hips, and a point on the circle around the body.
REGION_LANDMARKS = (33, 34)
# The network answers in coordinates whose 0 is the crop's edge, while a crop's first pixel has its centre at 0. Seen
# by mirroring pictures: landmarks of a picture and of its mirror image disagree by twice this.
LABEL_SHIFT_PX = 0.5


def _sigmoid(values: np.ndarray) -> np.ndarray:
    # The exponent is bounded so that very sure answers do not overflow.
    return 1 / (1 + np.exp(-np.clip(values, -80, 80)))


def refine_by_heatmap(points_crop_px: np.ndarray, heatmap_logits: np.ndarray) -> np.ndarray:
    """Move each landmark to the centre of mass of its heat map around it.

    points_crop_px: (L, 2); heatmap_logits: (H, W, L) -> (L, 2). A landmark stays where it is when it lies outside the
    heat map or when the map is nowhere confident around it. Cell i stands for i / cells of the crop.
    """
    cells = np.array(heatmap_logits.shape[1::-1])  # columns, rows
    landmarks = np.arange(len(points_crop_px))
    cell_px = INPUT_PX / cells
    middle = np.floor(points_crop_px / cell_px).astype(np.int64)
    reach = np.arange(REFINE_CELLS) - REFINE_CELLS // 2
    columns, rows = (middle[:, axis, None] + reach for axis in (0, 1))  # (L, R) each
    inside_columns, inside_rows = (columns >= 0) & (columns < cells[0]), (rows >= 0) & (rows < cells[1])
    patches = _sigmoid(
        heatmap_logits[
            np.clip(rows, 0, cells[1] - 1)[:, :, None],
            np.clip(columns, 0, cells[0] - 1)[:, None, :],
            landmarks[:, None, None],
        ].astype(np.float64)
    )  # (L, R, R): rows, then columns
    patches *= inside_rows[:, :, None] & inside_columns[:, None, :]
    totals = patches.sum(axis=(1, 2))
    refine = (patches.max(axis=(1, 2)) >= MIN_REFINE_CONFIDENCE) & ((middle >= 0) & (middle < cells)).all(axis=1)
    weighted = np.stack([(patches.sum(axis=1) * columns).sum(axis=1), (patches.sum(axis=2) * rows).sum(axis=1)], axis=1)
    refined = weighted / np.where(refine, totals, 1)[:, None] * cell_px
    return np.where(refine[:, None], refined, points_crop_px)


class BlazePoseNetwork:
    """MediaPipe's full landmark network; one per view, both views side by side.

    A joint's confidence is the network's visibility (not hidden) times its presence (inside the region).
    """

    device = "cpu"
    skeleton = BLAZEPOSE33
    min_presence = 0.5

    _OUTPUTS = (
        (1, LANDMARKS * LANDMARK_VALUES),
        (1, 1),
        (1, HEATMAP_CELLS, HEATMAP_CELLS, LANDMARKS),
    )

    def __init__(self, network_file: Path) -> None:
        self._networks = (LiteRtNetwork(network_file), LiteRtNetwork(network_file))
        for network in self._networks:
            network.require((1, INPUT_PX, INPUT_PX, 3), self._OUTPUTS)
        self._views = TwoViews()

    def first_region(self, candidate: PersonCandidate) -> Region:
        """The square around the body, as found."""
        return candidate.body

    def read_both(self, pictures: Pictures, regions: Regions) -> tuple[PoseReading, PoseReading]:
        """Joints in both pictures."""
        return self._views.both(lambda view: self.read(view, pictures[view], regions[view]))

    def read(self, view: int, picture: np.ndarray, region: Region) -> PoseReading:
        """Joints in one picture."""
        crop = region.crop(picture, (INPUT_PX, INPUT_PX), cv2.BORDER_REPLICATE)
        batch = cv2.cvtColor(crop, cv2.COLOR_BGR2RGB).astype(np.float32)[None]
        batch *= 1 / 255
        values, presence, heatmap = self._networks[view].run(batch, self._OUTPUTS)
        return self._decode(values, float(presence[0, 0]), heatmap[0], region)

    def _decode(self, values: np.ndarray, presence: float, heatmap: np.ndarray, region: Region) -> PoseReading:
        landmarks = values.reshape(LANDMARKS, LANDMARK_VALUES).astype(np.float64)
        points_crop_px = refine_by_heatmap(landmarks[:, :2], heatmap)
        joints = len(self.skeleton)
        points_px = region.to_picture(points_crop_px[:joints] - LABEL_SHIFT_PX, (INPUT_PX, INPUT_PX))
        confidence = _sigmoid(landmarks[:joints, 3]) * _sigmoid(landmarks[:joints, 4])
        hips_px, top_px = region.to_picture(points_crop_px[list(REGION_LANDMARKS)], (INPUT_PX, INPUT_PX))
        return PoseReading(Pose2D(points_px, confidence, self.skeleton), presence, body_region(hips_px, top_px))

    def close(self) -> None:
        """Release the threads."""
        self._views.close()


def open_detector(rectifier: Rectifier, weights_dir: Path) -> StereoTracker:
    """BlazePose for a pair of cameras. weights_dir: the folder with PERSON_FILE and LANDMARK_FILE.

    Raises LiteRtUnavailable when the runtime is missing or a file does not hold the network expected.
    """
    person_detector = BlazePosePersonDetector(weights_dir / PERSON_FILE)
    return StereoTracker("blazepose", rectifier, person_detector, BlazePoseNetwork(weights_dir / LANDMARK_FILE))
