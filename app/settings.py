"""Settings of the commands: from options, and from a TOML file with the same names."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..calibration.errors import UserError
from ..calibration.toml_file import read_toml


class SettingsError(UserError):
    """A settings file that cannot be used."""


def add_config_option(parser: argparse.ArgumentParser) -> None:
    """Give a command the option --config."""
    parser.add_argument(
        "--config",
        type=Path,
        metavar="FILE.toml",
        help="read options from this file, by their long names without dashes in front (rig = \"rig.toml\"); "
        "what the command line says goes before",
    )  # fmt: skip


def _config_path(arguments: Sequence[str]) -> Path | None:
    finder = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    finder.add_argument("--config", type=Path)
    return finder.parse_known_args(list(arguments))[0].config


def _converted(path: Path, key: str, value: Any, option: argparse.Action) -> Any:
    """A value of the file as the option would have it; checks the type and the choices."""
    switch = option.nargs == 0
    if switch != isinstance(value, bool) or not isinstance(value, bool | int | float | str):
        expected = "true or false" if switch else f"a value for --{key}"
        raise SettingsError(f"{path}: {key}: expected {expected}, found {value!r}")
    if switch:
        return value
    if option.choices is not None and value not in option.choices:
        raise SettingsError(f"{path}: {key}: expected one of {', '.join(map(str, option.choices))}, found {value!r}")
    if option.type in (None, Path) and not isinstance(value, str):
        raise SettingsError(f"{path}: {key}: expected text in quotes, found {value!r}")
    try:
        return option.type(str(value)) if callable(option.type) else value
    except (ValueError, argparse.ArgumentTypeError) as error:
        raise SettingsError(f"{path}: {key}: {error}") from None


def apply_config(parser: argparse.ArgumentParser, arguments: Sequence[str]) -> None:
    """Make the values of the --config file in `arguments` the defaults of the command `parser`.

    Raises SettingsError for a file that cannot be read, an unknown key (with the keys there are) or a wrong value.
    """
    path = _config_path(arguments)
    if path is None:
        return
    options = {
        option.option_strings[-1].removeprefix("--"): option
        for option in parser._actions  # argparse has no public list of its options
        if option.option_strings and option.dest not in ("help", "config")
    }
    seen: set[str] = set()
    for written, value in read_toml(path, SettingsError, "settings as TOML").items():
        key = written.replace("_", "-")
        if key in seen:
            raise SettingsError(f"{path}: {written}: given twice, as {key} and {key.replace('-', '_')}; keep one")
        seen.add(key)
        if key not in options:
            raise SettingsError(f"{path}: {written}: no such setting; expected one of {', '.join(sorted(options))}")
        parser.set_defaults(**{options[key].dest: _converted(path, written, value, options[key])})
        options[key].required = False
