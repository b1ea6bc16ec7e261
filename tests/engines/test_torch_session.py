from __future__ import annotations

import importlib
from pathlib import Path

import numpy as np
import pytest
from binopose.calibration.errors import UserError
from binopose.engines import torch_session
from binopose.engines.engine import EngineUnavailable
from binopose.engines.parity import EngineInexact
from binopose.engines.session import open_session
from binopose.models.trained import WEIGHTS, denoiser_files

from ..conftest import need_torch

need_torch()

from binopose.models.nets.fused import random_inputs  # noqa: E402  it needs torch


def test_weights_on_torch_are_the_exported_network() -> None:
    inputs = random_inputs(50, seed=12)
    weights, exported = open_session(WEIGHTS, "cpu"), open_session(denoiser_files()[1], "cpu")
    assert (weights.device, weights.engine.split()[0]) == ("cpu", "torch")
    assert weights.card is not None
    assert exported.card is not None
    assert weights.card.weights_sha256 == exported.card.weights_sha256
    assert {port.name: port.shape for port in weights.inputs} == {port.name: port.shape for port in exported.inputs}
    expected, found = exported.run(inputs), weights.run(inputs)
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_allclose(found[name], array, atol=2e-5 if name.endswith("_m") else 1e-3)


def test_the_gate_holds_for_weights_too(monkeypatch: pytest.MonkeyPatch) -> None:
    run = torch_session.TorchSession.run

    def off(session: torch_session.TorchSession, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        answers = run(session, arrays)
        return answers | {"points_m": answers["points_m"] + 0.002}

    monkeypatch.setattr(torch_session.TorchSession, "run", off)
    with pytest.raises(EngineInexact, match="points_m"):
        open_session(WEIGHTS, "cpu")
    assert open_session(WEIGHTS, "cpu", allow_inexact=True).device == "cpu"


def test_where_weights_cannot_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(EngineUnavailable, match="torch alone"):
        open_session(WEIGHTS, "tensorrt")
    torch = importlib.import_module("torch")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(EngineUnavailable, match="no CUDA device"):
        open_session(WEIGHTS, "cuda")
    damaged = tmp_path / "weights.npz"
    damaged.write_bytes(WEIGHTS.read_bytes()[:5000])
    with pytest.raises(UserError, match=r"weights\.npz"):
        open_session(damaged, "cpu")
    monkeypatch.setattr(torch_session.importlib, "import_module", lambda name: (_ for _ in ()).throw(ImportError(name)))
    with pytest.raises(EngineUnavailable, match=r"binopose\[train\]"):
        open_session(WEIGHTS, "cpu")
