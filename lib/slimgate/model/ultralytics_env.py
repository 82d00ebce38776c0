"""The only door to ultralytics: its environment is set before it is imported, and its side effects undone.

Left alone, ultralytics downloads weights, installs packages, writes a settings file into the home directory,
turns off OpenCV's threads and sets ``OMP_NUM_THREADS`` for every process started later.
"""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import platformdirs
import torch  # noqa: F401 - reads OMP_NUM_THREADS when it loads, so it must load before ultralytics sets that

os.environ["YOLO_OFFLINE"] = "true"
os.environ["YOLO_AUTOINSTALL"] = "false"
os.environ.setdefault("YOLO_VERBOSE", "false")
os.environ.setdefault("YOLO_CONFIG_DIR", str(Path(platformdirs.user_cache_dir("slimgate"))))

_undone = {"OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS")}
_cv2_threads = cv2.getNumThreads()

from ultralytics.nn import modules as blocks  # noqa: E402 - after the environment is set
from ultralytics.nn.modules.block import DFL  # noqa: E402
from ultralytics.nn.modules.conv import Conv, ConvTranspose  # noqa: E402
from ultralytics.nn.modules.head import Detect  # noqa: E402
from ultralytics.nn.tasks import DetectionModel, yaml_model_load  # noqa: E402
from ultralytics.utils import ASSETS  # noqa: E402

for _name, _value in _undone.items():
    if _value is None:
        os.environ.pop(_name, None)
# 0 threads means "serial" and would make pre-processing times depend on what was imported before.
cv2.setNumThreads(_cv2_threads)

__all__ = ["ASSETS", "DFL", "Conv", "ConvTranspose", "Detect", "DetectionModel", "blocks", "yaml_model_load"]
