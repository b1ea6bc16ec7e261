"""What tests need and the repository does not hold: a test says so by asking for the fixture."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path
from typing import NoReturn

import pytest
from binopose.models.weights import REGISTRY, default_cache_dir, locate

REQUIRED = os.environ.get("BINOPOSE_REQUIRE_DATA") == "1"


def missing(reason: str) -> NoReturn:
    """Skip a test whose data are absent; on CI, which must have them, fail."""
    if REQUIRED:
        pytest.fail(f"{reason} (BINOPOSE_REQUIRE_DATA=1 asks for it)")
    pytest.skip(reason, allow_module_level=True)


def need_torch() -> None:
    """Skip the calling module where torch is absent; where it is not, one thread, which small tensors do best with."""
    if importlib.util.find_spec("torch") is None:
        missing('torch is not installed: pip install -e ".[train]"')
    import torch

    torch.set_num_threads(1)


def find_shared_data() -> Path | None:
    """The folder with `stereo/`, `benchmark/` and `mocap/`: BINOPOSE_DATA, or `shared/data` beside a parent folder."""
    if named := os.environ.get("BINOPOSE_DATA"):
        return Path(named)
    for parent in Path(__file__).resolve().parents:
        if (parent / "shared" / "data" / "stereo").is_dir():
            return parent / "shared" / "data"
    return None


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The shared recordings; not part of the repository because others hold the rights."""
    folder = find_shared_data()
    if folder is None or not folder.is_dir():
        missing("the shared recordings are not here (set BINOPOSE_DATA to their folder)")
    return folder


@pytest.fixture(scope="session")
def blazepose_weights() -> Path:
    """The folder with BlazePose's networks; not part of the repository."""
    folder = locate(REGISTRY["blazepose"], default_cache_dir(os.environ, sys.platform, Path.home()))
    if folder is None:
        missing("the BlazePose networks are not in the cache: binopose models fetch blazepose")
    return folder
