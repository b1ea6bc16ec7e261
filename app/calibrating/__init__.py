"""Guided calibration from running cameras: pairs taken by themselves, what is missing, and the verdict as it grows."""

from .selection import PictureFolder
from .session import SessionOptions, TooFewPairsError, capture_guided
from .window import PreviewFile, Window

__all__ = ["PictureFolder", "PreviewFile", "SessionOptions", "TooFewPairsError", "Window", "capture_guided"]
