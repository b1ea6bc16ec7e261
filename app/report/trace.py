"""What the report needs to know of every frame, kept while a run goes on."""

from __future__ import annotations

import numpy as np

from ...calibration.triangulate import triangulate
from ...models.sides import NO_EXCHANGE, SideExchange
from ...models.skeleton import BODY17
from ..pipeline import FrameResult, Pipeline

# A joint counts in the residuals when both views are this sure of it.
CONFIDENT = 0.5


class RunTrace:
    """Collects the frames of a run, 1 kB each; everything in the rectified left frame, metres and pixels.

    After the run, N frames: `time_s`, `frame` (N,); `reacquired` (N,) somebody appeared anew; `detected_px`, `fixed_px`
    (2, N, 17, 2) both views as the detector gave them and with left and right put right, NaN where not sure;
    `detected_m`, `fixed_m`, `refined_m` (N, 17, 3) triangulated from these two, and refined; `exchanged` (2, N) views
    whose sides were put right; `outliers` (N,) how many joints were left out.
    """

    def __init__(self, pipeline: Pipeline) -> None:
        self.rig = pipeline.rectifier.rig
        self._rows: list[tuple[float, int, bool, int]] = []
        self._pixels: list[np.ndarray] = []
        self._points: list[np.ndarray] = []
        self._exchanges: list[SideExchange] = []

    def observe(self, result: FrameResult) -> None:
        """Add a frame, in order."""
        person = result.person
        outliers = int(np.count_nonzero(person.outliers)) if person is not None else 0
        self._rows.append((result.pair.timestamp_s, result.pair.index, result.reacquired, outliers))
        self._exchanges.append(result.exchange if person is not None else NO_EXCHANGE)
        pixels = np.full((2, 2, len(BODY17), 2), np.nan, dtype=np.float32)  # [detected, fixed][view]
        points = np.full((3, len(BODY17), 3), np.nan, dtype=np.float32)  # detected, fixed, refined
        if person is not None:
            # An exchange undone twice is there again.
            detected = [result.exchange.corrected(view, pose) for view, pose in enumerate((person.left, person.right))]
            points[0] = triangulate(self.rig, detected[0].points_px, detected[1].points_px)
            points[1], points[2] = person.raw.points_m, person.pose.points_m
            for stage, (left, right) in enumerate((detected, (person.left, person.right))):
                sure = np.minimum(left.confidence, right.confidence) > CONFIDENT
                pixels[stage, 0, sure], pixels[stage, 1, sure] = left.points_px[sure], right.points_px[sure]
        self._pixels.append(pixels)
        self._points.append(points)

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def time_s(self) -> np.ndarray:
        return np.array([row[0] for row in self._rows])

    @property
    def frame(self) -> np.ndarray:
        return np.array([row[1] for row in self._rows], dtype=np.intp)

    @property
    def reacquired(self) -> np.ndarray:
        return np.array([row[2] for row in self._rows], dtype=bool)

    @property
    def outliers(self) -> np.ndarray:
        return np.array([row[3] for row in self._rows], dtype=np.intp)

    @property
    def exchanged(self) -> np.ndarray:
        return np.array([[any(each.joints[view]) for each in self._exchanges] for view in (0, 1)], dtype=bool)

    @property
    def detected_px(self) -> np.ndarray:
        return self._stacked_px(0)

    @property
    def fixed_px(self) -> np.ndarray:
        return self._stacked_px(1)

    @property
    def detected_m(self) -> np.ndarray:
        return self._stacked_m(0)

    @property
    def fixed_m(self) -> np.ndarray:
        return self._stacked_m(1)

    @property
    def refined_m(self) -> np.ndarray:
        return self._stacked_m(2)

    def _stacked_px(self, stage: int) -> np.ndarray:
        empty = np.empty((2, 0, len(BODY17), 2))
        return np.stack([pixels[stage] for pixels in self._pixels], axis=1) if self._pixels else empty

    def _stacked_m(self, stage: int) -> np.ndarray:
        empty = np.empty((0, len(BODY17), 3))
        return np.stack([points[stage] for points in self._points]).astype(np.float64) if self._points else empty
