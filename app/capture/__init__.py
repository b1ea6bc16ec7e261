"""Live pictures: cameras, network streams and files in real time, one thread each, and pairs of them."""

from .camera import CameraState, CameraStatus, CameraThread, CapturedFrame
from .devices import DeviceInfo, DeviceList, list_devices
from .errors import CaptureError
from .opening import open_camera, open_stereo
from .options import CameraOptions
from .stereo import CapturedPair, StereoCapture, StereoStatus
from .v4l2 import VideoMode

__all__ = [
    "CameraOptions",
    "CameraState",
    "CameraStatus",
    "CameraThread",
    "CaptureError",
    "CapturedFrame",
    "CapturedPair",
    "DeviceInfo",
    "DeviceList",
    "StereoCapture",
    "StereoStatus",
    "VideoMode",
    "list_devices",
    "open_camera",
    "open_stereo",
]
