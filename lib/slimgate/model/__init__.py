"""What a detector is: build, load (never by running a pickle), save, count."""

from slimgate.model.build import build_module
from slimgate.model.checkpoint import checkpoint_paths, describe_detector, save_checkpoint
from slimgate.model.count import ParameterCount, count_flops, count_macs, count_parameters
from slimgate.model.fuse import fuse_batchnorm
from slimgate.model.head import head_convolutions, output_convolutions, strides_of
from slimgate.model.load import load_detector, replace_module
from slimgate.model.named_architecture import (
    architecture_from_file,
    architecture_from_name,
    own_architectures,
)
from slimgate.model.weights import hash_weights

__all__ = [
    "ParameterCount",
    "architecture_from_file",
    "architecture_from_name",
    "build_module",
    "checkpoint_paths",
    "count_flops",
    "count_macs",
    "count_parameters",
    "describe_detector",
    "fuse_batchnorm",
    "hash_weights",
    "head_convolutions",
    "load_detector",
    "output_convolutions",
    "own_architectures",
    "replace_module",
    "save_checkpoint",
    "strides_of",
]
