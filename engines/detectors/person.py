"""Finding people anywhere in a picture, with the person detector of MediaPipe's BlazePose.

Facts from MediaPipe's graph `pose_detection_cpu`: anchors, value order, thresholds. The box it finds is the face; the
body comes as points: the middle of the hips and a point on the circle around hips that holds the whole body.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np

from .litert import LiteRtNetwork
from .region import Region

INPUT_PX = 224
ANCHOR_STRIDES_PX = (8, 16, 32, 32, 32)
ANCHORS_PER_STRIDE = 2
BOX_VALUES = 12  # x, y, width, height, then x, y of four points
SCORE_CLIP = 100.0
MIN_SCORE = 0.5
MIN_OVERLAP = 0.3
# The body circle is enlarged by this before the landmark network looks at it (MediaPipe: RectTransformation, 1.25).
REGION_SCALE = 1.25


@dataclass(frozen=True)
class PersonCandidate:
    """Somebody in the picture.

    body: the square around the body, turned so that the person stands upright in it; score: 0..1.
    """

    body: Region
    score: float


class PersonDetector(Protocol):
    """Finds everybody in a picture."""

    def find(self, view: int, picture: np.ndarray, closely: bool = False) -> list[PersonCandidate]:
        """People in one picture, best score first. view: 0 left, 1 right; calls for two views may run in parallel.

        closely: look at parts of the picture as well; several times slower, and somebody may be found twice.
        """
        ...


def body_region(centre_px: np.ndarray, top_px: np.ndarray, scale: float = REGION_SCALE) -> Region:
    """The square around the circle through `top_px` with its middle at the hips; `top_px` lies above them in it.

    centre_px, top_px: (2,).
    """
    up = top_px - centre_px
    side_px = float(2 * np.hypot(*up) * scale)
    rotation_rad = float(np.arctan2(up[0], -up[1]))
    return Region((float(centre_px[0]), float(centre_px[1])), (side_px, side_px), rotation_rad)


def whole_square(width: int, height: int) -> Region:
    """The whole picture in a square; what it lacks is black."""
    side = max(width, height)
    return Region((width / 2, height / 2), (side, side))


def part_squares(width: int, height: int) -> list[Region]:
    """Squares as high as the picture is (or as wide, if it is upright), overlapping by a third or more."""
    side, length = min(width, height), max(width, height)
    count = int(np.ceil((length - side) / (side * 2 / 3))) + 1 if length > side else 0
    starts = np.linspace(0, length - side, count) + side / 2
    return [Region((at, side / 2) if width > height else (side / 2, at), (side, side)) for at in starts.tolist()]


def anchor_centres() -> np.ndarray:
    """Middles of the anchors as fractions of the input, (A, 2). Layers of equal stride share their cells."""
    layers = []
    for stride in dict.fromkeys(ANCHOR_STRIDES_PX):
        cells = INPUT_PX // stride
        repeats = ANCHORS_PER_STRIDE * ANCHOR_STRIDES_PX.count(stride)
        y, x = np.mgrid[0:cells, 0:cells]
        layers.append(np.repeat((np.stack([x, y], axis=-1).reshape(-1, 2) + 0.5) / cells, repeats, axis=0))
    return np.concatenate(layers)


def overlap(box: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Intersection over union of one box with others; boxes are (x0, y0, x1, y1). (4,), (N, 4) -> (N,)."""
    sides = np.minimum(box[2:], boxes[:, 2:]) - np.maximum(box[:2], boxes[:, :2])
    common = np.prod(np.clip(sides, 0, None), axis=1)
    areas = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    union = np.prod(box[2:] - box[:2]) + areas - common
    return np.divide(common, union, out=np.zeros_like(common), where=union > 0)


def merge_overlapping(boxes: np.ndarray, points: np.ndarray, scores: np.ndarray) -> list[tuple[np.ndarray, float]]:
    """Weighted non-maximum suppression: boxes that overlap the best one are averaged with it, weighted by score.

    boxes: (N, 4); points: (N, P, 2); scores: (N,). Returns the averaged points of each person with the best score.
    """
    people = []
    order = np.argsort(-scores, kind="stable")
    while len(order):
        same = overlap(boxes[order[0]], boxes[order]) > MIN_OVERLAP
        same[0] = True  # also a box without area belongs to itself
        group = order[same]
        weights = scores[group] / scores[group].sum()
        people.append((np.tensordot(weights, points[group], axes=1), float(scores[order[0]])))
        order = order[~same]
    return people


class BlazePosePersonDetector:
    """MediaPipe's person detector; one network per view."""

    _OUTPUTS = ((1, 2254, BOX_VALUES), (1, 2254, 1))

    def __init__(self, network_file: Path) -> None:
        self._networks = (LiteRtNetwork(network_file), LiteRtNetwork(network_file))
        for network in self._networks:
            network.require((1, INPUT_PX, INPUT_PX, 3), self._OUTPUTS)
        self._anchors = anchor_centres()

    def find(self, view: int, picture: np.ndarray, closely: bool = False) -> list[PersonCandidate]:
        """People in one picture, best score first."""
        height, width = picture.shape[:2]
        squares = [whole_square(width, height), *(part_squares(width, height) if closely else ())]
        people = [candidate for square in squares for candidate in self._find_in(view, picture, square)]
        return sorted(people, key=lambda candidate: -candidate.score)

    def _find_in(self, view: int, picture: np.ndarray, square: Region) -> list[PersonCandidate]:
        crop = square.crop(picture, (INPUT_PX, INPUT_PX), cv2.BORDER_CONSTANT)
        batch = cv2.cvtColor(crop, cv2.COLOR_BGR2RGB).astype(np.float32)[None]
        batch *= 2 / 255
        batch -= 1
        values, logits = self._networks[view].run(batch, self._OUTPUTS)
        return self._decode(values[0], logits[0, :, 0], square)

    def _decode(self, values: np.ndarray, logits: np.ndarray, square: Region) -> list[PersonCandidate]:
        scores = 1 / (1 + np.exp(-np.clip(logits.astype(np.float64), -SCORE_CLIP, SCORE_CLIP)))
        chosen = np.flatnonzero(scores >= MIN_SCORE)
        values, scores = values[chosen].astype(np.float64) / INPUT_PX, scores[chosen]
        anchors = self._anchors[chosen]
        middles, sides = values[:, :2] + anchors, values[:, 2:4]
        boxes = np.concatenate([middles - sides / 2, middles + sides / 2], axis=1)
        points = values[:, 4:].reshape(len(chosen), 4, 2) + anchors[:, None]
        people = []
        for person_points, score in merge_overlapping(boxes, points, scores):
            hips_px, top_px = square.to_picture(person_points[:2] * INPUT_PX, (INPUT_PX, INPUT_PX))
            people.append(PersonCandidate(body_region(hips_px, top_px), score))
        return people
