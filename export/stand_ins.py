"""Modules that MMPose imports and never calls for a pose network, so that they need not be installed.

`mmcv._ext` holds compiled operators that mmcv-lite leaves out, `torchvision` draws, and `xtcocotools` (which has to be
compiled by hand today) reads annotations. Empty modules stand in for them, whose contents raise when they are called.
"""

from __future__ import annotations

import importlib.util
import sys
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any, NoReturn

STAND_INS = (
    "mmcv._ext",
    "torchvision",
    "torchvision.transforms",
    "xtcocotools",
    "xtcocotools.coco",
    "xtcocotools.cocoeval",
    "xtcocotools.mask",
)


class StandIn(ModuleType):
    """A module in which every name can be imported and nothing can be called."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        # Some packages look for modules by their specification alone.
        self.__spec__ = ModuleSpec(name, loader=None)
        self.__path__ = []

    def __getattr__(self, attribute: str) -> Any:
        if attribute.startswith("__"):
            raise AttributeError(f"{self.__name__} has no {attribute}")

        def missing(*_arguments: object, **_options: object) -> NoReturn:
            raise NotImplementedError(
                f"{self.__name__}.{attribute} is not part of the export environment; exports do not need it"
            )

        return missing


def install_stand_ins(names: tuple[str, ...] = STAND_INS) -> None:
    """Put stand-ins where the real modules are not installed; what is installed stays as it is.

    names: a package before its modules.
    """
    for name in names:
        if name not in sys.modules and not _is_installed(name):
            sys.modules[name] = StandIn(name)


def _is_installed(name: str) -> bool:
    package = name.rpartition(".")[0]
    if isinstance(sys.modules.get(package), StandIn):
        return False
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:
        return False
