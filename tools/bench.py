"""Measure the program's speed on this machine.

python -m binopose.tools.bench denoiser|detectors|stages|pipeline|live [--json FILE]
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from ..app.console import print_error, print_line
from ..app.outputs.files import write_json
from ..calibration.errors import UserError
from . import bench_denoiser, bench_detectors, bench_live, bench_pipeline, bench_stages
from .timing import hardware, table

# Each adds its own options, and `measure`: options -> rows, and further facts for the file; a fact "problem" says what
# is wrong with the program, beyond its speed.
EXIT_PROBLEM = 3
PARTS = (bench_denoiser, bench_detectors, bench_stages, bench_pipeline, bench_live)


def main(arguments: list[str] | None = None) -> int:
    """The command. Returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m binopose.tools.bench", description="Measure speed and memory on this machine."
    )
    parts = parser.add_subparsers(dest="part", metavar="PART", required=True)
    for part in PARTS:
        part.add_part(parts)
    for part_parser in parts.choices.values():
        part_parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures")
    options = parser.parse_args(arguments)
    started_s = time.perf_counter()
    try:
        machine = hardware()
        gpu = f", {machine['gpu']}" if machine["gpu"] else ""
        print_line(f"on {machine['cpu']}, {machine['cores']} cores{gpu}, Python {machine['python']}")
        rows, facts = options.measure(options)
        for line in table(rows):
            print_line(line)
        if options.json is not None:
            seconds = round(time.perf_counter() - started_s, 1)
            written = {"part": options.part, "hardware": machine, "seconds": seconds, **facts}
            write_json(options.json, {**written, "rows": [row.to_json() for row in rows]})
    except UserError as error:
        print_error(str(error))
        return error.exit_code
    if facts.get("problem"):
        print_error(f"{options.part}: {facts['problem']}")
        return EXIT_PROBLEM
    return 0


if __name__ == "__main__":
    sys.exit(main())
