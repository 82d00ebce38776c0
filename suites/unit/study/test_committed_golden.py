"""The golden files of this repository belong to its studies, and to each other."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest
from slimgate.gate import Judgement, find_untidy, load_waivers
from slimgate.study import load_study
from slimgate.study.spec import golden_folder, list_studies, studies_folder

STUDIES = sorted(path.stem for path in studies_folder().glob("*.toml"))


@pytest.mark.parametrize("name", STUDIES)
def test_nothing_is_left_over_or_lacks_its_other_half(name: str) -> None:
    study = load_study(name)
    golden = golden_folder(study)
    studies = list_studies(study, golden)
    assert studies == set(STUDIES)
    findings = find_untidy(golden, study.id, Judgement(), cases=study.cases, studies=studies)
    assert [str(finding) for finding in findings if finding.kind != "record without floor"] == []


def test_the_waivers_can_be_read() -> None:
    load_waivers(golden_folder(load_study("codes")), today=dt.datetime.now(dt.UTC).date())


def test_a_study_elsewhere_knows_nothing_of_its_neighbours(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text(
        (studies_folder() / "codes.toml").read_text().replace('"codes"', '"a"', 1)
    )
    (tmp_path / "b.toml").write_text('format = "slimgate-study/1"\nid = "b"\n')
    (tmp_path / "c.toml").write_text("no toml")
    (tmp_path / "pyproject.toml").write_text('id = "d"\n')
    study = load_study(tmp_path / "a.toml")
    assert list_studies(study, tmp_path / "golden") == {"a", "b"}
    assert list_studies(study, tmp_path / "other" / "golden") == set()
