"""Files that are shipped: written for one target, and proven to be what they claim."""

from slimgate.artifact.export import export_onnx
from slimgate.artifact.fingerprint import compressed_bytes, hash_file
from slimgate.artifact.load import artifact_from_file

__all__ = ["artifact_from_file", "compressed_bytes", "export_onnx", "hash_file"]
