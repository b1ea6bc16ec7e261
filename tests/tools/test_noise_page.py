"""The page that compares recorded with simulated errors."""

from __future__ import annotations

import re
from pathlib import Path

import cv2
import pytest

pytest.importorskip("torch", reason="the simulation is part of the training (extra: train)")
pytest.importorskip("matplotlib", reason="the pictures are part of the training (extra: train)")

from binopose.tools.noise_page import main


@pytest.fixture
def config(tmp_path: Path, shared_data: Path) -> Path:
    path = tmp_path / "run.toml"
    path.write_text(f'motion = "{(shared_data / "mocap" / "mocap17.npz").as_posix()}"\n', encoding="utf-8")
    return path


def numbers(page: str, title: str) -> list[list[float]]:
    """The cells of a row of the page: recorded, simulated."""
    (row,) = [line for line in page.splitlines() if line.startswith(f"| {title}")]
    return [[float(number) for number in re.findall(r"-?[\d.]+", cell)] for cell in row.split("|")[2:-1]]


def test_page_and_pictures_are_written(tmp_path: Path, config: Path, shared_data: Path) -> None:
    bench, folder = shared_data / "benchmark" / "h36m_s9.npz", tmp_path / "page"
    assert main([str(config), str(bench), "-o", str(folder), "--batches", "1"]) == 0
    page = (folder / "README.md").read_text(encoding="utf-8")
    pictures = re.findall(r"!\[.*\]\((.*)\)", page)
    assert len(pictures) == 4
    for name in pictures:
        assert cv2.imread(str(folder / name)) is not None
    recorded, simulated = numbers(page, "correlation of the two views' errors")
    assert recorded[1] == pytest.approx(1), "both views of the file name the same row"
    assert 0 < simulated[0] < 1
    recorded, simulated = numbers(page, "standard deviation, mean of the joints")
    assert recorded == pytest.approx([18.9, 16.1, 26.7], abs=0.11)
    # Whatever the training draws, it is a detector: centimetres, worse in depth.
    assert 5 < simulated[0] < 60
    assert simulated[2] > simulated[0]


def test_missing_data_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "run.toml"
    config.write_text('motion = "nowhere.npz"\n', encoding="utf-8")
    assert main([str(config), str(tmp_path / "bench.npz"), "-o", str(tmp_path / "page")]) == 2
    assert "nowhere.npz" in capsys.readouterr().err
    assert not (tmp_path / "page").exists()
