"""The benchmark measures what it says, on a scene short enough for a test."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from binopose.tools import bench


def test_the_pipeline_is_measured_with_and_without_overlay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(bench, "SIMULATED_S", 0.2)
    assert bench.main(["pipeline", "--loops", "2", "--json", str(tmp_path / "bench.json")]) == 0
    written = json.loads((tmp_path / "bench.json").read_text())
    rows = {row["what"]: row for row in written["rows"]}
    for kind in ("with overlay", "without overlay"):
        whole = rows[f"whole pipeline {kind}"]
        assert len(whole["memory_mib"]) == 2
        assert 20 < whole["memory_mib"][0] < 4000
        stages = [rows[f"{stage} {kind}"]["median_ms"] for stage in ("rectify", "detect", "triangulate", "refine")]
        # One stage after the other in one thread: a pair cannot take less than its stages.
        assert whole["median_ms"] > 0.8 * sum(stages)
    assert "draw with overlay" in rows
    assert "draw without overlay" not in rows
    assert written["hardware"]["cores"] >= 1
    said = capsys.readouterr().out
    assert said.count("pairs/s over 12 pairs") == 4


def test_half_a_recording_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert bench.main(["pipeline", str(tmp_path / "left.mp4")]) == 2
    assert "needs LEFT, RIGHT and --rig" in capsys.readouterr().err
