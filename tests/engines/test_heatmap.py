"""Heat maps: Gaussians drawn at known places between the cells have to be read where they were drawn."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from binopose.calibration.errors import UserError
from binopose.engines.detectors.heatmap import HeatmapDecoder
from binopose.engines.detectors.pose_format import Codec, CodecName, PoseFormat, Preprocessing
from binopose.engines.detectors.pose_model import PoseModel
from binopose.engines.detectors.region import Region
from binopose.engines.model_file import ModelCard, Reference
from binopose.models.skeleton import COCO17, H36M17, Skeleton

CELLS = (48, 64)
CROP_PX = (192, 256)


def gaussians(centres: np.ndarray, sigma: float = 2.0, height: float = 0.9) -> np.ndarray:
    """Heat maps with one Gaussian each. centres: (J, 2) column and row -> (1, J, rows, columns) float32."""
    y, x = np.mgrid[0 : CELLS[1], 0 : CELLS[0]]
    offsets = np.stack([x, y], axis=-1) - centres[:, None, None]
    return (height * np.exp(-(offsets**2).sum(axis=-1) / (2 * sigma**2)))[None].astype(np.float32)


def places(count: int = 17, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(6, np.array(CELLS) - 7, (count, 2))


def decode(heatmaps: np.ndarray, name: CodecName) -> tuple[np.ndarray, np.ndarray]:
    outputs = {"heatmaps": heatmaps}
    points_px, scores = HeatmapDecoder(outputs, CROP_PX, Codec(name)).decode(outputs)
    return points_px[0], scores[0]


@pytest.mark.parametrize(
    ("name", "worst_cells"),
    # A quarter of a cell is the best that the quarter step promises; a Newton step finds the top of a Gaussian.
    [("quarter", 0.27), ("dark", 0.01), ("udp", 0.01)],
)
def test_gaussians_are_found(name: CodecName, worst_cells: float) -> None:
    centres = places()
    points_px, scores = decode(gaussians(centres), name)
    px_per_cell = np.array(CROP_PX) / (np.array(CELLS) - 1 if name == "udp" else CELLS)
    assert np.abs(points_px / px_per_cell - centres).max() < worst_cells
    assert (scores > 0.8).all()
    assert (scores <= 0.9).all()


@pytest.mark.parametrize("name", ["quarter", "dark", "udp"])
def test_noise_and_flat_maps_stay_in_the_crop(name: CodecName) -> None:
    noise = np.random.default_rng(1).normal(0, 0.1, (1, 17, CELLS[1], CELLS[0])).astype(np.float32)
    for maps in (noise, np.zeros_like(noise), np.full_like(noise, -0.2)):
        points_px, _ = decode(maps, name)
        assert np.isfinite(points_px).all()
        assert (points_px > -CROP_PX[0] / CELLS[0] * 3).all()
        assert (points_px < np.array(CROP_PX) + CROP_PX[0] / CELLS[0] * 3).all()


def test_peaks_at_the_edges_stay_where_they_are() -> None:
    corners = np.array([[0, 0], [CELLS[0] - 1, 0], [0, CELLS[1] - 1], [CELLS[0] - 1, CELLS[1] - 1]], dtype=float)
    for name in ("quarter", "dark"):
        points_px, _ = decode(gaussians(corners), name)
        np.testing.assert_allclose(points_px, corners * 4)
    points_px, _ = decode(gaussians(corners), "udp")
    np.testing.assert_allclose(points_px[[0, 3]], [[0, 0], CROP_PX], atol=4)


def test_corner_aligned_crop_has_its_outer_pixels_on_the_edges_of_the_region() -> None:
    region = Region((300.0, 200.0), (150.0, 200.0), 0.4)
    affine = Preprocessing(corner_aligned=True).sampled(region, CROP_PX).picture_from_crop(CROP_PX)
    for pixel, side in (([0, 0], [-0.5, -0.5]), ([191, 255], [0.5, 0.5]), ([191, 0], [0.5, -0.5])):
        expected = np.array([300.0, 200.0]) + region.axes @ (np.array(side) * [150, 200])
        np.testing.assert_allclose(affine @ [*pixel, 1], expected, atol=1e-9)
    assert Preprocessing().sampled(region, CROP_PX) is region


def test_format_survives_its_text() -> None:
    pose_format = PoseFormat(Preprocessing((1, 2, 3), (4, 5, 6), False, 1.3, True), Codec("udp", 17))
    assert PoseFormat.from_text(pose_format.to_text()) == pose_format


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"simcc"', '"other"'),
        ('"blur_cells": 11', '"blur_cells": 10'),
        ('"padding": 1.25', '"padding": 9'),
        ('"mean"', '"median"'),
        ("{", "["),
        ("123.675, ", ""),
    ],
)
def test_damaged_format_is_refused(old: str, new: str) -> None:
    text = PoseFormat().to_text()
    assert old in text
    with pytest.raises(ValueError, match=r"."):
        PoseFormat.from_text(text.replace(old, new))


def write_pooling_network(path: Path, skeleton: Skeleton, codec: Codec, **card: str) -> Path:
    """A network whose every heat map is the mean of all channels in cells of 4 x 4 pixels, with our description."""
    onnx = pytest.importorskip("onnx")
    helper, tensor = onnx.helper, onnx.TensorProto
    joints = len(skeleton)
    weights = onnx.numpy_helper.from_array(np.full((joints, 3, 1, 1), 1 / 3, np.float32), "weights")
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["input", "weights"], ["mixed"]),
            helper.make_node("AveragePool", ["mixed"], ["heatmaps"], kernel_shape=[4, 4], strides=[4, 4]),
        ],
        "pooling",
        [helper.make_tensor_value_info("input", tensor.FLOAT, ["batch", 3, 256, 192])],
        [helper.make_tensor_value_info("heatmaps", tensor.FLOAT, ["batch", joints, 64, 48])],
        [weights],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    picture = np.random.default_rng(0).uniform(0, 1, (1, 3, 256, 192)).astype(np.float32)
    pooled = picture.mean(axis=1).reshape(1, 1, 64, 4, 48, 4).mean(axis=(3, 5)).repeat(joints, axis=1)
    facts = {"training_run": "none", "weights_sha256": "0" * 64, "detector": PoseFormat(codec=codec).to_text()} | card
    described = ModelCard(
        "detector", skeleton.joints, 0, reference=Reference({"input": picture}, {"heatmaps": pooled}), **facts
    )
    helper.set_model_props(model, described.to_metadata())
    path.write_bytes(model.SerializeToString())
    return path


@pytest.mark.parametrize("skeleton", [COCO17, H36M17])
def test_described_network_says_its_joints_and_how_it_is_read(skeleton: Skeleton, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    model = PoseModel(write_pooling_network(tmp_path / "pool.onnx", skeleton, Codec("dark")), threads=1)
    assert model.skeleton is skeleton
    # Grey is about zero for the network: a Gaussian on nothing.
    crop = np.full((1, 256, 192, 3), 115, np.uint8)
    y, x = np.mgrid[0:256, 0:192]
    crop[0] += (140 * np.exp(-((x - 81.3) ** 2 + (y - 140.9) ** 2) / (2 * 9.0**2))).astype(np.uint8)[..., None]
    points_px, scores = model.run(crop)
    # Cell k is the mean of pixels 4k to 4k + 3, so its middle lies 1.5 pixels further than 4k, which the codec says.
    np.testing.assert_allclose(points_px[0], np.tile([81.3 - 1.5, 140.9 - 1.5], (len(skeleton), 1)), atol=0.4)
    assert (scores == 1).all()


def test_description_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    path = write_pooling_network(tmp_path / "pool.onnx", COCO17, Codec("simcc"))
    with pytest.raises(UserError, match=r"pool\.onnx.*expected two outputs"):
        PoseModel(path, threads=1)
    path = write_pooling_network(tmp_path / "torn.onnx", COCO17, Codec("udp"), detector='{"codec": 1}')
    with pytest.raises(UserError, match=r"torn\.onnx: the model's own description is damaged"):
        PoseModel(path, threads=1)
    other = Skeleton("other", tuple(f"Joint{k}" for k in range(17)), ())
    path = write_pooling_network(tmp_path / "other.onnx", other, Codec("udp"))
    with pytest.raises(UserError, match=r'joint 0 is "Joint0" instead of "Nose"'):
        PoseModel(path, threads=1)
