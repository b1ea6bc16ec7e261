"""Read a TOML file with complaints that name it."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from .errors import UserError


def read_toml(path: Path, error: type[UserError], expected: str) -> dict[str, Any]:
    """Parse a TOML file.

    error: what is raised when it is missing, unreadable or no TOML; expected: what the file should have been, for the
    message.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise error(f"{path}: no such file; expected {expected}") from None
    except (OSError, UnicodeDecodeError) as problem:
        raise error(f"{path}: cannot be read: {problem}") from None
    except tomllib.TOMLDecodeError as problem:
        raise error(f"{path}: not valid TOML: {problem}") from None
