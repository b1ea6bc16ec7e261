"""The report as one HTML page that needs nothing beside itself: pictures inside, drawings as SVG."""

from __future__ import annotations

import base64
from html import escape
from itertools import pairwise
from typing import Any

import cv2
import numpy as np

from .bundle import residuals_px
from .corners import BoardView, read_image
from .from_pictures import Calibration
from .lens import LENS_WORDS, LensName
from .measure import COVERAGE_CELLS
from .page_parts import document, html_number, html_table, sentence, svg
from .preview import rectified_preview

THUMBNAIL_PX = 300
PREVIEW_PX = 1400
PREVIEW_PAIRS = 2
# Residuals are drawn this much longer than they are, chosen so that the noise of a corner is this long on the page.
RESIDUAL_DRAWN_PX = 14.0

STYLE = """
.verdict { border-left:6px solid; border-radius:6px; padding:16px 20px; margin:18px 0 22px; background:var(--panel); }
.verdict strong { font-size:20px; } .verdict ul { margin:8px 0 0; padding-left:20px; } .verdict li { margin:6px 0; }
.verdict.good { border-color:var(--good); } .verdict.good strong { color:var(--good); }
.verdict.usable { border-color:#d29922; } .verdict.usable strong { color:var(--usable); }
.verdict.refused { border-color:var(--refused); } .verdict.refused strong { color:var(--refused); }
.advice { color:var(--soft); }
tr.out td { color:var(--refused); }
.two { display:grid; grid-template-columns:1fr 1fr; gap:20px; } .two svg { width:100%; height:auto;
  border:1px solid var(--line); border-radius:4px; background:#fff; }
.thumbs { display:grid; grid-template-columns:repeat(auto-fill,minmax(min(100%,340px),1fr)); gap:14px; }
.pair { display:grid; grid-template-columns:1fr 1fr; gap:3px; }
.bad figcaption { color:var(--refused); }
@media print { .thumbs { grid-template-columns:repeat(3,1fr); } }
"""

VERDICT_WORDS = {
    "good": "Good: this calibration can be believed.",
    "usable": "Usable: it works, but can be better.",
    "refused": "Refused: do not use this calibration.",
}


def report_page(result: Calibration, report: dict[str, Any]) -> str:
    """The whole page. report: the same findings as `report.report_dict` gives them."""
    parts = [_verdict(result)]
    if result.measures is not None:
        parts.append(_tiles(result, report))
        if result.judgement.verdict != "refused":
            parts.append(_depth(report))
        parts.append(_cameras(report))
    parts += [_left_out(result)]
    if result.found is not None:
        parts += [_pairs(report)]
    if result.measures is not None:
        parts += [_coverage(result), _residuals(result), _rectified(result)]
    parts += [_thumbnails(result)]
    return document(
        "Stereo calibration report",
        f"{escape(result.board.describe())}, {len(result.pairs)} pairs of pictures",
        "".join(parts),
        "Pixels count from the centre of the first pixel; lengths rest on the square size given. Uncertainties are "
        "standard deviations from leaving one pair out, not below what the corner noise explains.",
        STYLE,
    )


def _verdict(result: Calibration) -> str:
    judgement = result.judgement
    items = "".join(
        f"<li>{escape(sentence(reason.what))}"
        + (f' <span class="advice">{escape(sentence(reason.advice))}</span>' if reason.advice else "")
        + "</li>"
        for reason in judgement.reasons
    )
    words = VERDICT_WORDS[judgement.verdict]
    return f'<div class="verdict {judgement.verdict}"><strong>{words}</strong><ul>{items}</ul></div>'


def _tiles(result: Calibration, report: dict[str, Any]) -> str:
    used = f"{report['pairs_used']} of {len(result.pairs)}"
    tiles = [
        (f"{report['baseline_m'] * 1e3:.2f} mm", f"baseline, &plusmn; {report['baseline_sd_m'] * 1e3:.2f} mm"),
        (f"{report['angle_deg']:.2f}&deg;", f"turn between the cameras, &plusmn; {report['angle_sd_deg']:.2f}&deg;"),
        (f"{report['stereo_rms_px']:.3f} px", "corners off, root mean square"),
        (f"{report['epipolar_mean_px']:.3f} px", "off the epipolar line, mean"),
        (f"{(report['board_scale'] - 1) * 100:+.2f} %", "board lengths measured back "
         f"({report['board_scale_error_mm']:+.3f} mm per square, spread {report['board_length_sd_mm']:.2f} mm)"),
        (f"{report['board_flatness_mm']:.2f} mm", "boards off their plane, root mean square"),
        (f"{report['tilt_deg']:.0f}&deg;", "largest tilt between two boards"),
        (used, "pairs used"),
    ]  # fmt: skip
    return (
        '<div class="tiles">'
        + "".join(f"<div class=tile><b>{v}</b><span>{w}</span></div>" for v, w in tiles)
        + "</div>"
    )


def _depth(report: dict[str, Any]) -> str:
    rows = [
        [
            f"{row['depth_m']:g} m",
            html_number(row["calibration"], 1),
            html_number(row["per_pixel_of_noise"], 1),
        ]
        for row in report["depth_error_mm"]
    ]
    return (
        "<h2>What to expect in the room</h2><p>Depth error of a point straight ahead, standard deviations in mm. The "
        "first part "
        "is the same in every frame; the second changes from frame to frame and grows with the detector's noise.</p>"
        + html_table(["distance", "from the calibration", "per pixel of detection noise"], rows)
    )


def _cameras(report: dict[str, Any]) -> str:
    rows = []
    for camera in report["cameras"]:
        (fx, fy), (sx, sy), (cx, cy) = camera["focal_px"], camera["focal_sd_px"], camera["centre_px"]
        terms = " ".join(f"{value:.4g}" for value in camera["distortion"])
        rows.append([
            camera["name"], f"{fx:.2f} &plusmn; {sx:.2f}", f"{fy:.2f} &plusmn; {sy:.2f}", f"{cx:.1f}, {cy:.1f}",
            f"{camera['rms_px']:.3f}", str(camera["pictures"]), f"{camera['coverage'] * 100:.0f} %",
            escape(LENS_WORDS[camera["lens"]]), terms,
        ])  # fmt: skip
    table = html_table(
        [
            "camera",
            "f<sub>x</sub> px",
            "f<sub>y</sub> px",
            "centre px",
            "alone px",
            "pictures",
            "covered",
            "|lens",
            "|terms",
        ],
        rows,
    )
    evidence = ""
    if any(camera["lens_evidence_px"] for camera in report["cameras"]):
        names: list[LensName] = ["radial2", "fisheye", "radial3", "rational"]
        rows = [
            [
                escape(LENS_WORDS[name]),
                *(html_number(camera["lens_evidence_px"].get(name), 4) for camera in report["cameras"]),
            ]
            for name in names
        ]
        evidence = (
            "<h3>Why this lens model</h3><p class=soft>How well each model predicts a picture that was left out, px "
            "(geometric mean "
            "over the pictures). The plainest one that none beats clearly is taken.</p>"
            + html_table(["|model", *(camera["name"] for camera in report["cameras"])], rows)
        )
    return f"<h2>Cameras</h2>{table}{evidence}"


def _left_out(result: Calibration) -> str:
    parts = []
    if result.left_out:
        rows = [[escape(item.file), escape(item.why)] for item in result.left_out]
        parts.append("<h2>Left out</h2>" + html_table(["|file", "|why"], rows))
    if result.reversed_files:
        parts.append(
            "<h2>Corner order put right</h2><p>This board looks the same turned by half a turn; in these pictures the "
            "corners came in "
            f"the opposite order to the other camera's: {escape(', '.join(result.reversed_files))}.</p>"
        )
    return "".join(parts)


def _pairs(report: dict[str, Any]) -> str:
    rows, classes = [], []
    for pair in report["pairs"]:
        rows.append([
            escape(f"{pair['left']} / {pair['right']}"),
            *(html_number(pair[key], 3) for key in ("left_rms_px", "right_rms_px", "pair_rms_px", "alone_rms_px")),
            "used" if pair["used"] else "left out",
        ])  # fmt: skip
        classes.append("" if pair["used"] else "out")
    head = ["|pair", "left px", "right px", "pair px", "each alone px", "|"]
    return f"<h2>Pairs</h2><p class=soft>Root mean square corner distance.</p>{html_table(head, rows, classes)}"


def _coverage(result: Calibration) -> str:
    found, measures = result.found, result.measures
    assert found is not None
    assert measures is not None
    drawings = []
    for number, name in enumerate(("left", "right")):
        width, height = (found.corners.left_size_px, found.corners.right_size_px)[number]
        counts = measures.cameras[number].coverage
        cell_x, cell_y = width / COVERAGE_CELLS, height / COVERAGE_CELLS
        content = "".join(
            f'<rect x="{c * cell_x:.1f}" y="{r * cell_y:.1f}" width="{cell_x:.1f}" height="{cell_y:.1f}" '
            f'fill="{"#e6f4ec" if counts[r, c] else "#fdecea"}" stroke="#fff"/>'
            for r in range(COVERAGE_CELLS)
            for c in range(COVERAGE_CELLS)
        )
        corners = found.robust.seen.corners_px[found.robust.seen.camera == number].reshape(-1, 2)
        radius = width / 320
        content += "".join(
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}" fill="#1f5fa8" fill-opacity="0.55"/>'
            for x, y in corners[np.isfinite(corners[:, 0])]
        )
        covered = measures.cameras[number].covered * 100
        drawings.append(
            f"<figure>{svg(width, height, content, f'{name} coverage')}<figcaption>{name}: {covered:.0f} % of the "
            "cells</figcaption>"
            "</figure>"
        )
    return (
        "<h2>Coverage</h2><p class=soft>Every corner used; red cells have none.</p>"
        f'<div class="two">{"".join(drawings)}</div>'
    )


def _residuals(result: Calibration) -> str:
    found = result.found
    assert found is not None
    vectors = -residuals_px(found.robust.fit, found.robust.seen)
    drawn = RESIDUAL_DRAWN_PX / max(found.robust.sigma_px, 1e-6)
    drawings = []
    for number, name in enumerate(("left", "right")):
        width, height = (found.corners.left_size_px, found.corners.right_size_px)[number]
        views = found.robust.seen.camera == number
        starts, shifts = found.robust.seen.corners_px[views].reshape(-1, 2), vectors[views].reshape(-1, 2)
        known = np.isfinite(shifts[:, 0])
        scale = drawn * width / 1280
        content = "".join(
            f'<line x1="{x:.1f}" y1="{y:.1f}" x2="{x + dx * scale:.1f}" y2="{y + dy * scale:.1f}" stroke="#b4410e" '
            f'stroke-width="{width / 700:.2f}"/>'
            for (x, y), (dx, dy) in zip(starts[known], shifts[known], strict=True)
        )
        drawings.append(
            f"<figure>{svg(width, height, content, f'{name} residuals')}<figcaption>{name}</figcaption></figure>"
        )
    return (
        f"<h2>Residuals</h2><p class=soft>From every corner to where the fit puts it, drawn {drawn:.0f} times as long "
        "(at 1280 px "
        "width). Random directions are noise; a pattern means the lens model or the board does not fit.</p>"
        f'<div class="two">{"".join(drawings)}</div>'
    )


def _data_uri(image: np.ndarray, quality: int = 80) -> str:
    done, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    assert done, "OpenCV encodes every uint8 picture as JPEG"
    return "data:image/jpeg;base64," + base64.b64encode(data.tobytes()).decode("ascii")


def _rectified(result: Calibration) -> str:
    found, rig = result.found, result.rig
    assert found is not None
    assert rig is not None
    used = np.array([index for index in result.by_name() if found.used[index]], dtype=int)
    chosen = used[np.linspace(0, len(used) - 1, min(PREVIEW_PAIRS, len(used))).round().astype(int)] if len(used) else []
    figures = []
    for index in chosen:
        pair = result.pairs[index]
        left, right = read_image(pair.left), read_image(pair.right)
        if left is None or right is None:
            continue
        preview = rectified_preview(rig, left, right, PREVIEW_PX)
        caption = escape(f"{pair.left.name} / {pair.right.name}")
        figures.append(
            f'<figure><img src="{_data_uri(preview)}" alt="rectified pair"><figcaption>{caption}</figcaption></figure>'
        )
    return (
        "<h2>Rectified pairs</h2><p class=soft>The same point of the scene must lie on the same line in both "
        "pictures.</p>" + "".join(figures)
    )


def _thumbnails(result: Calibration) -> str:
    found = result.found
    figures = []
    for index in result.by_name():
        pair, views = result.pairs[index], result.views[index]
        used = found is not None and bool(found.used[index])
        wrong = (
            [found.robust.wrong[rows[index]] for rows in found.pair_views()]
            if found is not None and used
            else [None, None]
        )
        images = "".join(
            f'<img src="{_data_uri(_thumbnail(view, marks, result.board.columns), 72)}" alt="{escape(view.path.name)}">'
            for view, marks in zip(views, wrong, strict=True)
        )
        why = "" if used else " &ndash; left out"
        figures.append(
            f'<figure class="{"" if used else "bad"}"><div class="pair">{images}</div><figcaption>'
            f"{escape(pair.left.name)} / {escape(pair.right.name)}{why}</figcaption></figure>"
        )
    return (
        "<h2>Pictures and corners found</h2><p class=soft>The line starts at the board's first corner; corners left "
        "out are ringed "
        f'in red.</p><div class="thumbs">{"".join(figures)}</div>'
    )


def _thumbnail(view: BoardView, wrong: np.ndarray | None, columns: int) -> np.ndarray:
    """A small picture with its corners drawn; a grey field for a file that cannot be read."""
    image = read_image(view.path)
    if image is None:
        empty = np.full((THUMBNAIL_PX * 3 // 4, THUMBNAIL_PX, 3), 200, dtype=np.uint8)
        cv2.putText(empty, "unreadable", (20, 100), cv2.FONT_HERSHEY_SIMPLEX, 0.8, (60, 60, 60), 2, cv2.LINE_AA)
        return empty
    scale = THUMBNAIL_PX / image.shape[1]
    small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    if view.corners_px is None:
        return small
    points = (view.corners_px + 0.5) * scale - 0.5
    known = np.isfinite(points[:, 0])
    row = [tuple(int(v) for v in point) for point in points[:columns][known[:columns]].round()]
    for start, end in pairwise(row):
        cv2.line(small, start, end, (40, 170, 255), 1, cv2.LINE_AA)
    for number in np.flatnonzero(known):
        place = tuple(int(v) for v in points[number].round())
        if wrong is not None and wrong[number]:
            cv2.circle(small, place, 6, (30, 30, 230), 2, cv2.LINE_AA)
        else:
            cv2.circle(small, place, 2, (60, 200, 40), -1, cv2.LINE_AA)
    return small
