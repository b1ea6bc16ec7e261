"""From the trace of a run to the page on disk."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ..outputs.files import errors_naming, replacing
from .measures import steps_of
from .page import comparison_page
from .trace import RunTrace


def write_comparison(
    trace: RunTrace,
    summary: dict[str, Any],
    path: Path,
    refined: bool,
    smooth_hz: float | None,
    held_m: np.ndarray | None,
) -> None:
    """Write the page of a run, in one step.

    summary: what summary.json holds; refined, smooth_hz, held_m: as for `steps_of`. Raises OutputError when it cannot
    be written.
    """
    page = comparison_page(trace, steps_of(trace, refined, smooth_hz, held_m), summary)
    with errors_naming(path, "everything else of the run is there"):
        path.parent.mkdir(exist_ok=True)
    with replacing(path, "everything else of the run is there") as file:
        file.write(page.encode())
