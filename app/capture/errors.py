"""Why a camera gives no pictures."""

from __future__ import annotations

from ...calibration.errors import UserError


class CaptureError(UserError):
    """A source that cannot be opened or has stopped.

    lasting: waiting alone will not cure it (no such device, a web page instead of a stream), so that a program that
    starts up tells the user at once. The thread tries again all the same: a camera may be plugged in.
    """

    def __init__(self, message: str, lasting: bool = False) -> None:
        super().__init__(message)
        self.lasting = lasting


class SourceEnded(CaptureError):
    """A file that has been played to its end: nothing to try again."""
