"""Weights come back as they were; files that are damaged or something else are named."""

# ruff: noqa: E402  what is imported below needs torch
from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from binopose.calibration.errors import UserError

from ...conftest import need_torch

need_torch()

import torch
from binopose.models.nets.denoiser import Denoiser, DenoiserConfig
from binopose.models.nets.weights_file import load_weights, save_weights

SMALL = DenoiserConfig(width=8, layers=1, heads=2, hidden=8, epipolar=False)


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    path = tmp_path / "weights.npz"
    save_weights(path, Denoiser(SMALL), {"steps": 7, "about": ["a", None, 0.5]})
    return path


def changed(path: Path, **fields: Any) -> None:
    """Replace fields of a weights file; None takes one away."""
    with np.load(path) as content:
        arrays = {name: content[name] for name in content.files} | fields
    np.savez(path, **{name: value for name, value in arrays.items() if value is not None})


def about(path: Path, **entries: Any) -> None:
    with np.load(path) as content:
        table = json.loads(str(content["about"])) | entries
    changed(path, about=json.dumps({name: value for name, value in table.items() if value is not None}))


def test_everything_comes_back(weights: Path) -> None:
    torch.manual_seed(0)
    original = Denoiser(SMALL)
    found, facts = load_weights(weights)
    assert facts == {"steps": 7, "about": ["a", None, 0.5]}
    assert found.config == SMALL
    assert not found.training
    assert found.state_dict().keys() == original.state_dict().keys()
    for name, value in original.state_dict().items():
        torch.testing.assert_close(found.state_dict()[name], value, rtol=0, atol=0)
    assert [path.name for path in weights.parent.iterdir()] == ["weights.npz"]


def test_saving_replaces_the_file_before(weights: Path) -> None:
    save_weights(weights, Denoiser(SMALL), {"steps": 8})
    assert load_weights(weights)[1] == {"steps": 8}


def broken(kind: str, path: Path) -> None:
    """Make a good weights file a bad one."""
    content = path.read_bytes()
    match kind:
        case "absent":
            path.unlink()
        case "empty":
            path.write_bytes(b"")
        case "text":
            path.write_text("weights")
        case "cut short":
            path.write_bytes(content[: len(content) // 2])
        case "folder":
            path.unlink()
            path.mkdir()
        case "one array":
            with path.open("wb") as file:
                np.save(file, np.zeros(3))
        case "other npz":
            np.savez(path, points_m=np.zeros(3))
        case "pickle":
            changed(path, about=np.array([{}], dtype=object))
        case "about is a number":
            changed(path, about=json.dumps(3))
        case "other format":
            about(path, format="binopose denoiser weights 0")
        case "unknown setting":
            about(path, network={"depths": 3})
        case "width that its heads cannot share":
            about(path, network={"width": 9, "heads": 2})
        case "no heads":
            about(path, network={"heads": 0})
        case "other network":
            about(path, network={"width": 16, "heads": 2})
        case "no facts":
            about(path, facts=None)
        case "a weight too few":
            changed(path, **{"weight.joint": None})
        case "a weight too many":
            changed(path, **{"weight.more": np.zeros(3)})
        case "text for a weight":
            changed(path, **{"weight.joint": np.array("zeros")})


KINDS = (
    "absent", "empty", "text", "cut short", "folder", "one array", "other npz", "pickle", "about is a number",
    "other format", "unknown setting", "width that its heads cannot share", "no heads", "other network", "no facts",
    "a weight too few", "a weight too many", "text for a weight",
)  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_bad_files_are_named(weights: Path, kind: str) -> None:
    broken(kind, weights)
    with pytest.raises(UserError, match=r"weights\.npz: "):
        load_weights(weights)


def test_bytes_that_rot_never_give_other_weights(weights: Path) -> None:
    """Whatever a byte turns into: told, or (as in the time stamps of a zip) without effect."""
    original = load_weights(weights)[0].state_dict()
    content, chance = weights.read_bytes(), random.Random(0)
    directory, told = content.index(b"PK\x01\x02"), 0
    places = [chance.randrange(len(content)) for _ in range(60)]
    places += [chance.randrange(directory, len(content)) for _ in range(60)]
    for place in places:
        rotten = bytearray(content)
        rotten[place] ^= 1 << chance.randrange(8)
        weights.write_bytes(rotten)
        try:
            found = load_weights(weights)[0].state_dict()
        except UserError:
            told += 1
        else:
            assert all(torch.equal(found[name], value) for name, value in original.items())
    assert told > 60
