"""Where the shared recordings are; a test that needs them says so by asking for `shared_data`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NoReturn

import pytest

REQUIRED = os.environ.get("BINOPOSE_REQUIRE_DATA") == "1"


def missing(reason: str) -> NoReturn:
    """Skip a test whose data are absent; on CI, which must have them, fail."""
    if REQUIRED:
        pytest.fail(f"{reason} (BINOPOSE_REQUIRE_DATA=1 asks for it)")
    pytest.skip(reason)


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
