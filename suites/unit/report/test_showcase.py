"""A document's blocks filled from a run's records."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from slimgate.errors import InputError, UsageError
from slimgate.report.showcase import update_document


@pytest.fixture
def study_id(run_dir: Path) -> str:
    return str(json.loads((run_dir / "run.json").read_text())["study"]["id"])


def _document(folder: Path, text: str) -> Path:
    path = folder / "README.md"
    path.write_text(text, encoding="utf-8")
    return path


def test_blocks_of_the_study_are_filled_and_nothing_else_is_touched(tmp_path, run_dir, study_id):
    before = f"# Mine\n<!-- slimgate:table {study_id} -->\nto be replaced\n<!-- /slimgate -->\ntext\n"
    other = "<!-- slimgate:table another -->\nkept\n<!-- /slimgate -->\n"
    document = _document(tmp_path, before + other)
    assert update_document(document, run_dir) == ["table"]
    text = document.read_text(encoding="utf-8")
    assert text.startswith("# Mine\n")
    assert text.endswith(f"text\n{other}")
    assert "to be replaced" not in text
    record = json.loads(next((run_dir / "cases").glob("fp32@onnxruntime.json")).read_text())
    assert f"{record['accuracy']['coco']['AP']:.4f}" in text


def test_filling_twice_gives_the_same_bytes(tmp_path, run_dir, study_id):
    block = f"<!-- slimgate:headline {study_id} -->\n<!-- /slimgate -->\n"
    document = _document(tmp_path, block + block.replace("headline", "table"))
    update_document(document, run_dir)
    once = document.read_bytes()
    update_document(document, run_dir)
    assert document.read_bytes() == once


def test_the_picture_is_saved_beside_the_document(tmp_path, run_dir, study_id):
    document = _document(tmp_path, f"<!-- slimgate:picture {study_id} -->\n<!-- /slimgate -->\n")
    update_document(document, run_dir)
    assert f"(docs/{study_id}-side-by-side.jpg)" in document.read_text(encoding="utf-8")
    assert (tmp_path / "docs" / f"{study_id}-side-by-side.jpg").read_bytes()[:2] == b"\xff\xd8"


def test_an_unknown_kind_names_the_nearest(tmp_path, run_dir, study_id):
    document = _document(tmp_path, f"<!-- slimgate:tabel {study_id} -->\n<!-- /slimgate -->\n")
    with pytest.raises(UsageError, match=r"did you mean 'table'\?"):
        update_document(document, run_dir)


def test_a_document_without_a_block_is_left_alone(tmp_path, run_dir):
    document = _document(tmp_path, "<!-- slimgate:table another -->\n<!-- /slimgate -->\n")
    with pytest.raises(InputError, match="there are blocks of: another"):
        update_document(document, run_dir)
    assert document.read_text() == "<!-- slimgate:table another -->\n<!-- /slimgate -->\n"


def test_a_missing_document_is_one_message(tmp_path, run_dir):
    with pytest.raises(InputError, match="no such file"):
        update_document(tmp_path / "absent.md", run_dir)
