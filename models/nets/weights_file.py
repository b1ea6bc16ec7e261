"""Trained weights as a plain .npz: arrays by name, and beside them how they came about. No pickled code."""

from __future__ import annotations

import dataclasses
import json
import os
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ...calibration.errors import UserError
from .denoiser import Denoiser, DenoiserConfig

FORMAT = "binopose denoiser weights 1"
# What zipfile and numpy raise on damaged or other files; NotImplementedError is a zip of a kind that they do not know.
_UNREADABLE = (
    OSError, KeyError, ValueError, TypeError, EOFError, NotImplementedError, zipfile.BadZipFile, zlib.error,
)  # fmt: skip


def save_weights(path: Path, network: Denoiser, facts: dict[str, Any]) -> None:
    """Write the weights of a network; facts: what else is to be known of it (JSON)."""
    arrays = {f"weight.{name}": value.detach().cpu().numpy() for name, value in network.state_dict().items()}
    about = {"format": FORMAT, "network": dataclasses.asdict(network.config), "facts": facts}
    part = path.with_name(path.name + ".part")
    with part.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, about=np.array(json.dumps(about)), **arrays)
    os.replace(part, path)


def load_weights(path: Path) -> tuple[Denoiser, dict[str, Any]]:
    """The network of a weights file, ready to evaluate, and its facts. Raises UserError naming the file and problem."""
    try:
        content = np.load(path, allow_pickle=False)
        if not isinstance(content, np.lib.npyio.NpzFile):
            raise ValueError("a single array")
        with content:
            about = json.loads(str(content["about"]))
            weights = {
                name.removeprefix("weight."): torch.from_numpy(content[name])
                for name in content.files
                if name.startswith("weight.")
            }
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; expected denoiser weights") from None
    except _UNREADABLE as error:
        raise UserError(f"{path}: cannot be read as denoiser weights: {error}") from None
    if not isinstance(about, dict) or about.get("format") != FORMAT:
        raise UserError(f'{path}: expected "{FORMAT}", found another format')
    try:
        network = Denoiser(DenoiserConfig(**about["network"]))
        network.load_state_dict(weights)
        facts = about["facts"]
    except (TypeError, ValueError, RuntimeError, KeyError, ZeroDivisionError) as error:
        raise UserError(f"{path}: its weights do not fit this version of the network: {error}") from None
    return network.eval(), facts
