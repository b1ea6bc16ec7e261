"""What a detector gets wrong on a rig, learnt without ground truth, as a TOML file that the program uses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tomli_w

from ..calibration.errors import UserError
from ..calibration.rectify import RectifiedRig
from ..calibration.rig import StereoRig
from ..calibration.toml_file import read_toml
from ..calibration.triangulate import project, triangulate
from .definitions import put_back
from .epipolar import RowNoise
from .pose import Pose2D
from .skeleton import BODY17

FORMAT = "binopose-detector-profile"
VERSION = 1
FILE_NAME = "profile.toml"
# What can be: a row difference of half the person is no noise, a joint a trunk's length off no definition.
MAX_ROW_NOISE, FREEDOM_LIMITS, MAX_OFFSET = 0.5, (1.0, 100.0), 1.0
# Rigs are alike while baseline and angle between the axes are the same to within these.
ALIKE_BASELINE, ALIKE_ANGLE_DEG = 1.5, 10.0

_KEYS = ("detector", "learnt_from", "rig", "joints", "figures")
_JOINT_KEYS = ("row_noise", "freedom", "definition_offset")


class ProfileError(UserError):
    """A profile that cannot be read, written or used."""


@dataclass(frozen=True, slots=True)
class DetectorProfile:
    """A detector's errors on a rig; arrays are by joints of body17.

    detector: its name; row_noise: (17,) standard deviation of the row difference between the views as a share of the
    person's height in the picture, NaN where unknown; freedom: (17,) degrees of freedom of Student's t that its tails
    have; definition_offset: (17, 3) how far the detector's idea of a joint lies outside what anybody calls so, in trunk
    lengths to the person's left, up the trunk and forward, 0 where it does not.
    baseline_m, axes_deg: of the rig; learnt_from: words on what it was learnt from; figures: what else was measured,
    for who reads the file.
    """

    detector: str
    row_noise: np.ndarray
    freedom: np.ndarray
    definition_offset: np.ndarray
    baseline_m: float
    axes_deg: float
    learnt_from: Mapping[str, Any]
    figures: Mapping[str, Any]

    @property
    def rows(self) -> RowNoise:
        """What `RowStatistics` wants to know."""
        return RowNoise(self.row_noise, self.freedom)

    def corrected(self, rig: RectifiedRig, left: Pose2D, right: Pose2D) -> tuple[Pose2D, Pose2D]:
        """Both views with joints back where conventions have them. left, right: body17, rectified pixels."""
        if not self.definition_offset.any():
            return left, right
        points_m = triangulate(rig, left.points_px, right.points_px)
        shift_px = project(rig, put_back(points_m, self.definition_offset)) - project(rig, points_m)
        left, right = (
            Pose2D(view.points_px + np.nan_to_num(shift, nan=0.0), view.confidence, view.skeleton)
            for view, shift in zip((left, right), shift_px, strict=True)
        )
        return left, right

    def doubts(self, rig: StereoRig) -> str:
        """Why it may not hold on a rig, in words; "" when that rig is like the one it was learnt on."""
        baseline_m, axes_deg = rig.baseline_m, float(np.rad2deg(rig.axes_angle_rad))
        ratio = max(baseline_m, self.baseline_m) / min(baseline_m, self.baseline_m)
        if ratio <= ALIKE_BASELINE and abs(axes_deg - self.axes_deg) <= ALIKE_ANGLE_DEG:
            return ""
        return (
            f"the profile of {self.detector or 'the detector'} was learnt on a rig with a baseline of "
            f"{self.baseline_m:.2f} m and {self.axes_deg:.0f} degrees between the axes, this one has "
            f"{baseline_m:.2f} m and {axes_deg:.0f} degrees: learn one for it (python -m binopose.tools.profile), or "
            "leave it out (--profile off)"
        )


def save_profile(path: Path, profile: DetectorProfile) -> None:
    """Write a profile. Raises ProfileError when the file cannot be written."""
    joints: dict[str, dict[str, Any]] = {}
    for number, joint in enumerate(BODY17.joints):
        entry: dict[str, Any] = {}
        if np.isfinite(profile.row_noise[number]):
            entry["row_noise"] = round(float(profile.row_noise[number]), 5)
            entry["freedom"] = round(float(profile.freedom[number]), 2)
        if profile.definition_offset[number].any():
            entry["definition_offset"] = [round(part, 4) for part in profile.definition_offset[number].tolist()]
        if entry:
            joints[joint] = entry
    content = {
        "format": FORMAT, "version": VERSION, "skeleton": BODY17.name, "detector": profile.detector,
        "rig": {"baseline_m": round(profile.baseline_m, 4), "axes_deg": round(profile.axes_deg, 2)},
        "learnt_from": dict(profile.learnt_from), "joints": joints, "figures": dict(profile.figures),
    }  # fmt: skip
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(path.name + ".part")
        part.write_text(tomli_w.dumps(content), encoding="utf-8")
        part.replace(path)
    except OSError as error:
        raise ProfileError(f"{path}: cannot be written: {error.strerror or error}") from None


def load_profile(path: Path) -> DetectorProfile:
    """Read what `save_profile` wrote. Raises ProfileError naming the file, the key, what was expected and found."""
    content = read_toml(path, ProfileError, "a detector profile as python -m binopose.tools.profile writes it")
    expected: dict[str, Any] = {"format": FORMAT, "version": VERSION, "skeleton": BODY17.name}
    for key, value in expected.items():
        if content.get(key) != value:
            raise ProfileError(f"{path}: {key}: expected {value!r}, found {content.get(key, 'nothing')!r}")
    unknown = content.keys() - expected.keys() - set(_KEYS)
    if unknown:
        raise ProfileError(f"{path}: {min(unknown)}: no such key; expected {', '.join(_KEYS)}")
    rig, joints = (_table(path, content, key) for key in ("rig", "joints"))
    row_noise, freedom = np.full(len(BODY17), np.nan), np.full(len(BODY17), np.nan)
    offsets = np.zeros((len(BODY17), 3))
    for joint in joints:
        if joint not in BODY17.joints:
            raise ProfileError(f"{path}: joints.{joint}: no such joint; expected one of {', '.join(BODY17.joints)}")
        entry, number, where = _table(path, joints, joint), BODY17.index(joint), f"joints.{joint}"
        if unknown := entry.keys() - set(_JOINT_KEYS):
            raise ProfileError(f"{path}: {where}.{min(unknown)}: no such key; expected {', '.join(_JOINT_KEYS)}")
        if "row_noise" in entry:
            row_noise[number] = _number(path, where, entry, "row_noise", 0.0, MAX_ROW_NOISE)
            freedom[number] = _number(path, where, entry, "freedom", *FREEDOM_LIMITS)
        if "definition_offset" in entry:
            offsets[number] = _offset(path, where, entry["definition_offset"])
    return DetectorProfile(
        str(content.get("detector", "")),
        row_noise,
        freedom,
        offsets,
        _number(path, "rig", rig, "baseline_m", 1e-3, 1e3),
        _number(path, "rig", rig, "axes_deg", 0.0, 180.0),
        content.get("learnt_from", {}),
        content.get("figures", {}),
    )


def _table(path: Path, content: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found = content.get(key)
    if not isinstance(found, dict):
        raise ProfileError(f"{path}: {key}: expected a table, found {found!r}")
    return found


def _number(path: Path, where: str, content: Mapping[str, Any], key: str, low: float, high: float) -> float:
    found = content.get(key)
    if isinstance(found, bool) or not isinstance(found, int | float) or not low <= found <= high:
        raise ProfileError(f"{path}: {where}.{key}: expected a number from {low:g} to {high:g}, found {found!r}")
    return float(found)


def _offset(path: Path, where: str, found: Any) -> np.ndarray:
    right = (
        isinstance(found, list)
        and len(found) == 3
        and all(
            isinstance(part, int | float) and not isinstance(part, bool) and abs(part) <= MAX_OFFSET for part in found
        )
    )
    if not right:
        raise ProfileError(
            f"{path}: {where}.definition_offset: expected three numbers of at most {MAX_OFFSET:g}, found {found!r}"
        )
    return np.array(found, dtype=np.float64)
