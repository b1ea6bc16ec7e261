"""The benchmark: published figures on real files, exactness on a made-up one, and broken files."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from binopose.calibration.errors import UserError
from binopose.calibration.rectify import RectifiedRig
from binopose.calibration.triangulate import triangulate_dlt
from binopose.engines.denoiser import Denoiser, NoDenoiser, SkeletonDenoiser
from binopose.models.pose import Pose2D, Pose3D
from binopose.tools.datasets.benchmark import Benchmark, load_benchmark
from binopose.tools.evaluate import Estimates, Evaluation, evaluate, main
from binopose.tools.metrics import pose_errors
from scipy.spatial.transform import Rotation

SCORES = ("mpjpe_mm", "root_relative_mpjpe_mm", "pa_mpjpe_mm")


@pytest.fixture(scope="module", params=["mhad_s08", "h36m_s9"])
def evaluated(request: pytest.FixtureRequest, shared_data: Path) -> tuple[str, dict[str, Any]]:
    """Name of the file and what `evaluate` says about the skeleton fit on it."""
    benchmark = load_benchmark(shared_data / "benchmark" / f"{request.param}.npz")
    return request.param, evaluate(benchmark, SkeletonDenoiser(), streaming=True)


def readme_figures(shared_data: Path, name: str) -> dict[str, list[float]]:
    """The README's table: estimate -> MPJPE, root-relative, Procrustes."""
    column = {"mhad_s08": 2, "h36m_s9": 3}[name]
    figures = {}
    for line in (shared_data / "benchmark" / "README.md").read_text(encoding="utf-8").splitlines():
        cells = line.split("|")
        if len(cells) > column and (numbers := re.fullmatch(r" ([\d.]+) / ([\d.]+) / ([\d.]+) ", cells[column])):
            figures[cells[1].strip()] = [float(number) for number in numbers.groups()]
    assert len(figures) == 4
    return figures


def test_baselines_reproduce_the_published_figures(shared_data: Path, evaluated: tuple[str, dict[str, Any]]) -> None:
    name, result = evaluated
    figures = readme_figures(shared_data, name)
    rows = {"triangulation": "triangulation (`", "published": "the paper", "mid_hip": "triangulation, joint 6"}
    for baseline, start in rows.items():
        (expected,) = [values for estimate, values in figures.items() if estimate.startswith(start)]
        found = [result["baselines"][baseline][score] for score in SCORES]
        assert found == pytest.approx(expected, abs=0.0101), baseline


def test_raw_detections_reproduce_their_figures(shared_data: Path) -> None:
    expected = readme_figures(shared_data, "h36m_s9")["triangulation of `points2d_raw`"]
    benchmark = load_benchmark(shared_data / "benchmark" / "h36m_s9.npz", raw_detections=True)
    found_m = triangulate_dlt(benchmark.projections, benchmark.points_px)
    found = pose_errors(found_m[benchmark.scored], benchmark.truth_m[benchmark.scored], root=6)
    assert [found[score] for score in SCORES] == pytest.approx(expected, abs=0.0101)


def test_skeleton_fit_beats_what_was_measured_when_it_was_designed(evaluated: tuple[str, dict[str, Any]]) -> None:
    name, result = evaluated
    limits = {"mhad_s08": (31.0, 30.8), "h36m_s9": (24.9, 26.8)}[name]
    assert result["mpjpe_mm"] <= limits[0]
    assert result["root_relative_mpjpe_mm"] <= limits[1]
    assert result["baselines"]["skeleton_fit"]["mpjpe_mm"] == result["mpjpe_mm"]


def test_damaged_frames_are_left_out(evaluated: tuple[str, dict[str, Any]]) -> None:
    name, result = evaluated
    assert result["n"] == {"mhad_s08": 4654, "h36m_s9": 1253 - 74}[name]


def test_closed_form_triangulation_is_as_good_as_the_published_one(shared_data: Path) -> None:
    benchmark = load_benchmark(shared_data / "benchmark" / "h36m_s9.npz")
    evaluation = Evaluation(benchmark)
    found_m = evaluation.estimates(NoDenoiser(), streaming=True).points_m
    assert evaluation.errors(found_m).means()["mpjpe_mm"] == pytest.approx(26.34, abs=0.3)


def cut(benchmark: Benchmark, part: slice, **changes: Any) -> Benchmark:
    fields = {name: getattr(benchmark, name)[part] for name in benchmark.__dataclass_fields__}
    return replace(Benchmark(**fields), **changes)


def found_m(benchmark: Benchmark, denoiser: Denoiser, streaming: bool) -> np.ndarray:
    return Evaluation(benchmark).estimates(denoiser, streaming).points_m


def test_streaming_is_causal_and_starts_anew_with_each_subject(shared_data: Path) -> None:
    benchmark = load_benchmark(shared_data / "benchmark" / "mhad_s08.npz")
    whole_m = found_m(cut(benchmark, slice(0, 120)), SkeletonDenoiser(), streaming=True)
    first_m = found_m(cut(benchmark, slice(0, 60)), SkeletonDenoiser(), streaming=True)
    np.testing.assert_array_equal(whole_m[:60], first_m)
    second_m = found_m(cut(benchmark, slice(60, 120)), SkeletonDenoiser(), streaming=True)
    assert np.abs(whole_m[60:] - second_m).max() > 1e-4, "nothing was learnt from the first half"
    people = np.array(["S1"] * 60 + ["S2"] * 60)
    apart_m = found_m(cut(benchmark, slice(0, 120), subject=people), SkeletonDenoiser(), streaming=True)
    np.testing.assert_array_equal(apart_m, np.concatenate([first_m, second_m]))


def test_single_mode_knows_nothing_of_other_samples(shared_data: Path) -> None:
    benchmark = load_benchmark(shared_data / "benchmark" / "mhad_s08.npz")
    there_m = found_m(cut(benchmark, slice(0, 40)), SkeletonDenoiser(), streaming=False)
    back_m = found_m(cut(benchmark, slice(39, None, -1)), SkeletonDenoiser(), streaming=False)
    np.testing.assert_array_equal(there_m, back_m[::-1])


def made_up(samples: int = 6, truth_m: np.ndarray | None = None) -> dict[str, np.ndarray]:
    """A benchmark with exact detections, cameras that converge a little, and skew in K as in the published files.

    truth_m: (samples, 17, 3), None for any.
    """
    rng = np.random.default_rng(0)
    truth_m = rng.normal(0, 0.3, (samples, 17, 3)) if truth_m is None else truth_m
    intrinsics, rotations = np.empty((samples, 2, 3, 3)), np.empty((samples, 2, 3, 3))
    centres_m, projections = np.empty((samples, 2, 3)), np.empty((samples, 2, 3, 4))
    points = np.empty((samples, 2, 17, 2))
    for n in range(samples):
        # Rectified cameras, as in the files: one rotation, one beside the other, crops of their own.
        rotation = Rotation.from_rotvec(rng.normal(0, 0.5, 3)).as_matrix()
        focal = rng.uniform(3, 5)
        for view in (0, 1):
            rotations[n, view] = rotation
            centres_m[n, view] = rotation.T @ np.array([0.4 * view - 0.2, 0, -3.0])
            shift = rng.normal(0, 0.1)
            intrinsics[n, view] = [[focal, 0.001, shift], [0, focal * 1.01, 0.05], [0, 0, 1]]
            matrix = intrinsics[n, view] @ rotation
            projections[n, view] = np.concatenate([matrix, (-matrix @ centres_m[n, view])[:, None]], axis=1)
            image = truth_m[n] @ matrix.T + projections[n, view][:, 3]
            points[n, view] = image[:, :2] / image[:, 2:]
    return {
        "points2d": points, "points2d_raw": points + 0.01, "K": intrinsics, "R": rotations,
        "camera_centres": centres_m, "proj": projections, "gt": truth_m, "tri_ref": truth_m,
        "dualdiff_ref": truth_m + np.array([0, 0.02, 0]), "gt_damaged": np.zeros(samples, bool),
        "subject": np.array(["S1"] * samples), "action": np.array(["stand", "walk"])[np.arange(samples) % 2],
        "more": np.zeros(3),
    }  # fmt: skip


def two_pairs(samples: int) -> dict[str, np.ndarray]:
    """The same moments seen by two camera pairs, one after the other: 2 * samples, exact detections."""
    truth_m = made_up(samples)["gt"]
    fields = made_up(2 * samples, np.concatenate([truth_m, truth_m]))
    return fields | {
        "action_number": np.zeros(2 * samples, int), "frame_id": np.tile(np.arange(samples), 2),
        "camera_group": np.repeat([0, 1], samples), "action": np.full(2 * samples, "walk"),
        "subject": np.full(2 * samples, "S1", dtype="<U8"),
    }  # fmt: skip


def write(path: Path, fields: dict[str, np.ndarray]) -> Path:
    np.savez(path, allow_pickle=False, **fields)
    return path


def test_exact_detections_give_the_truth(tmp_path: Path) -> None:
    benchmark = load_benchmark(write(tmp_path / "b.npz", made_up()))
    result = evaluate(benchmark, NoDenoiser(), streaming=False)
    assert result["mpjpe_mm"] < 1e-6
    assert result["baselines"]["triangulation"]["mpjpe_mm"] < 1e-6
    assert result["baselines"]["published"]["mpjpe_mm"] == pytest.approx(20)
    assert result["baselines"]["published"]["root_relative_mpjpe_mm"] == pytest.approx(0, abs=1e-6)


def test_detections_are_projections_of_the_truth_in_pixels_too(tmp_path: Path) -> None:
    benchmark = load_benchmark(write(tmp_path / "b.npz", made_up()))
    for n in range(len(benchmark)):
        for view in (0, 1):
            in_camera = (benchmark.truth_m[n] - benchmark.centres_m[n, view]) @ benchmark.rotations[n, view].T
            image = in_camera @ benchmark.intrinsics[n, view].T
            np.testing.assert_allclose(image[:, :2] / image[:, 2:], benchmark.points_px[n, view], atol=1e-6)
            assert benchmark.intrinsics[n, view, 0, 1] == pytest.approx(0, abs=1e-12)


class Forgetful:
    """Leaves the joint out that it finds hardest."""

    name = "forgetful"
    device = "cpu"

    def denoise(self, rig: RectifiedRig, left: Pose2D, right: Pose2D, raw: Pose3D) -> Pose3D:
        points_m = raw.points_m.copy()
        points_m[10] = np.nan
        return replace(raw, points_m=points_m)

    def reset(self) -> None:
        pass


def test_missing_joints_are_no_way_to_a_better_score(tmp_path: Path) -> None:
    benchmark = load_benchmark(write(tmp_path / "b.npz", made_up()))
    with pytest.raises(UserError, match="6 of 6 samples have joints without a position"):
        evaluate(benchmark, Forgetful(), streaming=False)


class Stating:
    """Errs by a factor times what it states, differently along each rectified axis; of two joints it states nothing."""

    name = "stating"
    device = "cpu"
    sigma_m = np.array([0.005, 0.010, 0.040])

    def __init__(self, factor: tuple[float, float, float] = (1, 1, 1)) -> None:
        self._rng = np.random.default_rng(1)
        self._factor = np.array(factor)

    def denoise(self, rig: RectifiedRig, left: Pose2D, right: Pose2D, raw: Pose3D) -> Pose3D:
        sigma_m = np.tile(self.sigma_m, (17, 1))
        points_m = raw.points_m + self._factor * sigma_m * self._rng.normal(size=(17, 3))
        sigma_m[[3, 4]] = np.nan
        return replace(raw, points_m=points_m, sigma_m=sigma_m)

    def reset(self) -> None:
        pass


def test_stated_intervals_are_checked(tmp_path: Path) -> None:
    benchmark = load_benchmark(write(tmp_path / "b.npz", made_up(400)))
    result = evaluate(benchmark, Stating(), streaming=True)
    assert result["sigma_share"] == pytest.approx(15 / 17)
    for percent in (50, 90):
        assert result[f"coverage_{percent}"] == pytest.approx(percent / 100, abs=0.01)
        assert result[f"coverage_{percent}_per_axis"] == pytest.approx([percent / 100] * 3, abs=0.02)
        per_joint = result[f"coverage_{percent}_per_joint"]
        assert [joint for joint, share in enumerate(per_joint) if math.isnan(share)] == [3, 4]
        assert [share for share in per_joint if not math.isnan(share)] == pytest.approx([percent / 100] * 15, abs=0.05)


def test_stated_intervals_are_checked_along_the_axes_they_belong_to(tmp_path: Path) -> None:
    benchmark = load_benchmark(write(tmp_path / "b.npz", made_up(400)))
    result = evaluate(benchmark, Stating(factor=(2, 1, 0.5)), streaming=True)
    # A normal distribution has these shares within 0.3372, 0.6745 and 1.349 standard deviations.
    assert result["coverage_50_per_axis"] == pytest.approx([0.264, 0.5, 0.823], abs=0.02)


def test_parts_of_a_file_add_up_to_the_whole(evaluated: tuple[str, dict[str, Any]]) -> None:
    _, result = evaluated
    for scores in (result, *result["baselines"].values()):
        for parts in (list(scores["per_action"].values()), scores["by_depth"]):
            numbers = [part["n"] for part in parts]
            assert sum(numbers) == result["n"]
            for error in SCORES:
                assert np.average([part[error] for part in parts], weights=numbers) == pytest.approx(scores[error])
    depths = [(part["from_m"], part["to_m"]) for part in result["by_depth"]]
    assert depths == sorted(depths)
    assert max(part["n"] for part in result["by_depth"]) - min(part["n"] for part in result["by_depth"]) <= 1


def test_differences_are_those_of_the_same_frames(evaluated: tuple[str, dict[str, Any]]) -> None:
    _, result = evaluated
    for name, baseline in result["baselines"].items():
        for error in SCORES:
            low, mean, high = result["difference_to"][name][error]
            assert mean == pytest.approx(result[error] - baseline[error])
            assert low <= mean <= high
    assert result["difference_to"]["skeleton_fit"]["mpjpe_mm"] == [0, 0, 0]
    # The fit is better than triangulation beyond doubt, on either file.
    assert result["difference_to"]["triangulation"]["mpjpe_mm"][2] < 0


def test_a_constant_difference_is_certain(tmp_path: Path) -> None:
    benchmark = load_benchmark(write(tmp_path / "b.npz", made_up()))
    difference = evaluate(benchmark, NoDenoiser(), streaming=False)["difference_to"]["published"]
    assert difference["mpjpe_mm"] == pytest.approx([-20] * 3)


def test_command_writes_the_promised_keys(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fields = made_up()
    fields["gt_damaged"][2] = True
    fields["gt"][2] += 5
    path, scores = write(tmp_path / "b.npz", fields), tmp_path / "scores.json"
    assert main([str(path), "--denoiser", "off", "--mode", "single", "--json", str(scores)]) == 0
    result = json.loads(scores.read_text(encoding="utf-8"))
    assert {*SCORES, "per_joint_mm", "n", "baselines", "coverage_50", "coverage_90", "per_action", "by_depth",
            "difference_to"} <= set(result)  # fmt: skip
    assert {action: part["n"] for action, part in result["per_action"].items()} == {"stand": 2, "walk": 3}
    assert set(result["baselines"]) == {"triangulation", "mid_hip", "skeleton_fit", "published"}
    assert result["n"] == 5
    assert result["mpjpe_mm"] < 1e-6
    assert len(result["per_joint_mm"]) == 17
    said = capsys.readouterr().out
    assert "published" in said
    assert "RightWrist" not in said
    assert main([str(path), "--denoiser", "off", "--detail"]) == 0
    detail = capsys.readouterr().out
    assert all(part in detail for part in ("RightWrist", "stand (2)", "walk (3)", "root depth"))
    raw = tmp_path / "raw.json"
    assert main([str(path), "--denoiser", "off", "--raw", "--json", str(raw)]) == 0
    assert json.loads(raw.read_text(encoding="utf-8"))["mpjpe_mm"] > 1


def test_unknown_denoiser_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(write(tmp_path / "b.npz", made_up())), "--denoiser", "magic"]) == 2
    message = capsys.readouterr().err
    assert "magic" in message
    assert "skeleton" in message


def broken(kind: str, path: Path) -> None:
    fields = made_up()
    write(path, fields)
    data = path.read_bytes()
    if kind == "missing":
        path.unlink()
    elif kind == "folder":
        path.unlink()
        path.mkdir()
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "text":
        path.write_text("x y z\n1 2 3\n", encoding="utf-8")
    elif kind == "cut off":
        path.write_bytes(data[: len(data) // 2])
    elif kind == "cut off by a few bytes":
        path.write_bytes(data[:-30])
    elif kind == "damaged inside":
        middle = len(data) // 3
        path.write_bytes(data[:middle] + bytes(64) + data[middle + 64 :])
    elif kind == "single array":
        with path.open("wb") as file:
            np.save(file, fields["gt"])
    elif kind == "pickled":
        np.savez(path, allow_pickle=True, **(fields | {"subject": np.array([{}] * 6, dtype=object)}))
    elif kind == "field missing":
        del fields["camera_centres"]
        write(path, fields)
    elif kind == "wrong shape":
        write(path, fields | {"gt": fields["gt"][:, :16]})
    elif kind == "another number":
        write(path, fields | {"K": fields["K"][:4]})
    elif kind == "another number of labels":
        write(path, fields | {"frame_id": np.arange(5)})
    elif kind == "other names":
        write(path, {"poses": fields["gt"]})


BROKEN = (
    "missing", "folder", "empty", "text", "cut off", "cut off by a few bytes", "damaged inside", "single array",
    "pickled", "field missing", "wrong shape", "another number", "another number of labels", "other names",
)  # fmt: skip


@pytest.mark.parametrize("kind", BROKEN)
def test_broken_files_are_named(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "my bench.npz"
    broken(kind, path)
    with pytest.raises(UserError, match=r"my bench\.npz"):
        load_benchmark(path)


@pytest.mark.parametrize(
    ("kind", "told"),
    [("field missing", "camera_centres"), ("wrong shape", "gt: expected shape"), ("another number", "K: expected"),
     ("another number of labels", "frame_id: expected"),
     ("other names", "points2d.*poses")],
)  # fmt: skip
def test_wrong_fields_are_named(tmp_path: Path, kind: str, told: str) -> None:
    path = tmp_path / "b.npz"
    broken(kind, path)
    with pytest.raises(UserError, match=told):
        load_benchmark(path)


def test_detections_that_are_nan_are_not_scored_as_nan(tmp_path: Path) -> None:
    fields = made_up()
    fields["points2d"][3, 0, 5] = math.nan
    benchmark = load_benchmark(write(tmp_path / "b.npz", fields))
    with pytest.raises(UserError, match="1 of 6"):
        evaluate(benchmark, NoDenoiser(), streaming=False)


@pytest.mark.parametrize(
    ("factor", "expected"),
    # A normal distribution has these shares within the stated intervals, and within those of half its deviation.
    [(1, (0.5, 0.9)), (2, (0.264, 0.589))],
)
def test_two_camera_pairs_check_sigma_without_truth(
    tmp_path: Path, factor: float, expected: tuple[float, float]
) -> None:
    """Errors that are independent, and as large as stated or twice that; each sample's frame is turned elsewhere."""
    path = write(tmp_path / "b.npz", two_pairs(400))
    pairs = evaluate(load_benchmark(path), Stating((factor, factor, factor)), streaming=True)["camera_pairs"]
    assert pairs["poses"] == 400
    assert (pairs["coverage_50"], pairs["coverage_90"]) == pytest.approx(expected, abs=0.01)


def test_samples_of_the_same_cameras_or_of_other_moments_are_no_pairs(tmp_path: Path) -> None:
    fields = two_pairs(6)
    for name, values in (("camera_group", np.zeros(12, int)), ("frame_id", np.arange(12)), ("subject", np.arange(12))):
        path = write(tmp_path / "b.npz", fields | {name: values.astype(fields[name].dtype)})
        assert "camera_pairs" not in evaluate(load_benchmark(path), NoDenoiser(), streaming=False), name
    # Damaged in one pair: nothing to compare with.
    path = write(tmp_path / "b.npz", fields | {"gt_damaged": np.arange(12) == 7})
    assert evaluate(load_benchmark(path), NoDenoiser(), streaming=False)["camera_pairs"]["poses"] == 5


def test_pairs_are_compared_in_the_world_and_sigma_is_not_needed_for_that(tmp_path: Path) -> None:
    evaluation = Evaluation(load_benchmark(write(tmp_path / "b.npz", two_pairs(6))))
    points_m = evaluation.truth_m.copy()
    points_m[6:] += np.array([0.012, 0, 0.016])
    pairs = evaluation.camera_pairs(Estimates(points_m, np.full_like(points_m, np.nan)))
    assert pairs is not None
    assert pairs["difference_mm"] == pytest.approx(20)
    assert math.isnan(pairs["coverage_50"])


def test_moments_that_are_the_same_have_the_same_truth(shared_data: Path) -> None:
    benchmark = load_benchmark(shared_data / "benchmark" / "mhad_s08.npz")
    order = np.lexsort((benchmark.camera_group, benchmark.moment)).reshape(-1, 2)
    assert len(order) == 2327
    assert (benchmark.moment[order[:, 0]] == benchmark.moment[order[:, 1]]).all()
    assert (benchmark.camera_group[order] == [0, 1]).all()
    assert np.abs(np.diff(benchmark.truth_m[order], axis=1)).max() < 1e-3
    # And it is the label that says so: the moment after has another truth.
    assert np.abs(benchmark.truth_m[order[1:, 0]] - benchmark.truth_m[order[:-1, 1]]).max(axis=(1, 2)).min() > 1e-4


def test_one_camera_pair_says_nothing_of_itself(evaluated: tuple[str, dict[str, Any]]) -> None:
    name, result = evaluated
    assert ("camera_pairs" in result) == (name == "mhad_s08")
