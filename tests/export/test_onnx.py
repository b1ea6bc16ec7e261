"""The exported graph is the network: the same answers for any rig, steps and batch, and a card that says so."""

# ruff: noqa: E402  what is imported below needs torch
from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from binopose.engines.engine import Session, run_in_batches
from binopose.engines.session import open_session
from binopose.models.bone_lengths import segments_of
from binopose.models.skeleton import BODY17
from binopose.models.weights import sha256_of

from ..conftest import need_torch

need_torch()
pytest.importorskip("onnx")

import torch
from binopose.export import onnx as export
from binopose.export.check import compare
from binopose.models.denoiser_ports import DENOISER_INPUTS, DENOISER_OUTPUTS
from binopose.models.diffusion import detector_schedule
from binopose.models.nets.denoiser import Denoiser, Observation
from binopose.models.nets.fused import double_answers, random_inputs

from .random_denoiser import random_denoiser, write_weights

ALL_STEPS = (1, 2, 5)


@pytest.fixture(scope="module")
def network() -> Denoiser:
    return random_denoiser()


@pytest.fixture(scope="module")
def weights(network: Denoiser, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_weights(tmp_path_factory.mktemp("weights") / "denoiser.npz", network)


@pytest.fixture(scope="module", params=ALL_STEPS)
def exported(
    request: pytest.FixtureRequest, network: Denoiser, weights: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[int, Path]:
    """Steps and file, for any batch."""
    path = tmp_path_factory.mktemp("exports") / export.file_name(request.param, None)
    export.export_denoiser(network, request.param, path, weights, "a run")
    return request.param, path


def in_torch(network: Denoiser, steps: int, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The network asked as training asks it, without the exported module: float64, pixels taken apart in numpy."""
    double = Denoiser(network.config).double()
    double.load_state_dict({name: value.double() for name, value in network.state_dict().items()})
    values = {name: value.astype(np.float64) for name, value in inputs.items()}
    focal_px, baseline_m, left_x, right_x, row = (column[:, None] for column in values["rig"].T)
    views = [
        torch.tensor((values[name] - np.stack([x, row], axis=-1)) / focal_px[..., None])
        for name, x in (("left_px", left_x), ("right_px", right_x))
    ]
    confidence, baseline, lengths_m = values["confidence"], baseline_m[:, 0], values["lengths_m"]
    seen = Observation(torch.tensor(confidence), torch.tensor(baseline), torch.tensor(lengths_m))
    with torch.no_grad():
        estimate = double.denoise(views[0], views[1], seen, detector_schedule(steps))
    return {"points_m": estimate.points_m.numpy(), "sigma_m": estimate.sigma_m.numpy()}


def test_export_agrees_with_the_network_in_float64(exported: tuple[int, Path], network: Denoiser) -> None:
    steps, path = exported
    inputs = random_inputs(200, seed=31)
    session = open_session(path, "cpu")
    found = session.run(inputs)
    for name, expected in in_torch(network, steps, inputs).items():
        off_m = np.linalg.norm(found[name] - expected, axis=-1).max(axis=1)
        # A few bodies are pressed together so that the last digit decides where they give way: see export.check.
        assert np.quantile(off_m, 0.97) < 1e-5, name
        assert off_m.max() < 1e-4, name
    rows_px = np.where(inputs["confidence"] > 0, inputs["left_px"][..., 1] - inputs["right_px"][..., 1], 0)
    np.testing.assert_allclose(found["epipolar_px"], rows_px, atol=1e-4)
    agreement = compare(network, steps, session, inputs)
    assert agreement.acceptable, agreement
    assert agreement.mean_m < 1e-6


def test_the_answers_are_not_all_the_same(network: Denoiser) -> None:
    """Else the comparisons above would say nothing: steps and weights matter, by far more than the tolerance."""
    inputs = random_inputs(20, seed=31)
    once, twice = (double_answers(network, steps, inputs)["points_m"] for steps in (1, 2))
    other = double_answers(random_denoiser(1), 1, inputs)["points_m"]
    for different in (twice, other):
        assert np.median(np.linalg.norm(different - once, axis=-1)) > 1e-3


def test_any_batch(exported: tuple[int, Path]) -> None:
    session = open_session(exported[1], "cpu")
    inputs = random_inputs(7, seed=2)
    together = session.run(inputs)
    alone = run_in_batches(session, inputs, 1)
    for name, array in together.items():
        assert array.shape[0] == 7
        np.testing.assert_allclose(alone[name], array, atol=2e-5, err_msg=name)


@pytest.mark.parametrize("batch", [1, 3])
def test_fixed_batch(batch: int, network: Denoiser, weights: Path, tmp_path: Path) -> None:
    path = tmp_path / export.file_name(1, batch)
    assert path.name == f"denoiser-k1-b{batch}.onnx"
    export.export_denoiser(network, 1, path, weights, "a run", batch)
    session = open_session(path, "cpu")
    assert {port.shape[0] for port in (*session.inputs, *session.outputs)} == {batch}
    assert compare(network, 1, session, random_inputs(20, seed=5)).acceptable
    with pytest.raises(ValueError, match="expected left_px"):
        session.run(random_inputs(batch + 1, seed=5))


def test_card(exported: tuple[int, Path], network: Denoiser, weights: Path) -> None:
    steps, path = exported
    session: Session = open_session(path, "cpu")
    card = session.card
    assert card is not None
    assert (card.kind, card.skeleton, card.steps, card.training_run) == ("denoiser", BODY17.joints, steps, "a run")
    assert card.weights_sha256 == sha256_of(weights)
    assert card.reference.inputs.keys() == set(DENOISER_INPUTS)
    assert card.reference.outputs.keys() == set(DENOISER_OUTPUTS)
    for name, expected in in_torch(network, steps, dict(card.reference.inputs)).items():
        np.testing.assert_allclose(card.reference.outputs[name], expected, atol=1e-6, err_msg=name)
    assert [port.name for port in session.inputs] == list(DENOISER_INPUTS)
    assert [port.name for port in session.outputs] == list(DENOISER_OUTPUTS)


def test_random_inputs_are_people_in_front_of_rigs() -> None:
    inputs = random_inputs(300, seed=3)
    again = random_inputs(300, seed=3)
    assert all((again[name] == value).all() for name, value in inputs.items())
    assert {name: value.dtype for name, value in inputs.items()} == dict.fromkeys(DENOISER_INPUTS, np.float32)
    focal_px, baseline_m, left_x, right_x, _ = inputs["rig"].T.astype(np.float64)
    seen = inputs["confidence"] > 0
    assert 0.03 < 1 - seen.mean() < 0.08
    assert not inputs["left_px"][~seen].any()
    shift_px = inputs["left_px"][..., 0] - inputs["right_px"][..., 0] - (left_x - right_x)[:, None]
    depth_m = (focal_px * baseline_m)[:, None] / np.where(seen, shift_px, np.nan)
    assert np.nanmin(depth_m) > 0.5
    assert np.nanmax(depth_m) < 9
    assert (np.nanmax(depth_m, axis=1) - np.nanmin(depth_m, axis=1)).max() < 2.5
    known = inputs["lengths_m"][inputs["lengths_m"].any(axis=1)]
    assert 0.6 < len(known) / 300 < 0.8
    assert known.shape[1] == segments_of(BODY17).groups
    assert known.min() > 0.02
    assert known.max() < 1.0


def test_without_onnx_the_export_says_what_to_install(
    network: Denoiser,
    weights: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    assert export.main([str(weights), "-o", str(tmp_path), "--steps", "1"]) == 2
    assert 'onnx: not installed; pip install "binopose[train]"' in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_the_command_writes_a_file_for_each_number_of_steps(
    weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert export.main([str(weights), "-o", str(tmp_path / "new"), "--steps", "1", "2", "--batch", "2"]) == 0
    written = sorted(path.name for path in (tmp_path / "new").iterdir())
    assert written == ["denoiser-k1-b2.onnx", "denoiser-k2-b2.onnx"]
    assert capsys.readouterr().out.count(" MB") == 2
    card = open_session(tmp_path / "new" / written[1], "cpu").card
    assert card is not None
    assert (card.steps, card.training_run) == (2, "made for a test")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["none.npz"], "none.npz: no such file"),
        (["weights", "--steps", "6"], "--steps: expected 1 to 5, found [6]"),
        (["weights", "--steps", "1", "0"], "--steps: expected 1 to 5, found [1, 0]"),
    ],
)
def test_bad_input(
    arguments: list[str], said: str, weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = [str(weights) if text == "weights" else text for text in arguments]
    assert export.main([*given, "-o", str(tmp_path)]) == 2
    assert said in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
