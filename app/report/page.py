"""The comparison page: what looks wrong, then one section a figure, each with a table and a sentence to read it by."""

from __future__ import annotations

from html import escape
from typing import Any

import numpy as np

from ...calibration.page_parts import document, html_number, html_table, sentence
from ...models.skeleton import BODY17
from .charts import Line, axis_around, chart, power_axis, strip
from .findings import findings
from .measures import BONE_NAMES, Step, middle
from .trace import RunTrace

STYLE = """
:root { --s0:#8b94a1; --s1:#c4610b; --s2:#1f6fb5; --s3:#0c7f62; }
@media (prefers-color-scheme: dark) { :root { --s0:#7d8794; --s1:#f0954a; --s2:#62aef0; --s3:#3ecba4; } }
.look { border-left:6px solid #d29922; border-radius:6px; padding:14px 20px; margin:18px 0 22px;
  background:var(--panel); }
.look.fine { border-color:var(--good); }
.look strong { font-size:18px; } .look ul { margin:8px 0 0; padding-left:20px; } .look li { margin:6px 0; }
.legend { display:flex; flex-wrap:wrap; gap:4px 20px; margin:8px 0; color:var(--soft); font-size:13px; }
.legend svg { width:34px; height:10px; margin-right:6px; vertical-align:middle; }
.charts { display:grid; grid-template-columns:repeat(auto-fill,minmax(min(100%,440px),1fr)); gap:16px 24px;
  margin:10px 0; }
.chart svg, .strip svg { width:100%; height:auto; display:block; } .strip svg { min-width:680px; }
.chart figcaption b { color:var(--ink); }
svg text { fill:var(--ink); font-size:13px; } svg text.tick { fill:var(--soft); font-size:12px; }
.grid { stroke:var(--line); } .track { fill:var(--panel); }
.line { fill:none; stroke-linejoin:round; }
.line.s0 { stroke:var(--s0); stroke-width:1; } .line.s1 { stroke:var(--s1); stroke-width:1.2;
  stroke-dasharray:4 2; }
.line.s2 { stroke:var(--s2); stroke-width:1.5; } .line.s3 { stroke:var(--s3); stroke-width:2.2; }
.fill.s0 { fill:var(--s0); } .fill.s1 { fill:var(--s1); } .fill.s2 { fill:var(--s2); } .fill.s3 { fill:var(--s3); }
.read { max-width:80ch; }
"""

# Of the skeleton, what is drawn as speed: ends of the limbs and the middle.
FAST_JOINTS = ("RightWrist", "LeftWrist", "RightAnkle", "LeftAnkle")


def comparison_page(trace: RunTrace, steps: list[Step], summary: dict[str, Any]) -> str:
    """The whole page. summary: what summary.json holds."""
    time_s = trace.time_s
    body = _wrong(findings(steps, time_s, summary))
    if len(time_s) and np.isfinite(steps[0].points_m).any():
        body += _tiles(trace, steps, summary) + _events(trace, steps, time_s) + _legend(steps)
        body += _bones(steps, time_s) + _residuals(steps, time_s) + _jitter(steps, time_s) + _speeds(steps, time_s)
        body += _joints(trace, steps)
    duration_s = float(time_s[-1] - time_s[0]) if len(time_s) else 0.0
    below = f"{len(time_s)} frames, {duration_s:.1f} s; detector {escape(str(summary['detector']))}, denoiser "
    below += escape(str(summary["denoiser"]))
    return document(
        "Poses before and after",
        below,
        body,
        "Pixels are of the rectified views. Residuals count joints that both views are sure of. Steady is not the same "
        "as right: none of these figures knows the truth.",
        STYLE,
    )


def _wrong(found: list[str]) -> str:
    if not found:
        return '<div class="look fine"><strong>Nothing looks wrong.</strong></div>'
    items = "".join(f"<li>{escape(sentence(each))}</li>" for each in found)
    return f'<div class="look"><strong>What looks wrong</strong><ul>{items}</ul></div>'


def _tiles(trace: RunTrace, steps: list[Step], summary: dict[str, Any]) -> str:
    first, last = steps[0], steps[-1]
    variation = [float(np.nanmean(step.bone_variation)) * 100 for step in (first, last)]
    reprojection = [_median_mean_p95(step.reprojection_px)[1] for step in (first, last)]
    tiles = [
        (f"{summary['frames_with_pose']} of {summary['frames']}", "frames with a pose"),
        (f"{int(trace.exchanged.any(axis=0).sum())}", "frames with left and right put right"),
        (f"{variation[0]:.1f} &rarr; {variation[1]:.1f} %", "bones vary by, mean"),
        (f"{reprojection[0]:.1f} &rarr; {reprojection[1]:.1f} px", "reprojection, mean"),
        (f"{first.jitter_m_s3:,.0f} &rarr; {last.jitter_m_s3:,.0f}", "jitter, m/s&sup3;"),
    ]
    return (
        '<div class="tiles">'
        + "".join(f'<div class="tile"><b>{v}</b><span>{w}</span></div>' for v, w in tiles)
        + ("</div>")
    )


def _legend(steps: list[Step]) -> str:
    entries = "".join(
        f'<span><svg viewBox="0 0 34 10"><path class="line {step.key}" d="M0 5L34 5"/></svg>{escape(step.name)}</span>'
        for step in steps
    )
    return f'<div class="legend">{entries}</div>'


def _events(trace: RunTrace, steps: list[Step], time_s: np.ndarray) -> str:
    seen = np.isfinite(steps[0].points_m[..., 0]).any(axis=1)
    rows = [
        ("no pose", "s0", ~seen),
        ("sides put right, left view", "s1", trace.exchanged[0]),
        ("sides put right, right view", "s1", trace.exchanged[1]),
        ("joints left out as wrong", "s2", trace.outliers > 0),
    ]
    if steps[-1].name == "smoothed":
        rows.append(("gap closed", "s3", ~seen & np.isfinite(steps[-1].points_m[..., 0]).any(axis=1)))
    if trace.reacquired.any():
        rows.append(("somebody appeared", "s0", trace.reacquired))
    rows = [row for row in rows if row[2].any()]
    if not rows:
        return ""
    counts = ", ".join(f"{what}: {int(flags.sum())}" for what, _, flags in rows)
    return f'<h2>What happened when</h2><p class="soft">Frames. {escape(counts)}.</p>{strip(rows, time_s)}'


def _section(title: str, reading: str, charts: list[str], table: str) -> str:
    return f'<h2>{title}</h2><p class="read">{reading}</p><div class="charts">{"".join(charts)}</div>{table}'


def _bones(steps: list[Step], time_s: np.ndarray) -> str:
    first, last = steps[0], steps[-1]
    charts = []
    for bone, name in enumerate(BONE_NAMES):
        lines = [Line(step.key, time_s, step.bones_m[:, bone]) for step in steps]
        axis = axis_around([line.values for line in lines[1:] or lines], 0.08)
        charts.append(chart(name.capitalize(), "cm", lines, axis, 100.0))
    rows = [
        [name, *(html_number(float(step.bone_variation[bone]) * 100, 1) for step in steps),
         *(html_number(float(step.bone_mean_m[bone]) * 100, 1) for step in (first, last))]
        for bone, name in enumerate(BONE_NAMES)
    ]  # fmt: skip
    head = ["|bone", *(f"{step.name}, %" for step in steps), f"mean {first.name}, cm", f"mean {last.name}, cm"]
    variation = last.bone_variation
    reading = "A bone keeps its length whatever the person does. "
    if np.isfinite(variation).any():
        least = int(np.nanargmax(variation))
        reading += (
            f"On average lengths vary by {np.nanmean(first.bone_variation):.1%} {first.name} and by "
            f"{np.nanmean(variation):.1%} {last.name}; the {BONE_NAMES[least]} is the least steady one with "
            f"{variation[least]:.1%}."
        )
    return _section("Bone lengths", reading, charts, html_table(head, rows))


def _per_frame(values: np.ndarray) -> np.ndarray:
    """Median of each frame over everything else; NaN for a frame without any. (N, ...) -> (N,)."""
    return np.array([middle(frame) for frame in values])


def _residuals(steps: list[Step], time_s: np.ndarray) -> str:
    first, last = steps[0], steps[-1]
    reprojection = [Line(step.key, time_s, _per_frame(step.reprojection_px)) for step in steps]
    row_steps = [step for step in steps if step.key in ("s0", "s1")]
    rows_px = [Line(step.key, time_s, _per_frame(np.abs(step.rows_px))) for step in row_steps]
    charts = [
        chart("Reprojection", "px, median of the joints", reprojection,
              axis_around([line.values for line in reprojection], 5.0, 0.0)),
        chart("Row difference of the views", "px, median of the joints", rows_px,
              axis_around([line.values for line in rows_px], 5.0, 0.0)),
    ]  # fmt: skip
    table = html_table(
        ["|", "reprojection median, px", "mean, px", "95 %, px", "row difference median, px", "with its sign, px"],
        [
            [
                step.name,
                *(html_number(value, 1) for value in _median_mean_p95(step.reprojection_px)),
                html_number(middle(np.abs(step.rows_px)), 1) if step in row_steps else "",
                html_number(middle(step.rows_px), 1) if step in row_steps else "",
            ]
            for step in steps
        ],
    )
    rows_last = row_steps[-1].rows_px
    size_px, sign_px = middle(np.abs(rows_last)), middle(rows_last)
    steady = (
        "nearly always in the same direction, which points to the calibration"
        if abs(sign_px) > 0.6 * size_px
        else ("in both directions, as noise does")
    )
    reading = (
        f"The poses lie {middle(last.reprojection_px):.1f} px (median) from where the detector sees the joints, "
        f"{middle(first.reprojection_px):.1f} px {first.name}: what is gained in steadiness must not cost much "
        "here, but a joint that was seen wrongly ought to lie far off. The rows of the two views differ by "
        f"{size_px:.1f} px, {steady}."
    )
    return _section("Agreement with the pictures", reading, charts, table)


def _median_mean_p95(values: np.ndarray) -> tuple[float, float, float]:
    known = values[np.isfinite(values)]
    if not len(known):
        return float("nan"), float("nan"), float("nan")
    return float(np.median(known)), float(known.mean()), float(np.percentile(known, 95))


def _jitter(steps: list[Step], time_s: np.ndarray) -> str:
    first, last = steps[0], steps[-1]
    middle_s = (time_s[3:] + time_s[:-3]) / 2
    lines = [Line(step.key, middle_s, _per_frame(step.third)) for step in steps]
    charts = [chart("Jitter", "m/s\N{SUPERSCRIPT THREE}, median of the joints", lines,
                    power_axis([line.values for line in lines]))]  # fmt: skip
    table = html_table(
        ["|", "root mean square, m/s&sup3;", "median, m/s&sup3;", "95 %, m/s&sup3;"],
        [
            [step.name, f"{step.jitter_m_s3:,.0f}", *(f"{value:,.0f}" for value in _median_mean_p95(step.third)[::2])]
            for step in steps
        ],
    )
    reading = (
        "Jitter is the third derivative of the place of a joint: people stay below a few hundred m/s&sup3;, a detector "
        f"that trembles is far above. Here it goes from {first.jitter_m_s3:,.0f} {first.name} to "
        f"{last.jitter_m_s3:,.0f} m/s&sup3; {last.name}."
    )
    return _section("Jitter", reading, charts, table)


def _speeds(steps: list[Step], time_s: np.ndarray) -> str:
    first, last = steps[0], steps[-1]
    middle_s = (time_s[1:] + time_s[:-1]) / 2
    charts = []
    for name in FAST_JOINTS:
        joint = BODY17.index(name)
        lines = [Line(step.key, middle_s, step.speed_m_s[:, joint]) for step in steps]
        axis = axis_around([lines[-1].values], 1.5, 0.0)
        charts.append(chart(f"{name} speed", "m/s", lines, axis))
    table = html_table(
        ["|", *(f"{name}, 95 %" for name in FAST_JOINTS), "greatest of all joints"],
        [
            [
                step.name,
                *(html_number(_p95(step.speed_m_s[:, BODY17.index(name)]), 2) for name in FAST_JOINTS),
                html_number(float(np.nanmax(step.speed_m_s)) if np.isfinite(step.speed_m_s).any() else None, 1),
            ]
            for step in steps
        ],
    )
    reading = "How fast the ends of the limbs go; spikes of single frames are errors, not motion. "
    if np.isfinite(last.speed_m_s).any() and np.isfinite(first.speed_m_s).any():
        fastest = int(np.nanargmax(np.nanmax(np.nan_to_num(last.speed_m_s, nan=-1.0), axis=0)))
        reading += (
            f"The greatest speed is {np.nanmax(last.speed_m_s):.1f} m/s ({BODY17.joints[fastest]}) {last.name}, "
            f"{np.nanmax(first.speed_m_s):.1f} m/s {first.name}."
        )
    return _section("Speed", reading, charts, table)


def _p95(values: np.ndarray) -> float:
    return _median_mean_p95(values)[2]


def _joints(trace: RunTrace, steps: list[Step]) -> str:
    last = steps[-1]
    sure = np.isfinite(trace.fixed_px.sum(axis=(0, 3))).mean(axis=0)
    rows = []
    for joint, name in enumerate(BODY17.joints):
        rows.append([
            name,
            f"{sure[joint] * 100:.0f}",
            html_number(middle(last.reprojection_px[..., joint]), 1),
            html_number(middle(np.abs(last.rows_px[:, joint])), 1),
            html_number(_median_mean_p95(last.third[:, joint])[0], 0),
            html_number(_median_mean_p95(last.speed_m_s[:, joint])[0], 2),
            html_number(_p95(last.speed_m_s[:, joint]), 2),
        ])  # fmt: skip
    head = [
        "|joint", "surely seen, %", "reprojection, px", "row difference, px", "jitter, m/s&sup3;", "speed, m/s",
        "speed 95 %, m/s",
    ]  # fmt: skip
    return (
        f"<h2>Joint by joint, {escape(last.name)}</h2><p class=read>Medians over the frames. A joint that is rarely "
        f"seen surely is inferred from the rest of the body.</p>{html_table(head, rows)}"
    )
