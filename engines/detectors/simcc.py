"""Joints from SimCC outputs (Li et al., ECCV 2022): two histograms per joint, over the columns and over the rows."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np


class SimccDecoder:
    """Reads the histograms of one network. bins_per_px: of the crop."""

    def __init__(self, outputs: Mapping[str, np.ndarray], input_size_px: tuple[int, int]) -> None:
        """outputs: of one inference, by name; raises ValueError when they are no histograms over the crop."""
        names = list(outputs)
        self._names = ["simcc_x", "simcc_y"] if {"simcc_x", "simcc_y"} <= set(names) else names[:2]
        shapes = [outputs[name].shape for name in self._names]
        fits = len(shapes) == 2 and all(len(shape) == 3 for shape in shapes) and shapes[0][:2] == shapes[1][:2]
        ratios = [shape[2] / size for shape, size in zip(shapes, input_size_px, strict=True)] if fits else []
        if not fits or ratios[0] != ratios[1] or ratios[0] < 1:
            width, height = input_size_px
            raise ValueError(
                "expected two outputs (batch, joints, bins) with the same number of bins per pixel of "
                f"{width} x {height}; found { ({name: output.shape for name, output in outputs.items()}) }"
            )
        self.bins_per_px = float(ratios[0])
        self.joints = int(shapes[0][1])

    def decode(self, outputs: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """Joints of each crop: points (N, J, 2) crop pixels, scores (N, J)."""
        histograms = [outputs[name] for name in self._names]
        bins = np.stack([histogram.argmax(axis=2) for histogram in histograms], axis=2)
        # The smaller of the two peaks, as MMPose scores a joint: it must be clear where it is both ways.
        peaks = np.minimum(*(histogram.max(axis=2) for histogram in histograms))
        return bins / self.bins_per_px, peaks
