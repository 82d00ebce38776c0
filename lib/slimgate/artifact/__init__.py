"""Files that are shipped: written for one target, and proven to be what they claim."""

from slimgate.artifact.engine import build_engine
from slimgate.artifact.engine_options import EngineOptions
from slimgate.artifact.export import export_onnx
from slimgate.artifact.fingerprint import compressed_bytes, hash_file
from slimgate.artifact.half import convert_fp16
from slimgate.artifact.head import float_head_nodes
from slimgate.artifact.inspect import inspect_file
from slimgate.artifact.inspection import Inspection, Layer
from slimgate.artifact.load import artifact_from_file
from slimgate.artifact.nms import append_nms
from slimgate.artifact.profile import Profile
from slimgate.artifact.qdq import write_qdq

__all__ = [
    "EngineOptions",
    "Inspection",
    "Layer",
    "Profile",
    "append_nms",
    "artifact_from_file",
    "build_engine",
    "compressed_bytes",
    "convert_fp16",
    "export_onnx",
    "float_head_nodes",
    "hash_file",
    "inspect_file",
    "write_qdq",
]
