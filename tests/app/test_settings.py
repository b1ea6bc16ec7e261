"""Settings files: what they give an ordinary argparse command, and what they are refused for."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest
from binopose.app.settings import SettingsError, add_config_option, apply_config


def parser() -> argparse.ArgumentParser:
    """A command with one option of every kind that the program's commands have."""
    command = argparse.ArgumentParser(prog="command")
    command.add_argument("left", type=Path)
    command.add_argument("--rig", type=Path, required=True)
    command.add_argument("-o", "--output", type=Path, default=Path("out"))
    command.add_argument("--detector", default="blazepose")
    command.add_argument("--steps", type=int, default=3)
    command.add_argument("--square-mm", type=float)
    command.add_argument("--rectify", choices=("auto", "images"), default="auto")
    command.add_argument("--level", type=int, choices=(1, 2), default=1)
    command.add_argument("--no-overlay", action="store_true")
    add_config_option(command)
    return command


def write(folder: Path, text: str) -> Path:
    path = folder / "my settings.toml"
    path.write_text(text, encoding="utf-8")
    return path


def parsed(path: Path, *arguments: str) -> argparse.Namespace:
    command = parser()
    everything = ["left.mp4", *arguments, "--config", str(path)]
    apply_config(command, everything)
    return command.parse_args(everything)


FULL = """
rig = "rig.toml"
output = "elsewhere"
detector = "rtmpose-m"
steps = 5
square_mm = 25
rectify = "images"
level = 2
no-overlay = true
"""


def test_file_gives_the_values_with_the_options_types(tmp_path: Path) -> None:
    options = parsed(write(tmp_path, FULL))
    assert (options.rig, options.output) == (Path("rig.toml"), Path("elsewhere"))
    assert (options.detector, options.steps, options.level) == ("rtmpose-m", 5, 2)
    assert options.square_mm == 25.0
    assert isinstance(options.square_mm, float)
    assert (options.rectify, options.no_overlay) == ("images", True)


def test_command_line_goes_before_the_file(tmp_path: Path) -> None:
    path = write(tmp_path, FULL)
    options = parsed(path, "--steps", "9", "--rig", "mine.toml", "-o", "here", "--rectify=auto", "--level", "1")
    assert (options.steps, options.rig, options.output) == (9, Path("mine.toml"), Path("here"))
    assert (options.rectify, options.level) == ("auto", 1)
    assert options.detector == "rtmpose-m"


def test_what_neither_says_keeps_its_default(tmp_path: Path) -> None:
    options = parsed(write(tmp_path, 'rig = "r"'))
    assert (options.steps, options.detector, options.no_overlay) == (3, "blazepose", False)
    assert options.square_mm is None


def test_required_option_may_stand_in_the_file_but_has_to_stand_somewhere(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path, "steps = 4")
    with pytest.raises(SystemExit):
        parsed(path)
    assert "--rig" in capsys.readouterr().err
    assert parsed(path, "--rig", "r").steps == 4


def test_without_config_nothing_happens() -> None:
    command = parser()
    apply_config(command, ["left.mp4", "--rig", "r"])
    assert command.parse_args(["left.mp4", "--rig", "r"]).config is None


def test_equals_sign_is_understood(tmp_path: Path) -> None:
    command = parser()
    arguments = ["left.mp4", f"--config={write(tmp_path, FULL)}"]
    apply_config(command, arguments)
    assert command.parse_args(arguments).steps == 5


@pytest.mark.parametrize("key", ["stepz", "left", "config", "help", "no_overlays", "square"])
def test_unknown_key_lists_the_keys_there_are(tmp_path: Path, key: str) -> None:
    with pytest.raises(SettingsError) as raised:
        parsed(write(tmp_path, f'rig = "r"\n{key} = "x"'))
    message = str(raised.value)
    assert "my settings.toml" in message
    assert f"{key}: no such setting" in message
    for option in ("rig", "output", "detector", "steps", "square-mm", "rectify", "no-overlay"):
        assert option in message


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('steps = "many"', "steps"),
        ("steps = 2.5", "steps"),
        ("steps = true", "steps"),
        ("steps = [1, 2]", "steps"),
        ('square_mm = "wide"', "square_mm"),
        ('rectify = "sideways"', "rectify: expected one of auto, images"),
        ("rectify = 3", "rectify: expected one of auto, images"),
        ("level = 7", "level: expected one of 1, 2"),
        ("no_overlay = 1", "no_overlay: expected true or false"),
        ('no_overlay = "yes"', "no_overlay: expected true or false"),
        ("detector = 3", "detector"),
        ("detector = true", "detector"),
        ("[detector]\nname = 3", "detector"),
        ("rig = 1979-05-27", "rig"),
        ("rig = 5", "rig"),
    ],
)
def test_wrong_values_are_named(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(SettingsError) as raised:
        parsed(write(tmp_path, text), "--rig", "r")
    assert "my settings.toml" in str(raised.value)
    assert told in str(raised.value)


@pytest.mark.parametrize(
    ("data", "told"), [(None, "no such file"), (b"steps = ", "not valid TOML"), (b"\xff\xfe", "cannot be read")]
)
def test_unreadable_files_are_named(tmp_path: Path, data: bytes | None, told: str) -> None:
    path = tmp_path / "my settings.toml"
    if data is not None:
        path.write_bytes(data)
    with pytest.raises(SettingsError, match=rf"my settings\.toml: {told}"):
        parsed(path)
    with pytest.raises(SettingsError, match="cannot be read"):
        parsed(tmp_path)


def test_both_spellings_at_once_are_refused(tmp_path: Path) -> None:
    """Which of the two would count depends on their order, which a table does not have."""
    with pytest.raises(SettingsError, match="square"):
        parsed(write(tmp_path, "square_mm = 25\nsquare-mm = 30"), "--rig", "r")
