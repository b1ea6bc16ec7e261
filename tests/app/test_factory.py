"""Names in, parts out; what cannot be opened says what to do."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from binopose.app.factory import (
    DENOISERS,
    DenoiserChoice,
    engine_choice,
    open_denoiser,
    open_detector,
    open_profile,
    profile_file,
)
from binopose.app.simulation.virtual_rig import virtual_rig
from binopose.calibration.errors import UserError
from binopose.calibration.rectify import Rectifier
from binopose.calibration.rig import StereoRig
from binopose.engines.denoiser import LengthLearner, NoDenoiser, SkeletonDenoiser
from binopose.engines.dual_diffusion import DualDiffusionDenoiser
from binopose.engines.session import EngineChoice, EngineUnavailable
from binopose.models.bone_lengths import segments_of
from binopose.models.detector_profile import DetectorProfile, save_profile
from binopose.models.skeleton import BODY17
from binopose.models.trained import denoiser_files

from ..engines.small_networks import make_card, write_network

ON_CPU = EngineChoice("cpu")


@pytest.mark.parametrize("name", DENOISERS)
def test_every_name_opens(name: str) -> None:
    assert open_denoiser(DenoiserChoice(name), ON_CPU).name == name


def test_the_names_are_those_of_the_documentation() -> None:
    assert DENOISERS == ("dual-diffusion", "skeleton", "off")
    assert isinstance(open_denoiser(DenoiserChoice("off")), NoDenoiser)
    assert isinstance(open_denoiser(DenoiserChoice("skeleton")), SkeletonDenoiser)


def test_the_shipped_network_is_the_default() -> None:
    denoiser = open_denoiser(DenoiserChoice())
    assert isinstance(denoiser, DualDiffusionDenoiser)
    assert denoiser.steps == 1


@pytest.mark.parametrize("steps", [2, 5])
def test_steps_choose_the_export(steps: int) -> None:
    denoiser = open_denoiser(DenoiserChoice(steps=steps, hypotheses=3), ON_CPU)
    assert isinstance(denoiser, DualDiffusionDenoiser)
    assert denoiser.steps == steps


def test_a_file_is_opened_whatever_the_steps_say(tmp_path: Path) -> None:
    path = tmp_path / "own.onnx"
    path.write_bytes(denoiser_files()[2].read_bytes())
    denoiser = open_denoiser(DenoiserChoice(str(path), steps=4), ON_CPU)
    assert isinstance(denoiser, DualDiffusionDenoiser)
    assert denoiser.steps == 2


@pytest.mark.parametrize("name", ["dual-diffusion", "skeleton"])
def test_held_lengths_reach_whoever_learns_them(name: str) -> None:
    held_m = np.full(segments_of(BODY17).groups, 0.3)
    denoiser = open_denoiser(DenoiserChoice(name, held_m=held_m), ON_CPU)
    assert isinstance(denoiser, LengthLearner)
    np.testing.assert_array_equal(denoiser.lengths.settled_m, held_m)
    denoiser.reset()
    np.testing.assert_array_equal(denoiser.lengths.settled_m, held_m)


@pytest.mark.parametrize(
    ("choice", "said"),
    [
        (DenoiserChoice("dual-difusion"), 'expected one of dual-diffusion, skeleton, off .* found "dual-difusion"'),
        (DenoiserChoice(""), "expected one of"),
        (DenoiserChoice("none.onnx"), "none.onnx: no such file"),
        (DenoiserChoice(steps=3), "exports for 1, 2, 5 steps, found 3.*export.onnx"),
        (DenoiserChoice(steps=0), "exports for 1, 2, 5 steps, found 0"),
        (DenoiserChoice(hypotheses=0), "hypotheses: expected 1 to 32, found 0"),
        (DenoiserChoice(hypotheses=33), "hypotheses: expected 1 to 32, found 33"),
    ],
)
def test_what_does_not_exist(choice: DenoiserChoice, said: str) -> None:
    with pytest.raises(UserError, match=said):
        open_denoiser(choice, ON_CPU)


def test_files_that_are_no_denoiser(tmp_path: Path) -> None:
    (tmp_path / "text.onnx").write_text("not a network")
    detector = write_network(tmp_path / "detector.onnx", metadata=make_card(kind="detector").to_metadata())
    (tmp_path / "cut.onnx").write_bytes(denoiser_files()[1].read_bytes()[:100_000])
    for name, said in (("text.onnx", "text.onnx"), (detector.name, "expected a denoiser"), ("cut.onnx", "cut.onnx")):
        with pytest.raises(UserError, match=said):
            open_denoiser(DenoiserChoice(str(tmp_path / name)), ON_CPU)


def test_without_a_runtime_there_is_still_a_denoiser(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    for engine in (ON_CPU, engine_choice(), None):
        with pytest.raises(EngineUnavailable, match=r"(?s)onnxruntime.*--denoiser skeleton") as caught:
            open_denoiser(DenoiserChoice(), engine)
        assert caught.value.exit_code == 2
    for name in ("skeleton", "off"):
        assert open_denoiser(DenoiserChoice(name)).name == name


@pytest.mark.parametrize(
    ("name", "engine", "said"),
    [
        ("blaze", ON_CPU, 'detector: expected one of .*blazepose.* found "blaze"'),
        ("none.onnx", ON_CPU, "none.onnx: no such file"),
        ("blazepose", EngineChoice("cuda"), "--device cuda: the detector blazepose runs on the CPU alone"),
    ],
)
def test_detectors_that_cannot_be_opened(name: str, engine: EngineChoice, said: str) -> None:
    with pytest.raises(UserError, match=said):
        open_detector(name, Rectifier(virtual_rig()), engine)


def a_profile(detector: str, rig: StereoRig) -> DetectorProfile:
    """Of a detector on a rig."""
    nothing = np.full(len(BODY17), 0.01)
    offset = np.zeros((len(BODY17), 3))
    return DetectorProfile(detector, nothing, 400 * nothing, offset, rig.baseline_m, rig.axes_angle_rad, {}, {})


def test_the_profile_beside_the_weights_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    rig = virtual_rig()
    assert open_profile("auto", "blazepose", rig) == (None, [])
    beside = profile_file("blazepose")
    assert beside == tmp_path / "binopose" / "blazepose" / "profile.toml"
    save_profile(beside, a_profile("blazepose", rig))
    found, notes = open_profile("auto", "blazepose", rig)
    assert found is not None
    assert found.row_noise[0] == 0.01
    assert len(notes) == 1
    assert str(beside) in notes[0]
    assert open_profile("off", "blazepose", rig) == (None, [])
    assert open_profile("auto", "rtmpose-m", rig) == (None, [])


def test_a_model_file_has_its_profile_beside_it(tmp_path: Path) -> None:
    assert profile_file(str(tmp_path / "own.onnx")) == tmp_path / "own.profile.toml"


def test_a_profile_of_another_detector_or_rig_is_used_with_a_word(tmp_path: Path) -> None:
    rig = virtual_rig()
    save_profile(tmp_path / "p.toml", replace(a_profile("rtmpose-m", rig), baseline_m=3.0))
    found, notes = open_profile(str(tmp_path / "p.toml"), "blazepose", rig)
    assert found is not None
    assert ["rtmpose-m, used with blazepose" in notes[0], "3.00 m" in notes[1]] == [True, True]
    with pytest.raises(UserError, match="no such file; expected a detector profile"):
        open_profile(str(tmp_path / "none.toml"), "blazepose", rig)
