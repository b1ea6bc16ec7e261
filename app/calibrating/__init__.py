"""Guided calibration from running cameras: pairs taken by themselves, what is missing, and the verdict as it grows."""

from .selection import PictureFolder
from .session import SessionOptions, TooFewPairsError, capture_guided

__all__ = ["PictureFolder", "SessionOptions", "TooFewPairsError", "capture_guided"]
