"""From the names of the settings to the parts that do the work: the only place that names concrete classes."""

from __future__ import annotations

from collections.abc import Callable

from ..calibration.errors import UserError
from ..engines.denoiser import Denoiser, NoDenoiser, SkeletonDenoiser

DENOISERS: dict[str, Callable[[], Denoiser]] = {"skeleton": SkeletonDenoiser, "off": NoDenoiser}


def open_denoiser(name: str) -> Denoiser:
    """The denoiser of a name; raises UserError listing the names there are."""
    if name not in DENOISERS:
        raise UserError(f'denoiser: expected one of {", ".join(DENOISERS)}, found "{name}"')
    return DENOISERS[name]()
