"""The whole calibration: files of board pictures to a rig, or to the reason why not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from .boards import Board
from .bundle import residuals_px
from .corners import BoardView, find_in_files, read_image, size_seen
from .judge import Judgement, judge, refused
from .lens import LensName
from .measure import RigMeasures, measure
from .one_camera import MIN_VIEWS, CalibrationError
from .pictures import LeftOut, PicturePair, PicturesError, PictureSet, natural_key
from .rig import RigError, StereoRig
from .solve import MIN_PAIRS, PairCorners, RigFit, solve_rig

# Pictures looked at to say which size of board they show.
SIZE_PROBES = 6


@dataclass(frozen=True, slots=True)
class WrongCorner:
    """A single corner left out. column, row: counted from 1 in the board's order; error_px: how far it is off."""

    file: str
    column: int
    row: int
    error_px: float


@dataclass(frozen=True, slots=True)
class Calibration:
    """What came out. rig and measures are None when nothing could be solved.

    pairs, views: the pairs that were solved, and what each camera saw in them, in the order of the fit; left_out: files
    that do not count; reversed_files: files whose corner order was turned; wrong_corners: single corners left out.
    """

    board: Board
    pairs: tuple[PicturePair, ...]
    views: tuple[tuple[BoardView, BoardView], ...]
    extra_views: tuple[tuple[BoardView, ...], tuple[BoardView, ...]]
    found: RigFit | None
    rig: StereoRig | None
    measures: RigMeasures | None
    judgement: Judgement
    left_out: tuple[LeftOut, ...]
    reversed_files: tuple[str, ...]
    wrong_corners: tuple[WrongCorner, ...]

    def by_name(self) -> list[int]:
        """Numbers of the pairs in the order of their names, for showing."""
        return sorted(range(len(self.pairs)), key=lambda k: natural_key(str(self.pairs[k].left)))


def calibrate(
    pictures: PictureSet,
    board: Board,
    lens: LensName | None = None,
    size_confirmed: bool = False,
    on_picture: Callable[[], None] = lambda: None,
) -> Calibration:
    """Find the board in all pictures, solve, measure and judge.

    lens: model for both cameras, chosen by evidence when None; size_confirmed: accept board and baseline of any size;
    on_picture: called after each picture, from any thread. Raises PicturesError for pictures that cannot be right.
    """
    files = [path for pair in pictures.pairs for path in (pair.left, pair.right)]
    views = find_in_files([*files, *pictures.left_extra, *pictures.right_extra], board, on_picture)
    left, right = views[: len(files) : 2], views[1 : len(files) : 2]
    extra_left = views[len(files) : len(files) + len(pictures.left_extra)]
    extra_right = views[len(files) + len(pictures.left_extra) :]
    _check_sizes([*left, *extra_left], "left")
    _check_sizes([*right, *extra_right], "right")
    _check_board(board, left, "left")
    _check_board(board, right, "right")
    pair_list, left_out = _drop_repeated(pictures, left, right)
    left_out = [*pictures.left_out, *left_out]
    # In the order of the files' contents: sums of many numbers depend on their order in the last digit, and the same
    # pictures under other names shall give the same rig.
    chosen = [number for number, keep in enumerate(pair_list) if keep]
    chosen.sort(key=lambda k: (left[k].digest, right[k].digest))
    pairs = tuple(pictures.pairs[k] for k in chosen)
    pair_views = tuple((left[k], right[k]) for k in chosen)
    extra_views = (_drop_repeated_extra(extra_left, left, left_out), _drop_repeated_extra(extra_right, right, left_out))
    for view_pair in pair_views:
        left_out += [LeftOut(view.path.name, _why_no_board(view)) for view in view_pair if view.corners_px is None]
    for views_of_one in extra_views:
        left_out += [LeftOut(view.path.name, _why_no_board(view)) for view in views_of_one if view.corners_px is None]

    def result(
        found: RigFit | None, rig: StereoRig | None, measures: RigMeasures | None, judgement: Judgement
    ) -> Calibration:
        named = _name_findings(found, pair_views, extra_views) if found is not None else ([], (), ())
        return Calibration(
            board, pairs, pair_views, extra_views, found, rig, measures, judgement,
            tuple(sorted((*left_out, *named[0]), key=lambda item: natural_key(item.file))), named[1], named[2],
        )  # fmt: skip

    return result(*assess(_corners(board, pair_views, extra_views), lens, size_confirmed))


def assess(
    corners: PairCorners, lens: LensName | None = None, size_confirmed: bool = False
) -> tuple[RigFit | None, StereoRig | None, RigMeasures | None, Judgement]:
    """Solve, measure and judge corners already found; what cannot be had is None and the judgement says why."""
    both = np.isfinite(corners.left_px).any(axis=(1, 2)) & np.isfinite(corners.right_px).any(axis=(1, 2))
    try:
        found = solve_rig(corners, lens, lens)
    except CalibrationError as error:
        what, _, advice = str(error).partition("; ")
        if both.sum() < MIN_PAIRS:
            what = f"only {int(both.sum())} pairs show the board in both pictures, at least {MIN_PAIRS} are needed"
            advice = "take 15 to 20 pairs with the whole board visible in both pictures, evenly lit"
        return None, None, None, refused(what, advice)
    try:
        rig = found.rig
        measures = measure(found, rig) if found.used.sum() >= 3 else None
    except RigError:
        rig = measures = None
    return found, rig, measures, judge(found, measures, size_confirmed)


def _why_no_board(view: BoardView) -> str:
    return "cannot be read as a picture" if view.size_px is None else "board not found"


def _check_sizes(views: Sequence[BoardView], camera: str) -> None:
    """All pictures of a camera must have one size."""
    sizes = Counter(view.size_px for view in views if view.size_px is not None)
    if len(sizes) <= 1:
        return
    usual = sizes.most_common(1)[0][0]
    other = [view for view in views if view.size_px not in (None, usual)]
    named = ", ".join(f"{view.path.name} ({view.size_px[0]}x{view.size_px[1]})" for view in other[:5] if view.size_px)
    raise PicturesError(
        f"{camera} pictures have different sizes: most are {usual[0]}x{usual[1]}, but {named}"
        f"{' and others' if len(other) > 5 else ''}. A camera is calibrated at one size: leave the others away or "
        "take all "
        "at the same setting"
    )


def _check_board(board: Board, views: Sequence[BoardView], camera: str) -> None:
    """Complain when hardly any picture shows the board, or when the pictures show a board of another size."""
    readable = [view for view in views if view.size_px is not None]
    if not readable:
        raise PicturesError(f"none of the {len(views)} {camera} pictures can be read as a picture")
    seen = [view for view in readable if view.corners_px is not None]
    probes = seen if len(seen) >= MIN_VIEWS else readable
    spread = probes[:: max(1, len(probes) // SIZE_PROBES)][:SIZE_PROBES]
    asked = (max(board.columns, board.rows), min(board.columns, board.rows))
    other = _size_shown(spread, asked) if board.kind == "checkerboard" else None
    if other is not None:
        raise PicturesError(
            f"board size: asked for {board.columns}x{board.rows} inner corners, but the {camera} pictures "
            f"({spread[0].path.name} and others) show a board of {other[0]}x{other[1]}; give --board "
            f"{other[0]}x{other[1]} "
            "(inner corners, where four squares meet)"
        )
    if len(seen) < MIN_VIEWS:
        raise PicturesError(
            f"the {board.describe()} was found in {len(seen)} of {len(readable)} {camera} pictures; expected it in "
            "most. "
            "Is the number of inner corners right (one less than the squares each way)? The whole board with a white "
            "margin "
            "must be visible, sharp and evenly lit, and no hand may cover a square"
        )


def _size_shown(views: Sequence[BoardView], asked: tuple[int, int]) -> tuple[int, int] | None:
    """The size the pictures agree on, when it is not the one asked for.

    Half of them have to where the asked board was found nowhere. Where it was found, a part of a larger board may have
    passed for it: then the larger size has to be seen clearly more often than the asked one, because now and then what
    stands beside a board looks like another column of it.
    """
    images = [read_image(view.path) for view in views]
    sizes = [size_seen(image) for image in images if image is not None]
    # Three by three is what the finder starts from, on any chequered pattern.
    counts = Counter(size for size in sizes if size is not None and size[0] > 3)
    if not counts:
        return None
    size, votes = counts.most_common(1)[0]
    found_asked = any(view.corners_px is not None for view in views)
    # A part of the asked board (a hidden column) is no board of another size.
    larger = size[0] >= asked[0] and size[1] >= asked[1]
    agreed = larger and votes >= 2 and votes > 2 * counts[asked] if found_asked else votes * 2 >= len(views)
    return size if size != asked and agreed else None


def _drop_repeated(
    pictures: PictureSet, left: Sequence[BoardView], right: Sequence[BoardView]
) -> tuple[list[bool], list[LeftOut]]:
    """Mark pairs whose picture is the same file contents as an earlier one: it would count twice."""
    if pictures.pairs and all(a.digest and a.digest == b.digest for a, b in zip(left, right, strict=True)):
        raise PicturesError("LEFT and RIGHT show the same pictures, byte for byte; give each camera its own")
    first: dict[str, str] = {}
    keep, left_out = [], []
    for a, b in zip(left, right, strict=True):
        why = ""
        if a.digest and a.digest == b.digest:
            why = f"the same picture as {b.path.name}"
        for view in (a, b):
            if view.digest and view.digest in first and not why:
                why = f"{view.path.name} is the same picture as {first[view.digest]}"
        for view in (a, b):
            if view.digest:
                first.setdefault(view.digest, view.path.name)
        keep.append(not why)
        if why:
            left_out.append(LeftOut(a.path.name, f"duplicate: {why}"))
    return keep, left_out


def _drop_repeated_extra(
    extra: Sequence[BoardView], pair_views: Sequence[BoardView], left_out: list[LeftOut]
) -> tuple[BoardView, ...]:
    known = {view.digest: view.path.name for view in pair_views if view.digest}
    kept = []
    for view in extra:
        if view.digest and view.digest in known:
            left_out.append(LeftOut(view.path.name, f"duplicate: the same picture as {known[view.digest]}"))
            continue
        known[view.digest] = view.path.name
        kept.append(view)
    return tuple(sorted(kept, key=lambda view: view.digest))


def _corners(
    board: Board,
    pair_views: Sequence[tuple[BoardView, BoardView]],
    extra_views: tuple[Sequence[BoardView], Sequence[BoardView]],
) -> PairCorners:
    def stack(views: Sequence[BoardView]) -> np.ndarray:
        nothing = np.full((board.corners, 2), np.nan)
        rows = [nothing if view.corners_px is None else view.corners_px for view in views]
        return np.stack(rows) if rows else np.zeros((0, board.corners, 2))

    def size(views: Sequence[BoardView]) -> tuple[int, int]:
        return next(view.size_px for view in views if view.size_px is not None)

    left, right = [pair[0] for pair in pair_views], [pair[1] for pair in pair_views]
    return PairCorners(
        board, stack(left), stack(right), stack(extra_views[0]), stack(extra_views[1]), size(left), size(right)
    )


def _name_findings(
    found: RigFit,
    pair_views: Sequence[tuple[BoardView, BoardView]],
    extra_views: tuple[Sequence[BoardView], Sequence[BoardView]],
) -> tuple[list[LeftOut], tuple[str, ...], tuple[WrongCorner, ...]]:
    """Bad pictures, misfit pairs and wrong corners, by file name."""
    pairs = len(pair_views)
    left_out = []
    for number in (0, 1):
        files = [pair[number].path.name for pair in pair_views] + [view.path.name for view in extra_views[number]]
        why = "its corners fit much worse than those of the other pictures (blurred, bent or wrongly found)"
        left_out += [LeftOut(files[index], why) for index in np.flatnonzero(found.bad_views[number]).tolist()]
    for index in np.flatnonzero(found.misfits).tolist():
        a, b = pair_views[index]
        why = (
            f"the two views of the pair ({a.path.name}, {b.path.name}) do not fit together "
            f"({found.pair_rms_px[index]:.2f} px; each alone {found.alone_rms_px[index]:.2f} px): not taken at the "
            "same moment, or the board was in motion"
        )
        left_out.append(LeftOut(a.path.name, why))
    turned = [pair_views[index][1].path.name for index in np.flatnonzero(found.turned).tolist()]
    wrong = _wrong_corners(found, pair_views, extra_views, pairs)
    by_file: dict[str, list[WrongCorner]] = {}
    for corner in wrong:
        by_file.setdefault(corner.file, []).append(corner)
    for file, corners in by_file.items():
        places = ", ".join(f"column {c.column} row {c.row} ({c.error_px:.1f} px off)" for c in corners[:4])
        more = f" and {len(corners) - 4} more" if len(corners) > 4 else ""
        left_out.append(
            LeftOut(file, f"{len(corners)} wrong corner{'s' if len(corners) > 1 else ''} only: {places}{more}")
        )
    return left_out, tuple(sorted(turned, key=natural_key)), wrong


def _wrong_corners(
    found: RigFit,
    pair_views: Sequence[tuple[BoardView, BoardView]],
    extra_views: tuple[Sequence[BoardView], Sequence[BoardView]],
    pairs: int,
) -> tuple[WrongCorner, ...]:
    """Corners taken out one by one, in the common fit or already in their camera's own."""
    files = [
        *(pair[0].path.name for pair in pair_views), *(pair[1].path.name for pair in pair_views),
        *(view.path.name for view in extra_views[0]), *(view.path.name for view in extra_views[1]),
    ]  # fmt: skip
    residuals = np.linalg.norm(residuals_px(found.robust.fit, found.everything), axis=-1)
    left_out_pairs = np.concatenate([found.misfits, found.misfits, np.zeros(len(files) - 2 * pairs, dtype=bool)])
    wrong = []
    columns = found.corners.board.columns
    for view, corner in np.argwhere(found.robust.wrong):
        if not left_out_pairs[view]:
            wrong.append(WrongCorner(files[view], int(corner) % columns + 1, int(corner) // columns + 1,
                                     float(residuals[view, corner])))  # fmt: skip
    return tuple(wrong)
