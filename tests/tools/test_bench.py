"""The benchmark measures what it says: on a clock that can be set, on products counted by hand, on a short scene."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from binopose.calibration.triangulate import triangulate_dlt
from binopose.models.skeleton import BODY17
from binopose.tools import arithmetic, bench, bench_denoiser, bench_detectors, bench_pipeline, bench_stages
from binopose.tools.timing import MIN_RUNS, Candidate, Row, hardware, interleaved, table

from ..engines.small_networks import denoiser_network, onnx, write_network

ROW_KEYS = {
    "what",
    "engine",
    "device",
    "k",
    "batch",
    "threads",
    "median_ms",
    "p95_ms",
    "cpu_ms",
    "ratio_to_reference",
    "floor_ms",
}


def measure(arguments: list[str], tmp_path: Path) -> dict[str, Any]:
    assert bench.main([*arguments, "--json", str(tmp_path / "bench.json")]) == 0
    return json.loads((tmp_path / "bench.json").read_text())


# --- timing


class Clock:
    """A clock that goes on only when told; the candidates tell it how long they take."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.order: list[str] = []

    def work(self, name: str, durations_s: list[float]) -> Candidate:
        remaining = iter(durations_s * 1000)

        def run() -> None:
            self.order.append(name)
            self.now_s += next(remaining)

        return Candidate(Row(name, "clock", "cpu"), run)


def test_medians_and_percentiles_are_those_of_the_runs() -> None:
    clock = Clock()
    # Each turn: one uncounted run, then a tenth of a second of counted ones.
    durations_s = [9.0, *[0.001] * 9, 0.011, *[0.003] * 10, *[0.0025] * 20]
    slow, fast = interleaved(
        [clock.work("slow", [5.0, 0.7]), replace(clock.work("fast", durations_s), row=Row("fast", "", "", batch=10))],
        0.1,
        lambda: clock.now_s,
        lambda: clock.now_s / 4,
    )
    assert (slow.median_ms, slow.p95_ms) == (pytest.approx(700), pytest.approx(700))
    counted_ms = 1e3 * np.array(durations_s[1:])
    # Per pair: ten at once.
    assert fast.median_ms == pytest.approx(np.median(counted_ms) / 10)
    assert fast.cpu_ms == pytest.approx(np.median(counted_ms) / 40)
    assert fast.p95_ms == pytest.approx(np.percentile(counted_ms, 95) / 10)


def test_candidates_take_turns() -> None:
    clock = Clock()
    interleaved([clock.work("a", [0.06]), clock.work("b", [0.06])], 0.5, lambda: clock.now_s)
    turns = [name for index, name in enumerate(clock.order) if index == 0 or clock.order[index - 1] != name]
    assert len(turns) >= 8
    assert clock.order.count("a") - turns.count("a") >= MIN_RUNS


def test_table_has_a_line_for_every_row() -> None:
    rows = [Row("short", "e", "cpu", 1, 1, 1, 0.5, 0.75, 0.625, 12.25, 0.125), Row("much longer", "engine", "cuda")]
    lines = table(rows)
    assert len({len(line) for line in lines}) == 1
    assert lines[1].split() == ["short", "e", "cpu", "1", "1", "1", "0.500", "0.750", "0.625", "12.2", "0.125"]
    assert set(rows[0].to_json()) == ROW_KEYS
    machine = hardware()
    assert machine["cores"] >= 1
    assert machine["libraries"]["numpy"] == np.__version__


# --- arithmetic


def product_network(batch: int | str) -> bytes:
    """A convolution, a matrix product with a constant, a product of two results, and a sum that does not count."""
    helper, tensor = onnx.helper, onnx.TensorProto
    constants = {
        "kernel": np.zeros((8, 3, 3, 3), np.float32),
        "weights": np.zeros((16, 5), np.float32),
        "flat": np.array([0, 8, 16], np.int64),
    }
    nodes = [
        helper.make_node("Conv", ["x", "kernel"], ["features"]),
        helper.make_node("Reshape", ["features", "flat"], ["rows"]),
        helper.make_node("MatMul", ["rows", "weights"], ["mixed"]),
        helper.make_node("Transpose", ["mixed"], ["turned"], perm=[0, 2, 1]),
        helper.make_node("MatMul", ["turned", "mixed"], ["product"]),
        helper.make_node("Add", ["product", "product"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "products",
        [helper.make_tensor_value_info("x", tensor.FLOAT, [batch, 3, 6, 6])],
        [helper.make_tensor_value_info("y", tensor.FLOAT, [batch, 5, 5])],
        [onnx.numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    return model.SerializeToString()


@pytest.mark.parametrize(("form", "batch"), [("batch", 1), ("batch", 4), (4, 4)])
def test_products_are_counted_as_by_hand(form: int | str, batch: int) -> None:
    # Conv: 8 x 4 x 4 numbers of 27 products; rows (8, 16) times (16, 5); (5, 8) times (8, 5).
    by_hand = 8 * 4 * 4 * 27 + 8 * 16 * 5 + 5 * 8 * 5
    assert arithmetic.multiply_adds(product_network(form), batch) == batch * by_hand


def test_without_the_package_there_is_no_floor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    assert arithmetic.multiply_adds(product_network("batch"), 1) is None


# --- the published algorithm


def test_published_algorithm_is_of_the_published_size_and_geometry() -> None:
    torch = pytest.importorskip("torch")
    from binopose.tools.published import PublishedMethod, project_both, triangulate_each

    network = PublishedMethod(1).network
    # The released model has 1,579,976.
    assert sum(parameter.numel() for parameter in network.parameters()) == pytest.approx(1_579_976, rel=1e-3)
    assert {steps: PublishedMethod(steps).steps for steps in (1, 5)} == {1: [0], 5: [20, 15, 10, 5, 0]}
    random = np.random.default_rng(0)
    points_m = random.normal([0, 0, 3.5], 0.4, (3, 17, 3))
    baseline_m = np.array([0.1, 0.4, 2.0])
    views = project_both(torch.tensor(points_m, dtype=torch.float32), torch.tensor(baseline_m, dtype=torch.float32))
    generator = torch.Generator().manual_seed(1)
    left, right = (view + 0.002 * torch.randn(view.shape, generator=generator) for view in views)
    found_m = triangulate_each(left, right, torch.tensor(baseline_m, dtype=torch.float32)).numpy()
    projections = np.zeros((3, 2, 3, 4))
    projections[:, :, :, :3] = np.eye(3)
    projections[:, 1, 0, 3] = -baseline_m
    expected_m = triangulate_dlt(projections, np.stack([left.numpy(), right.numpy()], axis=1).astype(np.float64))
    np.testing.assert_allclose(found_m, expected_m, rtol=2e-3, atol=2e-3)
    result_m = PublishedMethod(2).run(left, right, torch.tensor(baseline_m, dtype=torch.float32))
    assert result_m.shape == (3, len(BODY17), 3)
    assert torch.isfinite(result_m).all()


# --- the parts


def test_denoisers_are_compared_with_the_published_algorithm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch")
    monkeypatch.setattr(bench_denoiser, "OPENINGS", 1)
    paths = [write_network(tmp_path / "any.onnx"), write_network(tmp_path / "one.onnx", batch=1)]
    written = measure(
        ["denoiser", *map(str, paths), "--batches", "1", "4", "--threads", "1", "2", "--seconds", "0.02"], tmp_path
    )
    rows = written["rows"]
    assert all(set(row) == ROW_KEYS for row in rows)
    ours = [(r["what"], r["batch"], r["threads"]) for r in rows if r["engine"].startswith("onnxruntime")]
    assert ours[:6] == [("any", 1, 1), ("any", 4, 1), ("any", 1, 2), ("any", 4, 2), ("one", 1, 1), ("one", 1, 2)]
    reference = {row["batch"]: row for row in rows if row["what"] == "published algorithm"}
    assert set(reference) == {1, 4}
    for row in rows[:6]:
        expected = reference[row["batch"]]["median_ms"] / row["median_ms"]
        assert row["ratio_to_reference"] == pytest.approx(expected, rel=0.05)
        assert row["floor_ms"] == 0  # no products in this network
        assert row["k"] == 1
    opening = [row for row in rows if row["what"].startswith("opening")]
    assert [row["what"] for row in opening] == ["opening any", "opening one"]
    assert all(5 < row["median_ms"] < 60_000 for row in opening)
    assert written["hardware"]["cpu"]
    assert set(written["sgemm_gflops"]) == {"1", "2"}


def test_without_files_the_shipped_denoisers_are_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(bench_denoiser, "OPENINGS", 1)
    monkeypatch.setattr(bench_denoiser, "denoiser_files", dict)
    assert bench.main(["denoiser"]) == 2
    assert "give a file" in capsys.readouterr().err
    paths = [write_network(tmp_path / "denoiser-k1.onnx")]
    monkeypatch.setattr(bench_denoiser, "denoiser_files", lambda: {1: paths[0]})
    rows = measure(["denoiser", "--batches", "1", "--threads", "1", "--seconds", "0.02"], tmp_path)["rows"]
    assert rows[0]["what"] == "denoiser-k1"


def test_denoiser_without_a_card_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "net.onnx").write_bytes(denoiser_network(metadata={}))
    assert bench.main(["denoiser", str(tmp_path / "net.onnx")]) == 2
    assert "without its description" in capsys.readouterr().err


def test_floor_is_the_products_over_the_peak() -> None:
    row = Row("products", "e", "cpu", 1, 4, 2)

    class Opened:
        path, content = Path("products.onnx"), product_network("batch")

    models: Any = [Opened()]
    floored, other, gpu = bench_denoiser.with_floors(
        [row, replace(row, what="other"), replace(row, device="cuda")], models, lambda threads: threads * 1e6
    )
    assert floored.floor_ms == pytest.approx(2 * 4296 / 2e6 * 1e3)
    assert (other.floor_ms, gpu.floor_ms) == (None, None)


def test_detectors_are_measured_with_both_views(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from ..engines.test_rtmpose import colour_network

    monkeypatch.setattr(bench_detectors, "locate", lambda *_: None)
    path = tmp_path / "colours.onnx"
    path.write_bytes(colour_network(17))
    rows = measure(["detectors", str(path), "--threads", "1", "--seconds", "0.02"], tmp_path)["rows"]
    assert [row["what"] for row in rows] == ["colours, pair", "colours, network and decoding"]
    assert all(row["median_ms"] > 0 for row in rows)


def test_no_detector_at_all_is_an_error(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(bench_detectors, "locate", lambda *_: None)
    assert bench.main(["detectors"]) == 2
    assert "binopose models fetch" in capsys.readouterr().err


def test_stages_are_measured_one_by_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench_stages, "RECORDED_S", 0.3)
    rows = measure(["stages", "--seconds", "0.02"], tmp_path)["rows"]
    named = {row["what"]: row["median_ms"] for row in rows}
    assert set(named) >= {"decode both videos", "rectify both pictures", "triangulate", "draw the overlay"}
    assert named["triangulate"] < named["rectify both pictures"]


def test_the_pipeline_is_measured_with_and_without_overlay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(bench_pipeline, "SIMULATED_S", 0.2)
    written = measure(["pipeline", "--loops", "2"], tmp_path)
    rows = {row["what"]: row for row in written["rows"]}
    for kind in ("with overlay", "without overlay"):
        whole = rows[f"whole pipeline {kind}"]
        assert set(whole) == ROW_KEYS
        memory_mib = written["memory_mib"][kind]
        assert len(memory_mib) == 2
        assert 20 < memory_mib[0] < 4000
        stages = [rows[f"{stage} {kind}"]["median_ms"] for stage in ("rectify", "detect", "triangulate", "refine")]
        # One stage after the other in one thread: a pair cannot take less than its stages.
        assert whole["median_ms"] > 0.8 * sum(stages)
    assert "draw with overlay" in rows
    assert "draw without overlay" not in rows
    said = capsys.readouterr().out
    assert said.count("pairs/s over 12 pairs") == 4


def test_half_a_recording_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert bench.main(["pipeline", str(tmp_path / "left.mp4")]) == 2
    assert "needs LEFT, RIGHT and --rig" in capsys.readouterr().err
