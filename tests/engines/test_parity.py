"""The parity gate: engines that answer otherwise than their file says are refused, with both figures."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from binopose.engines.engine import Device, Port
from binopose.engines.model_file import ModelCard, ModelFileError, Reference, read_card
from binopose.engines.parity import EngineInexact, check_parity, deviation, measure
from binopose.engines.session import open_session

from .small_networks import SCALE, answers, make_card, samples, write_network

PICTURE = (2, 3, 256, 192)


def bumps(centres: np.ndarray, bins: int, width: float = 4.0) -> np.ndarray:
    """Histograms with one peak each, (..., bins)."""
    return np.exp(-(((np.arange(bins) - centres[..., None]) / width) ** 2)).astype(np.float32)


def test_exact_engine_passes_and_says_how_exact_it_is(tmp_path: Path) -> None:
    path = write_network(tmp_path / "net.onnx")
    opened = open_session(path, "cpu")
    assert opened.card is not None
    measured = check_parity(path, opened, opened.card.reference)
    assert [one.output for one in measured] == ["points_m", "sigma_m", "epipolar_px"]
    assert all(one.distance < 1e-2 for one in measured)


@pytest.mark.parametrize(("offset_m", "refused"), [(0.0009, False), (0.0011, True), (-0.25, True), (np.nan, True)])
def test_more_than_a_millimetre_is_refused_with_both_figures(offset_m: float, refused: bool, tmp_path: Path) -> None:
    path = write_network(tmp_path / "net.onnx", offset_m=offset_m)
    if not refused:
        open_session(path, "cpu")
        return
    with pytest.raises(EngineInexact) as caught:
        open_session(path, "cpu")
    figures = re.search(r"points_m (\S+) mm \(at most (\S+) mm\)", str(caught.value))
    assert figures is not None
    expected_mm = 1e3 * abs(offset_m) if np.isfinite(offset_m) else np.inf
    assert float(figures[1]) == pytest.approx(expected_mm, rel=1e-2)
    assert float(figures[2]) == 1.0


def test_the_user_may_allow_it_and_is_warned(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = write_network(tmp_path / "net.onnx", scale=SCALE * 1.01)
    with pytest.raises(EngineInexact):
        open_session(path, "cpu")
    opened = open_session(path, "cpu", allow_inexact=True)
    assert opened.device == "cpu"
    (warning,) = [record.message for record in caplog.records if record.levelno == logging.WARNING]
    assert "points_m" in warning
    assert "--allow-inexact" in warning


def test_a_fixed_batch_is_compared_on_all_samples(tmp_path: Path) -> None:
    """Four samples, two at a time; the last one alone is wrong, and it is in the second batch."""
    inputs = samples(4)
    outputs = answers(inputs)
    outputs["points_m"] = outputs["points_m"].copy()
    outputs["points_m"][3, 16, 2] += 0.01
    card = make_card(reference=Reference(inputs, outputs))
    with pytest.raises(EngineInexact, match="points_m 10 mm"):
        open_session(write_network(tmp_path / "net.onnx", batch=2, metadata=card.to_metadata()), "cpu")


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        (Reference(), "has no reference inputs"),
        (Reference(samples() | {"more": np.zeros(3)}, answers(samples())), "do not fit the network"),
        (Reference(samples(), answers(samples()) | {"mood_m": np.zeros((3, 1))}), "no output mood_m"),
    ],
)
def test_a_reference_of_another_network_is_a_damaged_file(reference: Reference, message: str, tmp_path: Path) -> None:
    card = make_card(reference=reference)
    with pytest.raises(ModelFileError, match=message):
        open_session(write_network(tmp_path / "net.onnx", metadata=card.to_metadata()), "cpu")


def test_outputs_of_unknown_meaning_prove_nothing(tmp_path: Path) -> None:
    path = write_network(tmp_path / "net.onnx")

    class Moody:
        engine, hardware = "test", "none"
        device: Device = "cpu"
        card: ModelCard | None = None
        inputs = (Port("x", (None,), np.dtype(np.float32)),)
        outputs = (Port("mood", (None,), np.dtype(np.float32)),)

        def run(self, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
            return {"mood": arrays["x"]}

        def close(self) -> None: ...

    values = np.zeros(2, np.float32)
    with pytest.raises(ModelFileError, match="none of the reference outputs"):
        measure(path, Moody(), Reference({"x": values}, {"mood": values}))


def test_missing_joints_have_to_be_missing_in_both() -> None:
    expected = np.zeros((1, 17, 3))
    expected[0, 4] = np.nan
    same = deviation("points_m", expected, expected.copy(), ())
    assert same is not None
    assert same.acceptable
    invented = deviation("points_m", expected, np.zeros((1, 17, 3)), ())
    assert invented is not None
    assert invented.distance == np.inf
    fewer = deviation("points_m", expected, expected[:, :16], ())
    assert fewer is not None
    assert not fewer.acceptable


@pytest.mark.parametrize(("moved_px", "acceptable"), [(0.0, True), (1.0, True), (1.5, False), (40.0, False)])
@pytest.mark.parametrize("name", ["simcc_x", "simcc_y"])
def test_detectors_are_compared_in_pixels_of_their_input(name: str, moved_px: float, acceptable: bool) -> None:
    bins = 2 * PICTURE[-1 if name == "simcc_x" else -2]
    centres = np.random.default_rng(0).integers(60, bins - 120, (2, 17)).astype(float)
    moved = centres.copy()
    moved[1, 3] += 2 * moved_px
    measured = deviation(name, bumps(centres, bins), bumps(moved, bins), PICTURE)
    assert measured is not None
    assert (measured.distance, measured.unit) == (pytest.approx(moved_px), "px")
    assert measured.acceptable is acceptable


def test_heat_maps_are_compared_in_both_directions() -> None:
    centres = np.random.default_rng(1).integers(8, 40, (2, 17, 2)).astype(float)
    moved = centres.copy()
    moved[0, 2] += (3, 4)

    def maps(places: np.ndarray) -> np.ndarray:
        return bumps(places[..., 1], 64)[..., :, None] * bumps(places[..., 0], 48)[..., None, :]

    measured = deviation("heatmaps", maps(centres), maps(moved), PICTURE)
    assert measured is not None
    assert measured.distance == pytest.approx(5 * 4)


def test_between_equal_peaks_rounding_may_decide_but_nowhere_else() -> None:
    two_peaks = np.maximum(bumps(np.full((1, 1), 100.0), 384), bumps(np.full((1, 1), 300.0), 384))
    other = two_peaks.copy()
    other[..., 300] += 1e-5
    tie = deviation("simcc_x", two_peaks, other, PICTURE)
    assert tie is not None
    assert tie.distance == 0
    clear = deviation("simcc_x", bumps(np.full((1, 1), 100.0), 384), other, PICTURE)
    assert clear is not None
    assert clear.distance == 100
    broken = deviation("simcc_x", two_peaks, np.full_like(two_peaks, np.nan), PICTURE)
    assert broken is not None
    assert broken.distance == np.inf


def test_a_card_comes_back_as_it_went() -> None:
    card = make_card(steps=5, training_run="run 7, seed 3")
    back = read_card(Path("x.onnx"), card.to_metadata() | {"somebody.else": "1"})
    assert isinstance(back, ModelCard)
    assert (back.kind, back.skeleton, back.steps, back.training_run) == ("denoiser", card.skeleton, 5, "run 7, seed 3")
    for mine, theirs in (
        (card.reference.inputs, back.reference.inputs),
        (card.reference.outputs, back.reference.outputs),
    ):
        assert mine.keys() == theirs.keys()
        for name, array in mine.items():
            np.testing.assert_array_equal(array, theirs[name])
    assert read_card(Path("x.onnx"), {"producer": "somebody"}) is None
