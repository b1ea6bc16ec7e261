"""What a calibration found, as `report.json` for programs and `report.html` for people."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from .from_pictures import Calibration
from .lens import LENS_WORDS
from .measure import CameraMeasures
from .one_camera import CameraFit
from .report_page import report_page

SCHEMA = 1


def report_dict(result: Calibration) -> dict[str, Any]:
    """All findings as plain values; lengths in metres, angles in degrees, what is not known None."""
    found, measures = result.found, result.measures
    report: dict[str, Any] = {
        "schema": SCHEMA,
        "verdict": result.judgement.verdict,
        "reasons": [reason.sentence() for reason in result.judgement.reasons],
        "board": {
            "kind": result.board.kind,
            "columns": result.board.columns,
            "rows": result.board.rows,
            "square_m": result.board.square_m,
            "ambiguous_by_half_a_turn": result.board.is_ambiguous,
        },
        "stereo_rms_px": measures.stereo_rms_px if measures else None,
        "epipolar_mean_px": measures.epipolar_mean_px if measures else None,
        "epipolar_median_px": measures.epipolar_median_px if measures else None,
        "epipolar_max_px": measures.epipolar_max_px if measures else None,
        "baseline_m": measures.baseline_m if measures else None,
        "baseline_sd_m": measures.uncertainty.baseline_m if measures else None,
        "angle_deg": math.degrees(measures.angle_rad) if measures else None,
        "angle_sd_deg": math.degrees(measures.uncertainty.angle_rad) if measures else None,
        "rotation_sd_deg": math.degrees(measures.uncertainty.rotation_rad) if measures else None,
        "board_scale": measures.boards.scale if measures else None,
        "board_length_sd_mm": measures.boards.length_sd_m * 1e3 if measures else None,
        "board_flatness_mm": measures.boards.flatness_m * 1e3 if measures else None,
        "board_scale_error_mm": (measures.boards.scale - 1) * result.board.square_m * 1e3 if measures else None,
        "tilt_deg": measures.tilt_deg if measures else None,
        "board_distance_m": list(measures.board_distance_m) if measures else None,
        "pairs_given": len(result.pairs),
        "pairs_used": int(found.used.sum()) if found else 0,
        "left_out": [{"file": item.file, "why": item.why} for item in result.left_out],
        "reversed": list(result.reversed_files),
        "wrong_corners": [
            {"file": c.file, "column": c.column, "row": c.row, "error_px": c.error_px} for c in result.wrong_corners
        ],
        "cameras": [],
        "depth_error_mm": [],
        "pairs": [],
    }
    if found is not None:
        report["unsynchronised"] = found.unsynchronised
        report["converged"] = found.robust.converged
        report["corner_noise_px"] = found.robust.sigma_px
        report["pairs"] = _pairs(result)
    if found is not None and measures is not None:
        report["cameras"] = [
            _camera(name, measures.cameras[k], found.cameras[k], found.robust.fit.lenses[k])
            for k, name in enumerate(("left", "right"))
        ]
        report["depth_error_mm"] = [
            {
                "depth_m": error.depth_m,
                "calibration": None if error.calibration_m is None else error.calibration_m * 1e3,
                "per_pixel_of_noise": None if error.per_pixel_m is None else error.per_pixel_m * 1e3,
            }
            for error in measures.depth_errors
        ]
    return _without_nan(report)


def _camera(name: str, measures: CameraMeasures, fit: CameraFit, lens: str) -> dict[str, Any]:
    return {
        "name": name,
        "lens": lens,
        "focal_px": measures.focal_px.tolist(),
        "focal_sd_px": measures.focal_sd_px.tolist(),
        "centre_px": measures.centre_px.tolist(),
        "distortion": measures.distortion.tolist(),
        "rms_px": measures.rms_px,
        "pictures": measures.pictures,
        "coverage": measures.covered,
        "border_one_to_one": measures.border_one_to_one,
        "lens_evidence_px": {item.lens: item.rms_px for item in fit.evidence},
        "lens_words": LENS_WORDS[fit.lens],
    }


def _pairs(result: Calibration) -> list[dict[str, Any]]:
    found = result.found
    assert found is not None
    left, right = found.pair_views()
    rms = found.robust.view_rms_px()
    return [
        {
            "left": result.pairs[k].left.name,
            "right": result.pairs[k].right.name,
            "used": bool(found.used[k]),
            "left_rms_px": float(rms[left[k]]),
            "right_rms_px": float(rms[right[k]]),
            "pair_rms_px": float(found.pair_rms_px[k]),
            "alone_rms_px": float(found.alone_rms_px[k]),
            "turned": bool(found.turned[k]),
        }
        for k in result.by_name()
    ]


def _without_nan(value: Any) -> Any:
    """JSON knows no NaN: what is not known becomes null."""
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_without_nan(item) for item in value]
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value


def write_report(result: Calibration, folder: Path) -> Path:
    """Write `report.json` and `report.html` into a folder, made if need be; returns the page."""
    folder.mkdir(parents=True, exist_ok=True)
    report = report_dict(result)
    (folder / "report.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    page = folder / "report.html"
    page.write_text(report_page(result, report), encoding="utf-8")
    return page
