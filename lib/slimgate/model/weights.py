"""The fingerprint of a network's tensors."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import torch
from torch import nn


def loaded_tensors(module: nn.Module) -> dict[str, torch.Tensor]:
    """Return the named parameters and buffers in name order: on the CPU, contiguous, floats as float32."""
    state = module.state_dict()
    return {name: _as_loaded(state[name]) for name in sorted(state)}


def hash_tensors(tensors: Mapping[str, torch.Tensor]) -> str:
    """Return the sha256 over name, type, shape and little-endian bytes of each tensor, in name order.

    Floating tensors are taken as float32, so the hash of weights stored as float16 is that of the weights as
    they will be loaded.
    """
    digest = hashlib.sha256()
    for name in sorted(tensors):
        array = _as_loaded(tensors[name]).numpy()
        little_endian = array.astype(array.dtype.newbyteorder("<"), copy=False)
        digest.update(f"{name}\0{array.dtype.name}\0{tuple(array.shape)}\0".encode())
        digest.update(little_endian.tobytes())
    return digest.hexdigest()


def hash_weights(module: nn.Module) -> str:
    """Return the sha256 over a module's parameters and persistent buffers, see ``hash_tensors``."""
    return hash_tensors(module.state_dict())


def _as_loaded(tensor: torch.Tensor) -> torch.Tensor:
    tensor = tensor.detach().cpu()
    return (tensor.float() if tensor.is_floating_point() else tensor).contiguous()
