"""Row differences: bias and noise of made-up streams with known ones, and the trust that follows."""

from __future__ import annotations

import numpy as np
import pytest
from binopose.calibration.rectify import RectifiedRig
from binopose.calibration.triangulate import project, triangulate
from binopose.models.epipolar import RowStatistics, person_height_px, sigma_of_rows_m


def stream(bias_px: float, noise_px: float, frames: int = 400, gross: float = 0.0, seed: int = 0) -> np.ndarray:
    """Row differences of 17 joints, (frames, 17); a share `gross` of them is off by up to 150 px."""
    rng = np.random.default_rng(seed)
    rows_px = rng.normal(bias_px, noise_px, (frames, 17))
    wrong = rng.random(rows_px.shape) < gross
    rows_px[wrong] += rng.uniform(-150, 150, int(wrong.sum()))
    return rows_px


def after(rows_px: np.ndarray) -> RowStatistics:
    statistics = RowStatistics()
    for frame_px in rows_px:
        statistics.observe(frame_px)
    return statistics


@pytest.mark.parametrize("bias_px", [0.0, -6.3, 45.0])
@pytest.mark.parametrize("noise_px", [1.5, 8.0])
@pytest.mark.parametrize("gross", [0.0, 0.1])
def test_finds_bias_and_noise(bias_px: float, noise_px: float, gross: float) -> None:
    statistics = after(stream(bias_px, noise_px, gross=gross))
    assert statistics.bias_px == pytest.approx(bias_px, abs=0.25 + 0.05 * noise_px)
    # One joint in ten being wrong widens the middle of the distribution by about a fifth.
    assert statistics.noise_px == pytest.approx(noise_px, rel=0.25 if gross else 0.12, abs=0.3)


def test_says_nothing_before_it_has_seen_enough() -> None:
    statistics = after(stream(20.0, 3.0, frames=4))
    assert (statistics.bias_px, statistics.noise_px) == (0.0, 0.0)
    for frame_px in stream(20.0, 3.0, frames=3, seed=1):
        statistics.observe(frame_px)
    assert statistics.bias_px == pytest.approx(20, abs=2)


@pytest.mark.parametrize("bias_px", [20.0, 60.0])
def test_noise_is_right_soon_after_the_bias_is_known(bias_px: float) -> None:
    """What came before the bias was known must not be taken for noise: it sets how far joints are trusted."""
    statistics = after(stream(bias_px, 3.0, frames=20))
    assert statistics.noise_px == pytest.approx(3.0, rel=0.5)


def test_missing_joints_are_not_counted() -> None:
    rows_px = stream(5.0, 2.0)
    holes_px = rows_px.copy()
    holes_px[:, ::2] = np.nan
    holes_px[10:20] = np.nan
    statistics = after(holes_px)
    assert statistics.bias_px == pytest.approx(np.nanmedian(holes_px), abs=0.25)
    assert RowStatistics().trust(np.full(17, np.nan), 500).tolist() == [0.0] * 17


def test_trust_halves_at_three_times_the_usual_noise() -> None:
    statistics = after(stream(4.0, 5.0))
    at_px = statistics.bias_px + np.array([0, 3, -3, 6, 30]) * statistics.noise_px
    np.testing.assert_allclose(statistics.trust(at_px, 100.0), [1, 0.5, 0.5, 0.2, 1 / 101], rtol=1e-6)


def test_small_differences_on_a_tall_person_mean_nothing() -> None:
    """Two per cent of 800 px are 16 px, however precise the rows have been."""
    statistics = after(stream(0.0, 0.3))
    assert statistics.trust(np.array([16.0]), 800.0)[0] == pytest.approx(0.5, abs=0.02)
    assert statistics.trust(np.array([2.0]), 800.0)[0] > 0.98
    # And on somebody far away the limit is not below a pixel.
    assert statistics.trust(np.array([0.5]), 5.0)[0] > 0.7


def test_trust_stays_between_zero_and_one() -> None:
    trust = after(stream(0.0, 3.0)).trust(np.array([-1e6, 0, 1e6, np.nan, np.inf]), 300.0)
    assert ((trust >= 0) & (trust <= 1)).all()


def test_what_rows_say_of_places() -> None:
    """Independent noise in all four coordinates, triangulated many times over."""
    rig = RectifiedRig(900.0, 640.0, 600.0, 360.0, 1.5, np.eye(3), np.eye(3))
    points_m = np.array([[0.75, 0.2, 3.0], [-0.6, -0.5, 5.0]])
    noise_px, rng = 3.0, np.random.default_rng(0)
    seen_px = project(rig, points_m)[:, None] + rng.normal(0, noise_px / np.sqrt(2), (2, 20_000, 2, 2))
    rows_px = seen_px[0, ..., 1] - seen_px[1, ..., 1]
    assert rows_px.std() == pytest.approx(noise_px, rel=0.02)
    found_m = triangulate(rig, seen_px[0], seen_px[1]).std(axis=0)
    stated_m = sigma_of_rows_m(rig, points_m, np.full(2, noise_px))
    np.testing.assert_allclose(stated_m, found_m, rtol=0.03)


def test_height_of_a_person_in_a_view() -> None:
    assert person_height_px(np.array([[5.0, 10.0], [np.nan, np.nan], [7.0, 210.0]])) == 200.0
    assert person_height_px(np.full((3, 2), np.nan)) == 0.0


def test_rows_out_of_the_usual_raise_the_noise_and_no_others_do() -> None:
    statistics = after(stream(10.0, 4.0))
    usual, far, unseen = 10.0 + 4.0, 10.0 + 40.0, np.nan
    excess_px = statistics.excess_noise_px(np.array([10.0, usual, far, unseen]), 500.0)
    assert excess_px[[0, 1, 3]] == pytest.approx(0, abs=1.0)
    # Student's t with 4 degrees of freedom: (4 * 4^2 + 40^2) / 5 - 4^2.
    assert excess_px[2] == pytest.approx(np.sqrt((4 * 16 + 1600) / 5 - 16), rel=0.05)
