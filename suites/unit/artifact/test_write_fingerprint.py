"""Files that are whole or not there, and what identifies them."""

import errno
import hashlib
import os
import zlib

import numpy as np
import pytest
from slimgate.artifact import compressed_bytes, hash_file
from slimgate.artifact.write import replace_file, unwritable
from slimgate.errors import InputError


def test_a_block_that_ends_well_replaces_the_file(tmp_path):
    path = tmp_path / "new" / "file.onnx"
    for content in (b"one", b"two"):
        with replace_file(path) as temporary:
            assert temporary.suffix == ".onnx"
            temporary.write_bytes(content)
        assert path.read_bytes() == content
    assert [entry.name for entry in path.parent.iterdir()] == ["file.onnx"]


def test_a_block_that_fails_leaves_what_was_there(tmp_path):
    path = tmp_path / "file.onnx"
    path.write_bytes(b"old")

    def interrupted():
        with replace_file(path) as temporary:
            temporary.write_bytes(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file.onnx"]


def test_a_written_file_has_the_permissions_of_any_new_file(tmp_path):
    path, other = tmp_path / "file", tmp_path / "other"
    with replace_file(path) as temporary:
        temporary.write_bytes(b"")
    other.write_bytes(b"")
    assert path.stat().st_mode == other.stat().st_mode


def test_a_full_disk_is_one_message_and_leaves_nothing(tmp_path):
    path = tmp_path / "file.onnx"
    with pytest.raises(InputError) as caught, replace_file(path):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert str(caught.value) == (
        f"{path}: cannot be written: No space left on device\n"
        "  expected: a writable directory with enough free space\n"
        "  what to do: free space, or name another place with -o"
    )
    assert list(tmp_path.iterdir()) == []


def test_a_directory_that_is_a_file(tmp_path):
    (tmp_path / "taken").write_bytes(b"")
    with pytest.raises(InputError, match=r"cannot be written: (Not a directory|File exists)"):
        replace_file(tmp_path / "taken" / "file.onnx").__enter__()


def test_an_unwritable_place_names_another_action(tmp_path):
    error = unwritable(tmp_path, PermissionError(errno.EACCES, os.strerror(errno.EACCES)))
    assert "cannot be written: Permission denied" in str(error)
    assert str(error).endswith("what to do: name another place with -o")


def test_hash_and_compressed_size_against_the_standard_library(tmp_path):
    content = np.random.default_rng(0).normal(size=400_000).astype(np.float32).tobytes()
    path = tmp_path / "weights"
    path.write_bytes(content)
    assert hash_file(path) == hashlib.sha256(content).hexdigest()
    assert compressed_bytes(path) == len(zlib.compress(content, 6))


def test_zeros_show_in_the_compressed_size_only(tmp_path):
    weights = np.random.default_rng(0).normal(size=100_000).astype(np.float32)
    dense, pruned = tmp_path / "dense", tmp_path / "pruned"
    dense.write_bytes(weights.tobytes())
    weights[::2] = 0
    pruned.write_bytes(weights.tobytes())
    assert dense.stat().st_size == pruned.stat().st_size
    assert compressed_bytes(pruned) < 0.7 * compressed_bytes(dense)
