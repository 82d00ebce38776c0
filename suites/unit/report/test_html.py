from __future__ import annotations

import json
import re
import shlex
import socket
from pathlib import Path
from typing import Any

import pytest
from slimgate.flow import Case, Status
from slimgate.gate import NotProven
from slimgate.report import write_report
from slimgate.report.numbers import show_bytes, show_count, show_flops, show_fraction, show_ms, show_percent

from fixtures.case_records import BASELINE
from fixtures.pages import Page
from fixtures.runs import RunDraft, draft_run

NASTY = "<script>alert('class')</script>"


def read_page(run_dir: Path) -> Page:
    page = Page()
    page.feed(write_report(run_dir).read_text(encoding="utf-8"))
    page.close()
    assert page.open_tags == []
    return page


@pytest.fixture(scope="session")
def page(written_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Page:
    return read_page(draft_run().write(tmp_path_factory.mktemp("page") / "run"))


@pytest.fixture(scope="session")
def records(written_run: Path) -> dict[str, dict[str, Any]]:
    found = [json.loads(path.read_text()) for path in (written_run / "cases").glob("*.json")]
    assert len(found) == 20
    return {record["case"].partition("/")[2]: record for record in found}


def test_the_main_table_says_what_the_records_say(page: Page, records: dict[str, dict[str, Any]]) -> None:
    assert len(page.tables["Every case, worst first"]) == 1 + len(records)
    for name, record in records.items():
        row = page.row("Every case, worst first", *name.split("@"))
        coco, overall = record.get("accuracy", {}).get("coco", {}), record.get("confusion", {}).get("all", {})
        assert row["mAP50-95"] == show_fraction(coco.get("AP"))
        assert row["mAP50"] == show_fraction(coco.get("AP50"))
        assert row["Recall @0.5"] == show_fraction(overall.get("recall"))
        assert row["Size"] == show_bytes(record["artifact"]["size_bytes"])
        assert row["FLOPs"] == show_flops(record["model"]["flops"])
        assert row["Non-zero"] == show_count(record["model"]["nonzero_parameters"])
        assert row["NMS ms"] == show_ms(record.get("stages", {}).get("nms_s"))
        entry = record.get("latency", {}).get("batch1")
        expected = (
            "–"
            if entry is None
            else f"{entry['ratio']:.2f} ({entry['interval'][0]:.2f}–{entry['interval'][1]:.2f})"
        )
        assert row["Latency ratio"] == expected


def test_numbers_are_what_a_hand_reads_in_the_record(run_draft: RunDraft, tmp_path: Path) -> None:
    record = run_draft.cases["codes/int8@openvino"]
    record["accuracy"]["coco"].update(AP=0.123456, AP50=0.98765)
    record["confusion"]["all"]["recall"] = 0.5
    record["artifact"]["size_bytes"] = 2_345_678
    record["model"].update(flops=987_654_321, nonzero_parameters=1_234_567)
    record["stages"]["nms_s"] = 0.0004567
    record["latency"]["batch1"].update(ratio=0.4567, interval=[0.4411, 0.4722])
    row = read_page(run_draft.write(tmp_path / "run")).row("Every case, worst first", "int8", "openvino")
    assert list(row.values())[2:-1] == [
        "0.1235",
        "0.9877",
        "0.5000",
        "2.35 MB",
        "988 M",
        "1.23 M",
        "0.46 (0.44–0.47)",
        "0.457",
    ]


def test_all_12_coco_numbers_of_every_evaluated_case(page: Page, records: dict[str, dict[str, Any]]) -> None:
    evaluated = {name: record for name, record in records.items() if "accuracy" in record}
    assert len(page.tables["COCO's 12 numbers"]) == 1 + len(evaluated) == 18
    for name, record in evaluated.items():
        row = page.row("COCO's 12 numbers", name)
        assert len(row) == 13
        for number, value in record["accuracy"]["coco"].items():
            assert row[number] == f"{value:.3f}"


def test_every_class_of_every_case(page: Page, records: dict[str, dict[str, Any]]) -> None:
    keys = {"Objects": "instances", "TP": "tp", "FP": "fp", "FN": "fn", "Partial": "partial"}
    rates = {"Precision": "precision", "Recall": "recall", "F1": "f1"}
    for name, record in records.items():
        for label, counts in record.get("confusion", {}).get("per_class", {}).items():
            row = page.row(f"{name} by class", label)
            average = record["accuracy"]["per_class"][label]
            assert (row["AP"], row["AP50"]) == (f"{average['ap']:.3f}", f"{average['ap50']:.3f}")
            assert {title: row[title] for title in keys} == {t: str(counts[key]) for t, key in keys.items()}
            assert {title: row[title] for title in rates} == {
                t: f"{counts[key]:.3f}" for t, key in rates.items()
            }
            assert row["Miss rate"] == show_percent(counts["miss_rate"], 2)


def test_parity_with_torch_of_every_case_that_ran(page: Page, records: dict[str, dict[str, Any]]) -> None:
    caption = "Raw outputs against the same network in torch, float32"
    assert len(page.tables[caption]) == 1 + sum("parity" in record for record in records.values()) == 18
    row = page.row(caption, "int8@openvino")
    assert list(row.values())[1:] == ["0.2134", "0.0053", "6.8288", "0.0213", "61", "4"]
    assert page.row(caption, "fp32@torch")["Score, largest"] == "3.1e-06"


def test_a_run_without_parity_has_no_such_section(run_draft: RunDraft, tmp_path: Path) -> None:
    for record in run_draft.cases.values():
        record.pop("parity", None)
    page = read_page(run_draft.write(tmp_path / "run"))
    assert "Raw outputs against the same network in torch, float32" not in page.tables


def test_ap_by_iou_and_by_size(page: Page, records: dict[str, dict[str, Any]]) -> None:
    record = records["int8@openvino"]["accuracy"]
    row = page.row("AP by IoU threshold", "int8@openvino")
    assert {name: row[name] for name in record["ap_by_iou"]} == {
        name: f"{value:.3f}" for name, value in record["ap_by_iou"].items()
    }
    sizes = page.row("Accuracy by size of the object", "int8@openvino")
    assert sizes["AP small"] == f"{record['coco']['APs']:.3f}"
    assert sizes["AR large"] == f"{record['coco']['ARl']:.3f}"


def test_both_batches_are_compared_with_a_named_case(page: Page, records: dict[str, dict[str, Any]]) -> None:
    caption = "Latency ratios"
    row = page.row(caption, "int8@openvino")
    for batch in (1, 32):
        entry = records["int8@openvino"]["latency"][f"batch{batch}"]
        assert row[f"Batch {batch}"].startswith(f"{entry['ratio']:.2f} (")
    below = {
        cells[0]: small[0] for cells, small in zip(page.tables[caption], page.below[caption], strict=True)
    }
    assert below["int8@openvino"] == "against fp32@openvino"
    assert page.row(caption, "prune30-layer@onnxruntime")["Batch 32"] == "–"


def test_engines_say_that_they_never_ran(page: Page, records: dict[str, dict[str, Any]]) -> None:
    row = page.row("Engines", "int8@tensorrt-rtx-sm86")
    artifact = records["int8@tensorrt-rtx-sm86"]["artifact"]
    assert row["File"] == show_bytes(artifact["size_bytes"])
    assert row["Weight memory"] == show_bytes(artifact["facts"]["weight_memory_bytes"])
    assert row["Compute capability"] == "8.6"
    assert row["State"] == "built, not run: no NVIDIA GPU"


def test_worst_comes_first(run_draft: RunDraft, tmp_path: Path) -> None:
    run_draft.change_verdict("prune10-layer@onnxruntime", Status.FAIL)
    run_draft.change_verdict("int8@openvino", Status.STALE)
    rows = read_page(run_draft.write(tmp_path / "run")).tables["Every case, worst first"]
    assert [row[0] for row in rows[1:3]] == ["prune10-layer", "int8"]
    order = [row[-1] for row in rows[1:]]
    assert order == ["✕ FAIL", "↑ STALE", *["– NOT PROVEN"] * 3, *["✓ PASS"] * 15]


@pytest.mark.parametrize("status", [Status.FAIL, Status.INVALID, Status.INCONCLUSIVE, Status.STALE])
def test_messages_of_what_needs_attention_are_there_in_full(
    run_draft: RunDraft, tmp_path: Path, status: Status
) -> None:
    run_draft.change_verdict("int8@openvino", status)
    page = read_page(run_draft.write(tmp_path / "run"))
    loud = [verdict.message for verdict in run_draft.verdicts if verdict.status is status]
    assert len(loud) == 1
    assert loud[0] in page.text
    assert not any(one.message in page.text for one in run_draft.verdicts if one.status is Status.PASS)


def test_what_was_not_proven_is_told_once_per_reason(run_draft: RunDraft, tmp_path: Path) -> None:
    reason = "no latency floors for cpu:other: 'slimgate accept RUN_DIR' prints them"
    for variant in ("int8", "fp16"):
        case = Case.parse(f"codes/{variant}@openvino")
        run_draft.not_proven += [
            NotProven(case=case, metric=metric, reason=reason)
            for metric in ("latency_ratio_b1", "latency_ratio_b32")
        ]
    text = " ".join(read_page(run_draft.write(tmp_path / "run")).text.split())
    assert "7 that could not be measured or judged here" in text
    assert text.count(reason) == 1
    of_reason = text.partition(reason)[2]
    for variant in ("int8", "fp16"):
        assert f"codes/{variant}@openvino latency_ratio_b1, latency_ratio_b32" in of_reason


def test_missing_numbers_are_dashes(run_draft: RunDraft, tmp_path: Path) -> None:
    record = run_draft.cases["codes/int8@openvino"]
    del record["accuracy"]["coco"]["APs"], record["accuracy"]["coco"]["AP"]
    del record["confusion"]["per_class"]["qrcode"]["precision"]
    del record["accuracy"]["per_class"]["barcode"]["ap"]
    del record["stages"]["nms_s"], record["artifact"]["compressed_bytes"], record["model"]["flops"]
    del record["latency"]
    page = read_page(run_draft.write(tmp_path / "run"))
    main = page.row("Every case, worst first", "int8", "openvino")
    assert [main[name] for name in ("mAP50-95", "FLOPs", "Latency ratio", "NMS ms")] == ["–"] * 4
    coco = page.row("COCO's 12 numbers", "int8@openvino")
    assert (coco["AP"], coco["APs"]) == ("–", "–")
    assert page.row("Accuracy by size of the object", "int8@openvino")["AP small"] == "–"
    assert page.row("int8@openvino by class", "qrcode")["Precision"] == "–"
    assert page.row("int8@openvino by class", "barcode")["AP"] == "–"
    stages = page.row("Milliseconds per image, batch 1", "int8@openvino")
    assert (stages["NMS ms"], stages["Sum ms"]) == ("–", "–")


def test_a_run_of_nothing_but_engines_renders(run_draft: RunDraft, tmp_path: Path) -> None:
    kept = {name: record for name, record in run_draft.cases.items() if "tensorrt" in name}
    run_draft.cases = kept
    run_draft.run.update(cases=list(kept), baseline=None, pictures={})
    run_draft.verdicts, run_draft.pictures = [], ()
    page = read_page(run_draft.write(tmp_path / "run"))
    assert "NOTHING JUDGED" in page.text
    assert set(page.tables) == {
        "Every case, worst first",
        "Files, their contents, and the precision of their convolutions",
        "Engines",
        "Fingerprints",
    }


def test_the_page_loads_nothing_from_anywhere(
    page: Page, run_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loading = [
        (tag, name, value)
        for tag, name, value in page.attributes
        if name in ("src", "href", "xlink:href", "srcset", "data", "action", "poster")
    ]
    assert loading
    for tag, _, value in loading:
        assert value.startswith(("#", "data:image/jpeg;base64,")), f"{tag} loads {value[:60]}"
    monkeypatch.setattr(socket, "socket", lambda *_: pytest.fail("the report opened a connection"))
    text = write_report(run_dir).read_text(encoding="utf-8")
    assert not re.search(r"https?://|@import|url\(|<link|<iframe|<object|fetch\(", text)
    assert "default-src 'none'" in text


def test_links_within_the_page_lead_somewhere(page: Page) -> None:
    anchors = {value for _, name, value in page.attributes if name == "id"}
    targets = {value[1:] for _, name, value in page.attributes if name == "href" and value.startswith("#")}
    assert targets
    assert targets <= anchors
    ids = [value for _, name, value in page.attributes if name == "id"]
    assert len(ids) == len(set(ids))


def test_each_picture_is_embedded_once(page: Page) -> None:
    embedded = [value for tag, name, value in page.attributes if (tag, name) == ("image", "href")]
    assert len(embedded) == len(set(embedded)) == 2
    used = [value for tag, name, value in page.attributes if (tag, name) == ("use", "href")]
    # Ground truth and 17 cases for either picture.
    assert len(used) == 2 * 18


def test_drawings_and_tables_have_names_for_those_who_do_not_see_them(page: Page) -> None:
    images = sum((name, value) == ("role", "img") for _, name, value in page.attributes)
    labels = [value for tag, name, value in page.attributes if (tag, name) == ("svg", "aria-label")]
    assert images == len(labels) > 36
    assert all(labels)
    assert "Picture 17 as fp32@onnxruntime sees it: " in " ".join(labels)


def test_names_from_outside_are_never_markup(run_draft: RunDraft, tmp_path: Path) -> None:
    text = json.dumps(run_draft.run).replace('"qrcode"', json.dumps(NASTY))
    run_draft.run = json.loads(text)
    run_draft.run["study"]["title"] = run_draft.run["titles"][BASELINE] = NASTY
    run_draft.run["environment"]["cpu"] = NASTY
    run_draft.cases = {
        name: json.loads(json.dumps(record).replace('"qrcode"', json.dumps(NASTY)))
        for name, record in run_draft.cases.items()
    }
    run_draft.cases[BASELINE]["provider"] = NASTY
    path = run_draft.write(tmp_path / "run")
    page = read_page(path)
    raw = (path / "report.html").read_text(encoding="utf-8")
    assert raw.count("<script") == 1
    assert "alert(&#39;class&#39;)" in raw
    assert page.row("fp32@onnxruntime by class", NASTY)["TP"]
    assert NASTY in page.text


def test_the_commands_can_be_pasted(run_draft: RunDraft, tmp_path: Path) -> None:
    run_draft.run.update(filter="int8 and not 'x'; rm -rf ~", complete=False)
    page = read_page(run_draft.write(tmp_path / "run"))
    line = next(line for line in page.text.splitlines() if line.startswith("slimgate study codes"))
    assert shlex.split(line) == ["slimgate", "study", "codes", "-k", "int8 and not 'x'; rm -rf ~"]
    assert "git checkout 1234567890abcdef1234567890abcdef12345678" in page.text


def test_the_same_run_gives_the_same_bytes(run_dir: Path, tmp_path: Path, written_run: Path) -> None:
    first = write_report(run_dir).read_bytes()
    assert write_report(run_dir).read_bytes() == first
    elsewhere = draft_run().write(tmp_path / "another name")
    assert write_report(elsewhere).read_bytes() == first
    assert (elsewhere / "report.md").read_bytes() == (run_dir / "report.md").read_bytes()


def test_the_page_of_the_built_in_study_is_small(run_dir: Path) -> None:
    assert write_report(run_dir).stat().st_size < 500_000


def test_zeros_are_explained_only_where_there_are_any(
    run_draft: RunDraft, page: Page, tmp_path: Path
) -> None:
    assert "noise, not a speed-up" in page.text
    kept = {name: record for name, record in run_draft.cases.items() if "prune" not in name}
    run_draft.cases = kept
    run_draft.run["cases"] = list(kept)
    run_draft.verdicts = [one for one in run_draft.verdicts if str(one.case) in kept]
    assert "noise, not a speed-up" not in read_page(run_draft.write(tmp_path / "run")).text


def test_a_killed_write_leaves_the_old_page(run_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = write_report(run_dir)
    before = page.read_bytes()

    def full(self: Path, *_: object, **__: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(OSError, match="No space left"):
        write_report(run_dir)
    assert page.read_bytes() == before
    assert not list(run_dir.glob(".report*"))
