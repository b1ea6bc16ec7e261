"""What `evaluate` found, as lines of text for the terminal."""

from __future__ import annotations

import math
from typing import Any

from ..models.skeleton import BODY17
from .metrics import ERRORS

TITLES = dict(zip(ERRORS, ("MPJPE", "root-rel", "Procrustes"), strict=True))


def _rows(result: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """Name and scores of every estimate, the one that is judged last."""
    return [*result["baselines"].items(), (result["denoiser"], result)]


def main_table(result: dict[str, Any]) -> list[str]:
    """The errors of every estimate, what the judged one gains on each, and whether its sigma holds."""
    lines = [f"{'mm':<18}" + "".join(f"{title:>12}" for title in TITLES.values())]
    lines[0] += "".join(f"{'gain ' + title:>26}" for title in list(TITLES.values())[:2]) + "  (95 %)"
    for name, scores in result["baselines"].items():
        gains = "".join(f"{_gain(result['difference_to'][name][error]):>26}" for error in ERRORS[:2])
        lines.append(f"{name:<18}" + "".join(f"{scores[error]:12.2f}" for error in ERRORS) + gains)
    lines.append(f"{'> ' + result['denoiser']:<18}" + "".join(f"{result[error]:12.2f}" for error in ERRORS))
    axes = ["/".join(f"{100 * share:.0f}" for share in result[f"coverage_{c}_per_axis"]) for c in (50, 90)]
    stated = result["sigma_share"]
    pairs = result.get("camera_pairs")
    compared = [
        f"two camera pairs, {pairs['poses']} poses: {pairs['difference_mm']:.1f} mm apart; inside both stated 50 % "
        f"intervals together {100 * pairs['coverage_50']:.1f} %, 90 % {100 * pairs['coverage_90']:.1f} %"
    ] if pairs else []  # fmt: skip
    return [
        *lines,
        f"inside the stated 50 % interval {100 * result['coverage_50']:.1f} % (x/y/z {axes[0]}), "
        f"90 % {100 * result['coverage_90']:.1f} % ({axes[1]})"
        + ("" if stated == 1 else f"; sigma stated for {100 * stated:.1f} %"),
        *compared,
    ]


def _gain(difference: list[float]) -> str:
    """An interval of a difference, turned round: what is gained; a dash for an estimate against itself."""
    low, mean, high = difference
    if not any(difference):
        return "-"
    if math.isnan(low):
        return f"{-mean:.2f}"
    return f"{-mean:.2f} ({-high:.2f} to {-low:.2f})"


def detail_tables(result: dict[str, Any]) -> list[str]:
    """MPJPE per joint, action and depth for every estimate; for the judged one also the coverage per joint."""
    rows = _rows(result)
    head = "".join(f"{name:>15}" for name, _ in rows)
    lines = ["", f"{'per joint, mm':<24}{head}{'in 50 %':>10}{'in 90 %':>9}"]
    for joint, name in enumerate(BODY17.joints):
        errors = "".join(f"{scores['per_joint_mm'][joint]:15.1f}" for _, scores in rows)
        inside = [100 * result[f"coverage_{c}_per_joint"][joint] for c in (50, 90)]
        lines.append(f"{name:<24}{errors}{inside[0]:10.0f}{inside[1]:9.0f}")
    lines += ["", f"{'per action (n), mm':<24}{head}"]
    for action, own in result["per_action"].items():
        errors = "".join(f"{scores['per_action'][action]['mpjpe_mm']:15.1f}" for _, scores in rows)
        label = f"{action} ({own['n']})"
        lines.append(f"{label:<24}{errors}")
    lines += ["", f"{'root depth, m (n), mm':<24}{head}"]
    for number, own in enumerate(result["by_depth"]):
        errors = "".join(f"{scores['by_depth'][number]['mpjpe_mm']:15.1f}" for _, scores in rows)
        label = f"{own['from_m']:.2f} to {own['to_m']:.2f} ({own['n']})"
        lines.append(f"{label:<24}{errors}")
    return lines
