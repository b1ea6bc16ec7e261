"""Joints from heat maps (HRNet and its kin): the highest cell of each joint's map, and the place between the cells.

Three ways to find that place are in use, and a network has to be read the way it was trained for: a quarter of a cell
towards the higher neighbour (Newell et al., ECCV 2016); a Newton step on the logarithm of the smoothed map, which for a
Gaussian leads to its middle (DARK, Zhang et al., CVPR 2020); and the same with the finite differences of UDP, where the
outermost cells lie on the edges of the crop (Huang et al., CVPR 2020).
"""

from __future__ import annotations

from collections.abc import Mapping

import cv2
import numpy as np

from .pose_format import Codec

# Below these a map is noise, and its logarithm would follow the noise.
_DARK_FLOOR, _UDP_FLOOR = 1e-10, 1e-3
MAX_STEP_CELLS = 2.0


class HeatmapDecoder:
    """Reads the heat maps of one network."""

    def __init__(self, outputs: Mapping[str, np.ndarray], input_size_px: tuple[int, int], codec: Codec) -> None:
        """outputs: of one inference, by name; raises ValueError when they are not one stack of heat maps."""
        shapes = [output.shape for output in outputs.values()]
        if len(shapes) != 1 or len(shapes[0]) != 4 or min(shapes[0][2:]) < 3:
            found = {name: output.shape for name, output in outputs.items()}
            raise ValueError(f"expected one output (batch, joints, rows, columns) of heat maps, found {found}")
        self._name = next(iter(outputs))
        self._codec = codec
        self.joints = int(shapes[0][1])
        rows, columns = shapes[0][2:]
        cells = np.array([columns, rows], dtype=np.float64)
        self._px_per_cell = np.asarray(input_size_px) / (cells - 1 if codec.name == "udp" else cells)

    def decode(self, outputs: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """Joints of each crop: points (N, J, 2) crop pixels, scores (N, J)."""
        heatmaps = outputs[self._name]
        count, joints, rows, columns = heatmaps.shape
        flat = heatmaps.reshape(count * joints, rows, columns)
        places = flat.reshape(len(flat), -1).argmax(axis=1)
        peaks = np.stack([places % columns, places // columns], axis=1)
        scores = flat[np.arange(len(flat)), peaks[:, 1], peaks[:, 0]]
        points = (peaks + self._beside_the_cell(flat, peaks)) * self._px_per_cell
        return points.reshape(count, joints, 2), scores.reshape(count, joints)

    def _beside_the_cell(self, maps: np.ndarray, peaks: np.ndarray) -> np.ndarray:
        """How far from its highest cell each joint is, in cells. maps: (M, rows, columns), peaks: (M, 2) -> (M, 2)."""
        if self._codec.name == "quarter":
            return quarter_step(maps, peaks)
        smooth = smoothed(maps, self._codec.blur_cells)
        if self._codec.name == "dark":
            return newton_step(np.log(np.maximum(smooth, _DARK_FLOOR)), peaks, wide=True)
        return newton_step(np.log(np.maximum(smooth, _UDP_FLOOR)), peaks, wide=False)


def quarter_step(maps: np.ndarray, peaks: np.ndarray) -> np.ndarray:
    """A quarter of a cell towards the higher neighbour; none at the edge of the map. Shapes as in `newton_step`."""
    rows, columns = maps.shape[1:]
    x, y = peaks.T
    look = _Neighbours(maps, peaks)
    # Exactly the cells where MMPose takes the step: those at the edge lack a neighbour, the others follow its code.
    x_inside = (x > 1) & (x < columns - 1) & (y > 0)
    y_inside = (y > 1) & (y < rows - 1) & (x > 0)
    right, down = look.at(1, 0) - look.at(-1, 0), look.at(0, 1) - look.at(0, -1)
    return 0.25 * np.stack([np.sign(right) * x_inside, np.sign(down) * y_inside], axis=1)


def smoothed(maps: np.ndarray, width_cells: int) -> np.ndarray:
    """Maps under a Gaussian of this width, scaled so that the highest value stays. (M, rows, columns)."""
    kernel = (width_cells, width_cells)
    blurred = np.stack([cv2.GaussianBlur(one, kernel, 0, borderType=cv2.BORDER_CONSTANT) for one in maps])
    before, after = (array.max(axis=(1, 2), keepdims=True) for array in (maps, blurred))
    return blurred * np.divide(before, after, out=np.ones_like(before), where=after > 0)


def newton_step(logs: np.ndarray, peaks: np.ndarray, wide: bool) -> np.ndarray:
    """From the highest cell to the top of the parabola through it and its neighbours, in cells.

    logs: (M, rows, columns) logarithms; peaks: (M, 2) column and row of the highest cell; wide: second differences over
    two cells (DARK) rather than one (UDP). -> (M, 2). Where the neighbourhood does not curve downwards all round there
    is no top, and a step out of the neighbourhood is no answer: then the cell itself is (MMPose steps to wherever the
    equation leads).
    """
    look = _Neighbours(logs, peaks)
    gradient = 0.5 * np.stack([look.at(1, 0) - look.at(-1, 0), look.at(0, 1) - look.at(0, -1)], axis=1)
    middle = 2 * look.at(0, 0)
    if wide:
        xx = 0.25 * (look.at(2, 0) - middle + look.at(-2, 0))
        yy = 0.25 * (look.at(0, 2) - middle + look.at(0, -2))
        xy = 0.25 * (look.at(1, 1) - look.at(1, -1) - look.at(-1, 1) + look.at(-1, -1))
        rows, columns = logs.shape[1:]
        usable = ((peaks > 1) & (peaks < np.array([columns - 2, rows - 2]))).all(axis=1)
    else:
        xx = look.at(1, 0) - middle + look.at(-1, 0)
        yy = look.at(0, 1) - middle + look.at(0, -1)
        beside = look.at(1, 0) + look.at(-1, 0) + look.at(0, 1) + look.at(0, -1)
        xy = 0.5 * (look.at(1, 1) + look.at(-1, -1) - beside + middle)
        usable = np.ones(len(peaks), dtype=bool)
    determinant = xx * yy - xy**2
    usable &= (xx < 0) & (determinant > 0)
    inverse = np.divide(1.0, determinant, out=np.zeros_like(determinant), where=usable)
    x_step = (xy * gradient[:, 1] - yy * gradient[:, 0]) * inverse
    y_step = (xy * gradient[:, 0] - xx * gradient[:, 1]) * inverse
    step = np.stack([x_step, y_step], axis=1)
    return np.where(np.abs(step).max(axis=1, keepdims=True) <= MAX_STEP_CELLS, step, 0.0)


class _Neighbours:
    """Values around the highest cell of each map; outside of the map those of its edge."""

    def __init__(self, maps: np.ndarray, peaks: np.ndarray) -> None:
        self._maps = maps.astype(np.float64)
        self._x, self._y = peaks.T
        self._which = np.arange(len(maps))

    def at(self, right: int, down: int) -> np.ndarray:
        """The values so many cells right of and below the peaks, (M,)."""
        rows, columns = self._maps.shape[1:]
        return self._maps[self._which, np.clip(self._y + down, 0, rows - 1), np.clip(self._x + right, 0, columns - 1)]
