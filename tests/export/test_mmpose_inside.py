"""The export of MMPose models against MMPose itself; runs in the environment of docs/mmpose.md, skipped elsewhere.

Weights are random: they make the networks' answers depend on every pixel, which is what a comparison wants.
"""

from __future__ import annotations

import hashlib
import importlib.util
import pickle
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

if importlib.util.find_spec("mmpose") is None:
    pytest.skip("not the export environment of MMPose (see docs/mmpose.md)", allow_module_level=True)

from binopose.calibration.errors import UserError
from binopose.engines.detectors.heatmap import HeatmapDecoder
from binopose.engines.detectors.pose_format import Codec, CodecName
from binopose.engines.detectors.pose_model import PoseModel
from binopose.engines.detectors.region import Region
from binopose.export.mmpose import ExportRequest, export
from binopose.export.mmpose_model import Frameworks, MMPoseModel, build_model, load_frameworks, mmpose_names
from binopose.models.skeleton import COCO17, H36M17, HALPE26, Skeleton

AGREEMENT_PX = 0.5
RTMPOSE_T = "rtmpose-t_8xb256-420e_coco-256x192"
RTMPOSE_S_HALPE = "rtmpose-s_8xb1024-700e_body8-halpe26-256x192"
HRNET = "td-hm_hrnet-w32_8xb64-210e_coco-256x192"
CSPNEXT_UDP = "cspnext-tiny_udp_8xb256-210e_coco-256x192"
# Around the two people, over the edges of the picture on two sides, a small one.
BOXES_PX = ((170, 430, 740, 1190), (10, 290, 130, 760), (-60, -100, 300, 700), (800, 1500, 1300, 2100))


@pytest.fixture(scope="module")
def frameworks() -> Frameworks:
    modules = load_frameworks()
    modules.torch.set_num_threads(1)
    return modules


@pytest.fixture(scope="module")
def picture(shared_data: Path) -> np.ndarray:
    """A frame of a real recording with a person, (H, W, 3) BGR."""
    video = cv2.VideoCapture(str(shared_data / "stereo" / "pose2sim-single-person" / "videos" / "cam01.mp4"))
    assert all(video.grab() for _ in range(30))
    ok, frame = video.retrieve()
    assert ok
    return frame


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Config name -> MMPose's model and ours from the exported file, each made once."""
    folder = tmp_path_factory.mktemp("exported")
    made: dict[str, tuple[MMPoseModel, PoseModel]] = {}

    def make(name: str) -> tuple[MMPoseModel, PoseModel]:
        if name not in made:
            model = export(ExportRequest(name, folder / f"{name}.onnx"))
            model.network.test_cfg["flip_test"] = False
            made[name] = model, PoseModel(folder / f"{name}.onnx", threads=1)
        return made[name]

    yield make
    for _, ours in made.values():
        ours.session.close()


def region_of(box_px: tuple[int, ...], model: PoseModel) -> Region:
    """What a top-down network looks at for a box (left, top, right, bottom)."""
    left, top, right, bottom = box_px
    crop_width, crop_height = model.input_size_px
    height = max(bottom - top, (right - left) * crop_height / crop_width) * model.preprocessing.padding
    return Region(((left + right) / 2, (top + bottom) / 2), (height * crop_width / crop_height, height))


def ours_of(model: PoseModel, picture: np.ndarray, region: Region) -> tuple[np.ndarray, np.ndarray]:
    """Our joints in pixels of the picture, and their scores."""
    size_px = model.input_size_px
    crop = model.preprocessing.sampled(region, size_px).crop(picture, size_px, cv2.BORDER_CONSTANT)
    points_px, scores = model.run(crop[None])
    return region.to_picture(points_px[0], size_px), scores[0]


def theirs_of(frameworks: Frameworks, model: MMPoseModel, picture: np.ndarray, box_px: tuple[int, ...]) -> Any:
    """What `inference_topdown` answers."""
    (answer,) = frameworks.apis.inference_topdown(model.network, picture, np.array([box_px], np.float32))
    return answer


@pytest.mark.parametrize(
    ("name", "skeleton"),
    [(RTMPOSE_T, COCO17), (RTMPOSE_S_HALPE, HALPE26), (HRNET, COCO17)],
    ids=["rtmpose-t", "rtmpose-s-halpe", "hrnet"],
)
def test_joints_are_those_of_inference_topdown(
    name: str, skeleton: Skeleton, exported: Any, frameworks: Frameworks, picture: np.ndarray
) -> None:
    theirs, ours = exported(name)
    assert ours.skeleton is skeleton
    in_crop_px = []
    for box_px in BOXES_PX:
        answer = theirs_of(frameworks, theirs, picture, box_px).pred_instances
        region = region_of(box_px, ours)
        points_px, scores = ours_of(ours, picture, region)
        np.testing.assert_allclose(scores, np.clip(answer.keypoint_scores[0], 0, 1), atol=1e-4)
        # MMPose puts joints of no score at the corner of the crop.
        found = answer.keypoint_scores[0] > 0
        assert found.sum() >= 10
        np.testing.assert_allclose(points_px[found], answer.keypoints[0][found], atol=AGREEMENT_PX)
        in_crop_px.append((points_px - region.centre_px) / region.size_px * ours.input_size_px)
    # The answers come from the pictures, not from the weights alone.
    assert np.median(np.ptp(in_crop_px, axis=0)) > 20


def test_half_a_crop_pixel_of_shift_would_be_noticed(
    exported: Any, frameworks: Frameworks, picture: np.ndarray
) -> None:
    """The comparison above can fail."""
    theirs, ours = exported(RTMPOSE_T)
    answer = theirs_of(frameworks, theirs, picture, BOXES_PX[0]).pred_instances
    region = region_of(BOXES_PX[0], ours)
    shift_px = 0.5 * region.size_px[0] / ours.input_size_px[0]
    moved = Region((region.centre_px[0] + shift_px, region.centre_px[1]), region.size_px)
    points_px, _ = ours_of(ours, picture, moved)
    assert np.abs(points_px - answer.keypoints[0]).max() > AGREEMENT_PX


def test_udp_network_sees_the_same_crop(exported: Any, frameworks: Frameworks, picture: np.ndarray) -> None:
    """Its heat maps are MMPose's; where it reads them is compared below, on maps that have a clear maximum."""
    theirs, ours = exported(CSPNEXT_UDP)
    assert ours.preprocessing.corner_aligned
    theirs.network.test_cfg["output_heatmaps"] = True
    for box_px in BOXES_PX[:2]:
        expected = theirs_of(frameworks, theirs, picture, box_px).pred_fields.heatmaps.numpy()
        region, size_px = region_of(box_px, ours), ours.input_size_px
        difference: list[float] = []
        for crop_region in (ours.preprocessing.sampled(region, size_px), region):
            crop = crop_region.crop(picture, size_px, cv2.BORDER_CONSTANT)
            (found,) = ours.session.run({"input": ours.preprocessing.normalised(crop[None])}).values()
            difference.append(np.abs(found[0] - expected).max() / np.ptp(expected))
        # The plain crop is another one, and that shows.
        assert difference[0] < 0.01 < 0.1 < difference[1]


@pytest.mark.parametrize(
    ("name", "kind", "options"),
    [
        ("quarter", "MSRAHeatmap", {"sigma": 2}),
        ("dark", "MSRAHeatmap", {"sigma": 2, "unbiased": True}),
        ("udp", "UDPHeatmap", {"sigma": 2}),
    ],
)
def test_heat_maps_are_read_as_mmpose_reads_them(
    name: CodecName, kind: str, options: dict[str, Any], frameworks: Frameworks
) -> None:
    codecs = importlib.import_module("mmpose.codecs")
    size_px, cells = (192, 256), (48, 64)
    codec = getattr(codecs, kind)(input_size=size_px, heatmap_size=cells, **options)
    random = np.random.default_rng(0)
    for noise in (0.0, 0.02):
        true_px = random.uniform(20, np.array(size_px) - 20, (1, 40, 2)).astype(np.float32)
        maps = codec.encode(true_px)["heatmaps"] * 0.8
        maps = (maps + random.normal(0, noise, maps.shape)).astype(np.float32)
        expected_px, expected_scores = codec.decode(maps)
        outputs = {"heatmaps": maps[None]}
        points_px, scores = HeatmapDecoder(outputs, size_px, Codec(name, codec.blur_kernel_size)).decode(outputs)
        np.testing.assert_allclose(points_px, expected_px, atol=0.01)
        np.testing.assert_allclose(scores, expected_scores, atol=1e-6)
        # Both are right, not only equal.
        assert np.median(np.abs(points_px - true_px)) < 2
    # Rough maps, as of random weights: where there is a top beside the cell, both find it.
    rough = random.normal(0.3, 0.1, (200, cells[1], cells[0])).astype(np.float32)
    decoder = HeatmapDecoder({"heatmaps": rough[None]}, size_px, Codec(name, codec.blur_kernel_size))
    (points_px,), _ = decoder.decode({"heatmaps": rough[None]})
    places = rough.reshape(200, -1).argmax(axis=1)
    scale = np.array(size_px) / (np.array(cells) - (name == "udp"))
    moved = (points_px != np.stack([places % cells[0], places // cells[0]], axis=1) * scale).any(axis=1)
    assert moved.sum() > 50
    np.testing.assert_allclose(points_px[moved], codec.decode(rough)[0][0][moved], atol=0.01)


def test_card_tells_what_the_file_is(exported: Any, tmp_path: Path) -> None:
    _, ours = exported(RTMPOSE_T)
    card = tomllib.loads(ours.path.with_suffix(".toml").read_text(encoding="utf-8"))
    assert card["onnx_sha256"] == hashlib.sha256(ours.path.read_bytes()).hexdigest()
    assert card["weights_sha256"] == ours.session.card.weights_sha256
    assert tuple(card["joints"]) == COCO17.joints
    assert (card["input_size_px"], card["codec"], card["weights"]) == ([192, 256], "simcc", "random weights, seed 0")
    assert card["onnxruntime_against_torch"] < 1e-3
    assert not list(ours.path.parent.glob("*.unproven.onnx"))


# --- checkpoints


def save_checkpoint(frameworks: Frameworks, path: Path, meta: dict[str, Any], seed: int = 1) -> str:
    """RTMPose-t with other random weights; returns the checksum."""
    model = build_model(frameworks, RTMPOSE_T, None, seed)
    frameworks.torch.save({"meta": meta, "state_dict": model.network.state_dict()}, path)
    return hashlib.sha256(path.read_bytes()).hexdigest()


# Checkpoints of MMEngine hold numpy arrays, which PyTorch does not read as mere tensors.
@pytest.mark.parametrize("meta", [{}, {"dataset_meta": {"sigmas": np.ones(17)}}], ids=["tensors", "objects"])
def test_checkpoint_gives_its_weights(
    meta: dict[str, Any], exported: Any, frameworks: Frameworks, tmp_path: Path
) -> None:
    checksum = save_checkpoint(frameworks, tmp_path / "one.pth", meta)
    request = ExportRequest(RTMPOSE_T, tmp_path / "one.onnx", tmp_path / "one.pth", checksum, "CC0")
    model = export(request)
    expected = build_model(frameworks, RTMPOSE_T, None, 1).network.state_dict()
    state = model.network.state_dict()
    assert all(bool((state[key] == expected[key]).all()) for key in expected)
    ours = PoseModel(request.output, threads=1)
    assert ours.session.card is not None
    reference = ours.session.card.reference.outputs["simcc_x"]
    assert np.abs(reference - exported(RTMPOSE_T)[1].session.card.reference.outputs["simcc_x"]).max() > 0.1
    card = tomllib.loads(request.output.with_suffix(".toml").read_text(encoding="utf-8"))
    assert (card["licence"], card["weights_sha256"], card["weights"]) == ("CC0", checksum, "checkpoint one.pth")


def test_joints_of_the_checkpoint_count(frameworks: Frameworks, tmp_path: Path) -> None:
    """Trained on Human3.6M with a config for COCO: the checkpoint says what its joints are."""
    meta = {"dataset_meta": {"keypoint_id2name": dict(enumerate(mmpose_names(H36M17)))}}
    save_checkpoint(frameworks, tmp_path / "h36m.pth", meta)
    model = build_model(frameworks, RTMPOSE_T, (tmp_path / "h36m.pth").read_bytes())
    assert model.skeleton is H36M17


def test_config_for_human36m(frameworks: Frameworks, tmp_path: Path) -> None:
    base = next(frameworks.configs.rglob(f"{RTMPOSE_T}.py"))
    config = tmp_path / "h36m.py"
    config.write_text(
        f"_base_ = [{str(base)!r}]\n"
        "train_dataloader = dict(dataset=dict(metainfo=dict(from_file='configs/_base_/datasets/h36m.py')))\n"
    )
    export(ExportRequest(str(config), tmp_path / "h36m.onnx"))
    assert PoseModel(tmp_path / "h36m.onnx", threads=1).skeleton is H36M17


def test_changed_checkpoint_is_not_unpickled(tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple:
            return (Path.touch, (tmp_path / "exploded",))

    (tmp_path / "bomb.pth").write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(UserError, match="it was not read"):
        export(ExportRequest(RTMPOSE_T, tmp_path / "a.onnx", tmp_path / "bomb.pth", "0" * 64))
    assert not (tmp_path / "exploded").exists()
    assert not (tmp_path / "a.onnx").exists()


def test_checkpoint_of_another_network_is_refused(frameworks: Frameworks, tmp_path: Path) -> None:
    save_checkpoint(frameworks, tmp_path / "t.pth", {})
    content = (tmp_path / "t.pth").read_bytes()
    for name in (RTMPOSE_S_HALPE, CSPNEXT_UDP):
        with pytest.raises(UserError, match="the checkpoint does not fit the config"):
            build_model(frameworks, name, content)
    for damaged in (content[:1000], b"", pickle.dumps([1, 2])):
        with pytest.raises(UserError, match="the checkpoint does not fit the config"):
            build_model(frameworks, RTMPOSE_T, damaged)


# --- configs


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("rtmpose-t_coco", "no such file, and no config of this name.*; similar: rtmpose-"),
        ("somewhere/else.py", "somewhere/else.py: no such file"),
        ("rtmo-s_8xb32-600e_coco-640x640", "expected a top-down pose network .*, found BottomupPoseEstimator"),
        ("td-reg_mobilenetv2_rle-pretrained-8xb64-210e_coco-256x192", "its head RLEHead is not supported, only RTMCC"),
        ("rtmpose-m_8xb64-270e_coco-wholebody-256x192", "expected the joints of COCO .*, found 133"),
    ],
)
def test_unsupported_config_is_named(config: str, message: str, frameworks: Frameworks) -> None:
    with pytest.raises(UserError, match=message):
        build_model(frameworks, config, None)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("model = (", "cannot be read as a config"),
        ("model = dict(type='TopdownPoseEstimator', backbone=dict(type='NoNet'))", "MMPose cannot build this network"),
        ("_base_ = [{base!r}]\nmodel = dict(head=dict(decoder=dict(use_dark=True)))", "its codec SimCCLabel is not"),
        (
            "_base_ = [{base!r}]\ntest_dataloader = dict(dataset=dict(pipeline=[dict(type='LoadImage')]))",
            "its test pipeline is not that of a top-down network",
        ),
    ],
)
def test_config_that_cannot_be_used_is_named(text: str, message: str, frameworks: Frameworks, tmp_path: Path) -> None:
    base = next(frameworks.configs.rglob(f"{RTMPOSE_T}.py"))
    config = tmp_path / "mine.py"
    config.write_text(text.replace("{base!r}", repr(str(base))))
    with pytest.raises(UserError, match=message) as caught:
        build_model(frameworks, str(config), None)
    assert "mine.py" in str(caught.value)
