"""SimCC networks: a network made here, whose answers are known, must lead back to the places in the picture.

Joint k of it looks for colour k: spots of seventeen (or 26) colours stand for a person. Colours are directions around
grey, so the brightest answer of each joint is the middle of its own spot.
"""

from __future__ import annotations

import json
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from binopose.calibration.errors import UserError
from binopose.engines.detectors.pose_format import IMAGENET_MEAN, IMAGENET_STD
from binopose.engines.detectors.pose_model import PoseModel
from binopose.engines.detectors.region import Region
from binopose.engines.detectors.rtmpose import RtmPoseNetwork
from binopose.engines.detectors.simcc import SimccDecoder
from binopose.models.skeleton import COCO17, HALPE26

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

CROP_PX = (192, 256)
GREY = 128.0
SPREAD = 100.0
SPOT_RADIUS_PX = 11.0


def colour_directions(count: int) -> np.ndarray:
    """Unit vectors spread over the sphere, red green blue, (count, 3)."""
    k = np.arange(count) + 0.5
    z, turn = 1 - 2 * k / count, np.pi * (1 + 5**0.5) * k
    return np.stack([np.sqrt(1 - z**2) * np.cos(turn), np.sqrt(1 - z**2) * np.sin(turn), z], axis=1)


def colour_network(
    joints: int,
    batch: int | str = "batch",
    mean: tuple[float, ...] = IMAGENET_MEAN,
    std: tuple[float, ...] = IMAGENET_STD,
) -> bytes:
    """ONNX: normalised crop -> brightness along each joint's colour, its maximum per column and per row, two bins per
    pixel, bin b standing for pixel b / 2."""
    helper, tensor = onnx.helper, onnx.TensorProto
    width, height = CROP_PX
    directions = colour_directions(joints)
    weights = (directions * np.array(std) / SPREAD).astype(np.float32)[:, :, None, None]
    offsets = (directions @ ((np.array(mean) - GREY) / SPREAD)).astype(np.float32)
    constants = [
        onnx.numpy_helper.from_array(np.ascontiguousarray(value), name)
        for name, value in {
            "weights": weights,
            "offsets": offsets,
            "rows": np.array([2], np.int64),
            "columns": np.array([3], np.int64),
            "twice": np.array([1, 1, 2], np.float32),
        }.items()
    ]
    nodes = [helper.make_node("Conv", ["input", "weights", "offsets"], ["answer"])]
    for axis, output in (("rows", "simcc_x"), ("columns", "simcc_y")):
        nodes.append(helper.make_node("ReduceMax", ["answer", axis], [f"{output}_px"], keepdims=0))
        nodes.append(
            helper.make_node(
                "Resize",
                [f"{output}_px", "", "twice"],
                [output],
                mode="linear",
                coordinate_transformation_mode="asymmetric",
            )
        )
    graph = helper.make_graph(
        nodes,
        "colours",
        [helper.make_tensor_value_info("input", tensor.FLOAT, [batch, 3, height, width])],
        [
            helper.make_tensor_value_info("simcc_x", tensor.FLOAT, [batch, joints, 2 * width]),
            helper.make_tensor_value_info("simcc_y", tensor.FLOAT, [batch, joints, 2 * height]),
        ],
        constants,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9).SerializeToString()


def spots(count: int, seed: int, size_px: tuple[int, int] = (640, 480)) -> tuple[np.ndarray, np.ndarray]:
    """A grey picture (H, W, 3) BGR with one spot per joint, and the places of the spots, (count, 2)."""
    random = np.random.default_rng(seed)
    columns = 5
    grid = np.stack([np.arange(count) % columns, np.arange(count) // columns], axis=1)
    points_px = 180 + grid * [36, 40] + random.uniform(-5, 5, (count, 2)) + random.uniform(-10, 10, 2)
    y, x = np.mgrid[0 : size_px[1], 0 : size_px[0]]
    picture = np.full((size_px[1], size_px[0], 3), GREY)
    for place, colour in zip(points_px, colour_directions(count), strict=True):
        # A cone: a rounded top would drown in the rounding to whole grey levels.
        light = np.clip(1 - np.hypot(x - place[0], y - place[1]) / SPOT_RADIUS_PX, 0, None)
        picture += light[..., None] * colour[::-1] * SPREAD
    return np.clip(picture.round(), 0, 255).astype(np.uint8), points_px


def region_around(points_px: np.ndarray) -> Region:
    low, high = points_px.min(axis=0), points_px.max(axis=0)
    x, y = ((low + high) / 2 + [3.3, -2.1]).tolist()
    height = float(max(high[1] - low[1], (high[0] - low[0]) * CROP_PX[1] / CROP_PX[0])) * 1.3
    return Region((x, y), (height * CROP_PX[0] / CROP_PX[1], height))


def assert_found(found_px: np.ndarray, true_px: np.ndarray, region: Region) -> None:
    """Within what bins of half a crop pixel allow, and without a shift common to all joints."""
    crop_px = region.size_px[1] / CROP_PX[1]
    errors_px = found_px - true_px
    assert np.abs(errors_px).max() < 0.8 * crop_px
    assert np.abs(errors_px.mean(axis=0)).max() < 0.3 * crop_px


@pytest.mark.parametrize(("joints", "skeleton"), [(17, COCO17), (26, HALPE26)])
def test_bare_network_finds_the_spots_in_both_views(joints: int, skeleton: object, tmp_path: Path) -> None:
    path = tmp_path / "colours.onnx"
    path.write_bytes(colour_network(joints))
    model = PoseModel(path, threads=1)
    assert model.input_size_px == CROP_PX
    assert isinstance(model.decoder, SimccDecoder)
    assert model.decoder.bins_per_px == 2.0
    network = RtmPoseNetwork(model)
    assert network.skeleton is skeleton
    (left, left_px), (right, right_px) = spots(joints, 1), spots(joints, 2)
    regions = (region_around(left_px), region_around(right_px))
    readings = network.read_both((left, right), regions)
    for reading, true_px, region in zip(readings, (left_px, right_px), regions, strict=True):
        assert_found(reading.pose.points_px, true_px, region)
        assert (reading.pose.confidence > 0.8).all()
        assert (reading.pose.confidence <= 1).all()
    # the next region holds all joints, in the crop's shape
    body = readings[0].body
    assert body is not None
    assert body.size_px[0] / body.size_px[1] == pytest.approx(CROP_PX[0] / CROP_PX[1])
    reach_px = np.abs(left_px - body.centre_px) / np.array(body.size_px)
    assert reach_px.max() < 0.5


def test_network_with_a_batch_of_one_runs_twice(tmp_path: Path) -> None:
    path = tmp_path / "one.onnx"
    path.write_bytes(colour_network(17, batch=1))
    (left, left_px), (right, right_px) = spots(17, 3), spots(17, 4)
    regions = (region_around(left_px), region_around(right_px))
    readings = RtmPoseNetwork(PoseModel(path, threads=1)).read_both((left, right), regions)
    for reading, true_px, region in zip(readings, (left_px, right_px), regions, strict=True):
        assert_found(reading.pose.points_px, true_px, region)


def test_network_with_a_batch_of_two_reads_one_view_too(tmp_path: Path) -> None:
    path = tmp_path / "two.onnx"
    path.write_bytes(colour_network(17, batch=2))
    picture, true_px = spots(17, 6)
    region = region_around(true_px)
    reading = RtmPoseNetwork(PoseModel(path, threads=1)).read(1, picture, region)
    assert_found(reading.pose.points_px, true_px, region)


def sdk_archive(path: Path, network: bytes, transforms: list[dict]) -> Path:
    pipeline = {"pipeline": {"tasks": [{"module": "Transform", "transforms": transforms}, {"module": "Net"}]}}
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("20230831/rtmpose/end2end.onnx", network)
        archive.writestr("20230831/rtmpose/pipeline.json", json.dumps(pipeline))
    return path


def test_sdk_archive_brings_its_own_preprocessing(tmp_path: Path) -> None:
    # Unlike the defaults in every value: with those the colours would be mistaken for others.
    mean, std = (10.0, 40.0, 90.0), (20.0, 90.0, 160.0)
    transforms = [
        {"type": "TopDownGetBboxCenterScale", "padding": 1.4, "image_size": list(CROP_PX)},
        {"type": "Normalize", "mean": mean[::-1], "std": std[::-1], "to_rgb": False},
    ]
    # The network takes blue first here: its weights are turned round by giving it the colours in that order.
    model = onnx.load_from_string(colour_network(17, mean=mean, std=std))
    weights = next(value for value in model.graph.initializer if value.name == "weights")
    turned = np.ascontiguousarray(onnx.numpy_helper.to_array(weights)[:, ::-1])
    weights.CopyFrom(onnx.numpy_helper.from_array(turned, "weights"))
    simcc = PoseModel(sdk_archive(tmp_path / "sdk.zip", model.SerializeToString(), transforms), threads=1)
    assert simcc.preprocessing.padding == 1.4
    picture, true_px = spots(17, 5)
    region = region_around(true_px)
    reading = RtmPoseNetwork(simcc).read(0, picture, region)
    assert_found(reading.pose.points_px, true_px, region)


def test_empty_picture_is_nobody(tmp_path: Path) -> None:
    path = tmp_path / "colours.onnx"
    path.write_bytes(colour_network(17))
    network = RtmPoseNetwork(PoseModel(path, threads=1))
    reading = network.read(0, np.full((480, 640, 3), 128, np.uint8), Region((300, 200), (150, 200)))
    assert reading.presence < network.min_presence
    assert reading.body is None


def heatmap_network() -> bytes:
    helper, tensor = onnx.helper, onnx.TensorProto
    graph = helper.make_graph(
        [helper.make_node("AveragePool", ["input"], ["heatmap"], kernel_shape=[4, 4], strides=[4, 4])],
        "heat",
        [helper.make_tensor_value_info("input", tensor.FLOAT, ["batch", 3, 256, 192])],
        [helper.make_tensor_value_info("heatmap", tensor.FLOAT, ["batch", 3, 64, 48])],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9).SerializeToString()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("torn.onnx", colour_network(17)[:500], "ONNX Runtime cannot load it"),
        ("text.onnx", b"<html>not found</html>", "ONNX Runtime cannot load it"),
        ("heat.onnx", heatmap_network(), "two outputs .batch, joints, bins."),
        ("hand.onnx", colour_network(21), r"17 \(coco17\), 26 \(halpe26\) joints, found 21"),
        ("four.onnx", colour_network(17, batch=4), "a batch of 1, 2 or any size, found 4"),
        ("torn.zip", b"PK\x03\x04 and nothing more", "the archive is damaged"),
    ],
)
def test_wrong_file_is_named(name: str, content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=message) as caught:
        PoseModel(tmp_path / name, threads=1)
    assert name in str(caught.value)


def test_archive_without_a_network_is_named(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as archive:
        archive.writestr("a.jpg", b"")
    with pytest.raises(UserError, match=r"no end2end\.onnx, only a\.jpg"):
        PoseModel(tmp_path / "photos.zip", threads=1)


def test_archive_with_a_foreign_pipeline_is_named(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "sdk.zip", "w") as archive:
        archive.writestr("end2end.onnx", colour_network(17))
        archive.writestr("pipeline.json", "[1, 2]")
    with pytest.raises(UserError, match=r"pipeline\.json in it is not that of an OpenMMLab pose SDK"):
        PoseModel(tmp_path / "sdk.zip", threads=1)


def test_missing_file_and_missing_runtime_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="no such file"):
        PoseModel(tmp_path / "none.onnx", threads=1)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    (tmp_path / "colours.onnx").write_bytes(colour_network(17))
    with pytest.raises(UserError, match=r"pip install 'binopose\[cpu\]'"):
        PoseModel(tmp_path / "colours.onnx", threads=1)
