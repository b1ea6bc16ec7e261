"""Detector weights, where this machine has them."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from binopose.models.weights import REGISTRY, default_cache_dir, locate


@pytest.fixture(scope="session")
def blazepose_weights() -> Path:
    """The folder with BlazePose's networks; not part of the repository."""
    folder = locate(REGISTRY["blazepose"], default_cache_dir(os.environ, sys.platform, Path.home()))
    if folder is None:
        reason = "the BlazePose networks are not in the cache: binopose models fetch blazepose"
        if os.environ.get("BINOPOSE_REQUIRE_DATA") == "1":
            pytest.fail(f"{reason} (BINOPOSE_REQUIRE_DATA=1 asks for them)")
        pytest.skip(reason)
    return folder
