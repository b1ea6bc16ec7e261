"""Promises about the layout that no type checker sees; each checker is tried on a tree that breaks its promise."""

from __future__ import annotations

import ast
import configparser
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

# Folder -> the folders it may import, besides itself.
MAY_IMPORT = {
    "calibration": set(),
    "models": {"calibration"},
    "engines": {"models", "calibration"},
    "app": {"engines", "models", "calibration"},
    "export": {"engines", "models", "calibration"},
    "tools": {"app", "export", "engines", "models", "calibration"},
}
# What a plain installation does not bring, or what takes long to load: never at the top of a module that
# `binopose --help` imports.
HEAVY = ("torch", "tensorrt", "onnxruntime", "ai_edge_litert", "av", "onnx", "mmpose", "websockets")


def source_files(root: Path) -> list[Path]:
    return sorted(path for folder in MAY_IMPORT for path in (root / folder).rglob("*.py"))


def imports_of(path: Path) -> Iterator[tuple[int, str, int]]:
    """Line, dotted name, level of every import in a file, those inside functions too; `from . import x` as `x`."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name, 0) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            if node.module is None:
                yield from ((node.lineno, alias.name, node.level) for alias in node.names)
            else:
                yield node.lineno, node.module, node.level


def upward_imports(root: Path) -> list[str]:
    """Imports that point to a folder which the importing one may not know."""
    found = []
    for path in source_files(root):
        inside = path.relative_to(root).parts
        for line, name, level in imports_of(path):
            parts = name.split(".")
            if level:
                # Level 1 is the file's own package, each further level one up; the top is `binopose`.
                target = (*inside[:-level], *parts)[0]
            elif parts[0] == "binopose" and len(parts) > 1:
                target = parts[1]
            else:
                continue
            if target != inside[0] and target not in MAY_IMPORT[inside[0]]:
                found.append(f"{path.relative_to(root)}:{line}: {name}")
    return found


def bare_folder_imports(root: Path) -> list[str]:
    """Imports of a folder by its own name, and of `binopose` from inside, where imports are relative."""
    return [
        f"{path.relative_to(root)}:{line}: {name}"
        for path in source_files(root)
        for line, name, level in imports_of(path)
        if level == 0 and name.split(".")[0] in {*MAY_IMPORT, "binopose"}
    ]


def unlisted_packages(root: Path) -> set[str]:
    """Differences between the folders with Python files on disk and `packages` in setup.cfg, either way."""
    config = configparser.ConfigParser()
    config.read(root / "setup.cfg", encoding="utf-8")
    listed = set(config["options"]["packages"].split())
    on_disk = {".".join(("binopose", *path.parent.relative_to(root).parts)) for path in source_files(root)}
    return listed ^ on_disk


def packages_without_init(root: Path) -> set[str]:
    """Package folders without `__init__.py`; these work until somebody installs another part of the namespace."""
    folders = {path.parent for path in source_files(root)}
    return {str(folder.relative_to(root)) for folder in folders if not (folder / "__init__.py").is_file()}


def run_without(modules: tuple[str, ...], program: str) -> subprocess.CompletedProcess[str]:
    """Run a program in a fresh interpreter in which importing these modules fails."""
    block = f"import sys\nfor name in {modules!r}: sys.modules[name] = None\n"
    return subprocess.run([sys.executable, "-c", block + program], capture_output=True, text=True, check=False)


def test_imports_point_downwards() -> None:
    assert upward_imports(ROOT) == []


def test_no_folder_is_imported_by_its_bare_name() -> None:
    assert bare_folder_imports(ROOT) == []


def test_setup_lists_every_package() -> None:
    assert unlisted_packages(ROOT) == set()


def test_every_package_has_an_init() -> None:
    assert packages_without_init(ROOT) == set()


def test_program_loads_without_torch() -> None:
    done = run_without(("torch",), "import binopose.app.main")
    assert done.returncode == 0, done.stderr


def test_help_of_every_command_needs_no_inference_runtime() -> None:
    program = (
        "from binopose.app.main import build_parser, main\n"
        "for command in ([], *([name] for name in build_parser()[1])):\n"
        "    try:\n        main([*command, '--help'])\n"
        "    except SystemExit as end:\n        assert end.code == 0, command\n"
        "    else:\n        raise AssertionError(command)\n"
    )
    done = run_without(HEAVY, program)
    assert done.returncode == 0, done.stderr
    for command in ("video", "demo", "rig", "models"):
        assert f"usage: binopose {command}" in done.stdout


def test_help_loads_nothing_heavy() -> None:
    """What is installed here must not be loaded either: it would cost seconds before the first line of help."""
    program = (
        "from binopose.app.main import main\ntry:\n    main(['--help'])\nexcept SystemExit:\n    pass\n"
        f"import sys\nsys.exit(', '.join(name for name in {HEAVY!r} if name in sys.modules) or None)"
    )
    done = run_without((), program)
    assert done.stderr.strip() == ""
    assert done.returncode == 0


def test_importing_the_program_changes_nothing() -> None:
    """No files, no threads, no output; environment and numpy's error state stay as they were."""
    program = (
        # cv2 and numpy set variables of their own.
        "import os, threading, cv2, numpy, importlib\nbefore = dict(os.environ), numpy.geterr()\n"
        "for name in ('app.main', 'app.processing', 'app.recording', 'tools.evaluate', 'calibration.solve'):\n"
        "    importlib.import_module('binopose.' + name)\n"
        "assert (dict(os.environ), numpy.geterr()) == before\nassert threading.active_count() == 1\n"
    )
    done = run_without((), program)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


# --- the checkers, on trees made to offend


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A little tree in which everything is as promised."""
    for package in ("calibration", "models", "engines", "engines/detectors", "app", "tools"):
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").write_text("", encoding="utf-8")
    (tmp_path / "engines" / "detectors" / "base.py").write_text(
        "from __future__ import annotations\nimport numpy.linalg\nfrom ...models.pose import Pose2D\n"
        "from ..session import Session\nfrom . import other\n",
        encoding="utf-8",
    )
    (tmp_path / "tools" / "bench.py").write_text("from ..app.main import main\n", encoding="utf-8")
    (tmp_path / "setup.cfg").write_text(
        "[options]\npackages =\n    binopose.app\n    binopose.calibration\n    binopose.engines\n"
        "    binopose.engines.detectors\n    binopose.models\n    binopose.tools\n",
        encoding="utf-8",
    )
    return tmp_path


def test_checkers_accept_what_is_right(tree: Path) -> None:
    assert upward_imports(tree) == []
    assert bare_folder_imports(tree) == []
    assert unlisted_packages(tree) == set()
    assert packages_without_init(tree) == set()


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("calibration/rig.py", "from ..models.pose import Pose2D"),
        ("calibration/rig.py", "from .. import app"),
        ("models/pose.py", "def late():\n    from ..engines.session import Session"),
        ("engines/detectors/base.py", "from ...app.frames import FramePair"),
        ("engines/session.py", "import binopose.app.frames"),
        ("app/main.py", "from binopose.tools import bench"),
        ("app/main.py", "from ..tools.metrics import pose_errors"),
    ],
)
def test_upward_imports_are_found(tree: Path, name: str, text: str) -> None:
    (tree / name).write_text(text, encoding="utf-8")
    (offence,) = upward_imports(tree)
    assert offence.startswith(name)


@pytest.mark.parametrize(
    "text",
    ["import calibration", "from models.pose import Pose2D", "import app.main as m", "from binopose.app import main"],
)
def test_bare_imports_are_found(tree: Path, text: str) -> None:
    (tree / "tools" / "x.py").write_text(f"def f():\n    {text}\n", encoding="utf-8")
    (offence,) = bare_folder_imports(tree)
    assert offence.startswith("tools/x.py:2")


def test_forgotten_and_surplus_packages_are_found(tree: Path) -> None:
    (tree / "app" / "outputs").mkdir()
    (tree / "app" / "outputs" / "csv.py").write_text("", encoding="utf-8")
    assert unlisted_packages(tree) == {"binopose.app.outputs"}
    assert packages_without_init(tree) == {"app/outputs"}
    (tree / "tools" / "bench.py").unlink()
    (tree / "tools" / "__init__.py").unlink()
    assert unlisted_packages(tree) == {"binopose.app.outputs", "binopose.tools"}


@pytest.mark.parametrize("statement", ["import torch", "from torch import nn", "import torch.nn"])
def test_blocked_modules_cannot_be_imported(statement: str) -> None:
    done = run_without(("torch",), statement)
    assert done.returncode != 0
    assert "torch" in done.stderr
