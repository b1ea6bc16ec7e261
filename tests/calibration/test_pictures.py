"""Pairing files by name."""

from pathlib import Path

import pytest
from binopose.calibration.pictures import PicturesError, gather, list_pictures, pair_pictures


def names(*stems: str) -> list[Path]:
    return [Path(f"{stem}.png") for stem in stems]


@pytest.mark.parametrize(
    ("left", "right"),
    [
        (["left01", "left02", "left10"], ["right01", "right02", "right10"]),
        (["ImgLeft0", "ImgLeft1", "ImgLeft2"], ["ImgRight0", "ImgRight1", "ImgRight2"]),
        (["camera0_3", "camera0_4", "camera0_5"], ["camera1_3", "camera1_4", "camera1_5"]),
        (["a/view1", "a/view2", "a/view3"], ["b/view1", "b/view2", "b/view3"]),
        (["L_cat", "L_dog_left", "x"], ["L_cat", "L_dog_right", "x"]),
    ],
)
def test_the_usual_ways_of_naming_pair_up(left: list[str], right: list[str]) -> None:
    pairs, alone = pair_pictures(names(*left), [Path("r") / path for path in names(*right)])
    assert [pair.left.stem for pair in pairs] == [Path(stem).stem for stem in left]
    assert [pair.right.stem for pair in pairs] == [Path(stem).stem for stem in right]
    assert alone == []


def test_a_missing_partner_shifts_no_other_pair() -> None:
    pairs, alone = pair_pictures(names("left1", "left2", "left3", "left4"), names("right1", "right3", "right4"))
    assert [(pair.left.name, pair.right.name) for pair in pairs] == [
        ("left1.png", "right1.png"),
        ("left3.png", "right3.png"),
        ("left4.png", "right4.png"),
    ]
    assert [item.file for item in alone] == ["left2.png"]


def test_names_that_do_not_match_are_refused_with_examples() -> None:
    with pytest.raises(
        PicturesError, match=r"2 left and 2 right pictures, of which 0 pair up.*cat.png, dog.png.*left07"
    ):
        pair_pictures(names("cat", "dog"), names("cow", "pig"))


def test_one_folder_for_both_cameras_is_refused(tmp_path: Path) -> None:
    for name in ("left1.png", "right1.png"):
        (tmp_path / name).touch()
    with pytest.raises(PicturesError, match=r"LEFT and RIGHT both contain.*patterns in quotes"):
        gather(str(tmp_path), str(tmp_path))


def test_sources_without_pictures_are_named(tmp_path: Path) -> None:
    with pytest.raises(PicturesError, match="LEFT: no pictures in the folder"):
        list_pictures(str(tmp_path), "LEFT")
    with pytest.raises(PicturesError, match="RIGHT: nothing found at"):
        list_pictures(str(tmp_path / "right*.png"), "RIGHT")


def test_extra_pictures_that_are_pairs_already_count_once(tmp_path: Path) -> None:
    for name in ("left1.png", "left2.png", "right1.png", "left9.png"):
        (tmp_path / name).touch()
    found = gather(
        str(tmp_path / "left[12].png"), str(tmp_path / "right*.png"), left_extra=[str(tmp_path / "left*.png")]
    )
    # left2 has no partner, so it may still serve as a picture of one camera alone.
    assert [path.name for path in found.left_extra] == ["left2.png", "left9.png"]
