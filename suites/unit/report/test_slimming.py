"""The sections of a study that slims: factors, widths, controls, training, further sets, other confidences."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from slimgate.errors import InputError
from slimgate.report import render_terminal, write_report
from slimgate.report.attribution import UNATTRIBUTED, attribution_table
from slimgate.report.load import load_checked
from slimgate.report.rows import Row, list_rows
from slimgate.report.slim import list_widths, slim_table
from slimgate.report.training import epochs_table, stages_of

from fixtures.case_records import BASELINE
from fixtures.pages import Page
from fixtures.runs import RunDraft
from fixtures.slim_records import draft_slim_run

SLIM = "codes/slim@onnxruntime"
GAINS = "Gains over controls"
SMALLER = "Against the FP32 original"


@pytest.fixture
def draft() -> RunDraft:
    return draft_slim_run()


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Page:
    return read_page(draft_slim_run().write(tmp_path_factory.mktemp("slim") / "run"))


def read_page(run_dir: Path) -> Page:
    page = Page()
    page.feed(write_report(run_dir).read_text(encoding="utf-8"))
    page.close()
    assert page.open_tags == []
    return page


def rows_of(draft: RunDraft, tmp_path: Path) -> tuple[dict[str, Any], list[Row]]:
    files = load_checked(draft.write(tmp_path / "run"))
    return dict(files.run), list_rows(files)


def gains_of(draft: RunDraft, tmp_path: Path) -> dict[tuple[str, str], tuple[str, str]]:
    """Return gain and reason by variant and control."""
    table = attribution_table(*rows_of(draft, tmp_path))
    assert table is not None
    return {(row[0].text, row[1].text): (row[4].text, row[-1].text) for row in table.rows}


def test_factors_are_against_the_original_in_the_same_runtime(page: Page) -> None:
    row = page.row(SMALLER, "slim", "onnxruntime")
    below = dict(zip(row, page.below[SMALLER][2], strict=True))
    assert (row["mAP50"], row["mAP50-95"], row["Parameters"]) == ("0.9610", "0.8610", "246 k")
    assert below["Parameters"] == below["FLOPs"] == below["File"] == "÷ 7.6"
    assert row["Latency ratio"] == "0.40 (0.38–0.42)"
    assert below["Latency ratio"] == "÷ 2.5 (2.4–2.6)"
    assert page.below[SMALLER][1][5:8] == ["", "", ""]


def test_int8_is_in_the_same_table(page: Page) -> None:
    row = page.row(SMALLER, "slim-int8", "onnxruntime")
    assert (row["File"], row["FLOPs"]) == ("401 kB", page.row(SMALLER, "slim", "onnxruntime")["FLOPs"])


@pytest.mark.parametrize(
    ("changes", "below"),
    [
        ({"interval": [0.95, 1.05], "ratio": 1.0}, "no difference shown"),
        ({"why_invalid": "too busy"}, "cannot be judged"),
        ({"baseline": "codes/fp32@openvino"}, "faster, against fp32@openvino"),
    ],
)
def test_a_speed_that_is_not_shown_has_no_factor(
    draft: RunDraft, tmp_path: Path, changes: dict[str, Any], below: str
) -> None:
    draft.cases[SLIM]["latency"]["batch1"].update(changes)
    table = slim_table(rows_of(draft, tmp_path)[1])
    assert table is not None
    assert table.rows[1][-1].below == below


def test_nothing_slimmed_is_no_section(run_draft: RunDraft, tmp_path: Path) -> None:
    page = read_page(run_draft.write(tmp_path / "run"))
    assert not {SMALLER, GAINS} & set(page.tables)
    assert "What the gain is owed to" not in page.text


def test_widths_name_what_is_exempt_and_what_is_unaligned(draft: RunDraft, tmp_path: Path) -> None:
    widths = {one.variants[0]: one for one in list_widths(rows_of(draft, tmp_path)[1])}
    assert set(widths) == {"slim", "scratch", "half"}
    assert widths["slim"].variants == ["slim", "slim-int8"]
    assert (widths["slim"].unaligned, widths["slim"].exempt) == (["model.1.conv"], ["model.24.cv3.0.2"])
    first, second, third = widths["slim"].table.rows
    assert [cell.text for cell in first] == ["model.0.conv", "16", "8", "50 %", "yes"]
    assert second[-1].text == "no multiple of 8"
    assert third[-1].text == "exempt: class outputs"
    assert first[2].share == 0.5


def test_a_gain_has_both_numbers_and_both_epochs(page: Page) -> None:
    dense = page.row(GAINS, "slim@onnxruntime", "dense")
    assert (dense["Epochs"], dense["mAP50-95"], dense["Gain"]) == ("28 / 28", "0.8610", "−0.0110")
    assert dense["Gain, codes:test"] == "−0.0110"
    assert page.row(GAINS, "slim@onnxruntime", "scratch")["Gain"] == "+0.0710"
    assert "0.8720" in [row[3] for row in page.below[GAINS]]


def test_controls_are_not_asked_for_controls_of_their_own(page: Page) -> None:
    assert [row[0] for row in page.tables[GAINS][1:]] == ["slim@onnxruntime"] * 2 + [
        "half@onnxruntime",
        "slim-int8@onnxruntime",
    ]
    row = page.row(GAINS, "half@onnxruntime")
    assert (row["Gain"], row["Why"]) == (UNATTRIBUTED, "no control is named")


def _stages(draft: RunDraft, name: str) -> list[dict[str, Any]]:
    return draft.run["trainings"][f"key-{name}"]["stages"]


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (lambda d: d.cases[SLIM]["controls"].pop("dense"), "no dense control is named"),
        (lambda d: d.cases.pop("codes/dense@onnxruntime"), "dense was not measured on onnxruntime"),
        (
            lambda d: d.cases["codes/dense@onnxruntime"].pop("accuracy"),
            "dense was not measured on onnxruntime",
        ),
        (
            lambda d: d.cases["codes/dense@onnxruntime"].update(precision="int8"),
            "dense is int8, the variant fp32",
        ),
        (lambda d: d.cases["codes/dense@onnxruntime"].pop("training"), "no training record of dense"),
        (lambda d: d.cases[SLIM].pop("training"), "no training record of slim"),
        (lambda d: _stages(d, "dense").pop(), "28 epochs, the control 11"),
        (lambda d: _stages(d, "dense")[1].update(epochs_done=16), "28 epochs, the control 27"),
        (
            lambda d: _stages(d, "dense")[1]["data"]["train"].update(images=3000),
            "trained on other pictures: codes:train c13b0000 (10000 pictures), the control on codes:train "
            "c13b0000 (10000 pictures), codes:train c13b0000 (3000 pictures)",
        ),
        (
            lambda d: _stages(d, "dense")[1]["data"]["train"].pop("digest"),
            "the training record of dense does not say what it was trained on",
        ),
        (
            lambda d: _stages(d, "slim").insert(0, {"operation": "rederive", "unknown": "inherits from x"}),
            "the record of slim does not reach back: it inherits from x",
        ),
        (
            lambda d: d.cases["codes/dense@onnxruntime"]["model"].update(parameters=470_000),
            "dense has 470 k parameters, the original 1.87 M",
        ),
    ],
)
def test_without_a_comparable_control_no_gain_is_claimed(
    draft: RunDraft, tmp_path: Path, spoil: Callable[[RunDraft], object], why: str
) -> None:
    spoil(draft)
    draft.run["cases"] = list(draft.cases)
    found = gains_of(draft, tmp_path)
    against = next(control for name, control in found if name == "slim@onnxruntime" and control != "scratch")
    assert found["slim@onnxruntime", against] == (UNATTRIBUTED, why)


def test_a_scratch_control_started_from_random_weights_and_is_as_slim(
    draft: RunDraft, tmp_path: Path
) -> None:
    _stages(draft, "scratch")[0]["init"] = "yolov5n.pt"
    assert gains_of(draft, tmp_path)["slim@onnxruntime", "scratch"] == (
        UNATTRIBUTED,
        "the record of scratch does not say that it started from random weights",
    )


def test_a_rederived_scratch_control_says_so_in_its_lineage(draft: RunDraft, tmp_path: Path) -> None:
    _stages(draft, "scratch")[0]["init"] = "slim.safetensors"
    step = {"operation": "rederive", "settings": {}, "notes": {"inherited": 0}}
    draft.cases["codes/scratch@onnxruntime"]["lineage"].append(step)
    assert gains_of(draft, tmp_path)["slim@onnxruntime", "scratch"][0] == "+0.0710"


def test_a_scratch_control_may_be_trained_as_long_as_the_variant_since_the_original(
    draft: RunDraft, tmp_path: Path
) -> None:
    _stages(draft, "scratch")[0] |= {"epochs_done": 17}
    row = read_page(draft.write(tmp_path / "since")).row(GAINS, "slim@onnxruntime", "scratch")
    assert (row["Epochs"], row["Gain"]) == ("28 / 17", "+0.0710")
    assert row["Why"].endswith("since the original, which had 11 epochs before")
    _stages(draft, "scratch")[0] |= {"epochs_done": 16}
    row = read_page(draft.write(tmp_path / "shorter")).row(GAINS, "slim@onnxruntime", "scratch")
    assert (row["Gain"], row["Why"]) == (UNATTRIBUTED, "17 epochs, the control 16")


def test_weights_of_another_origin_have_no_epochs_to_leave_out(draft: RunDraft, tmp_path: Path) -> None:
    _stages(draft, "slim")[0] = {**_stages(draft, "slim")[0], "epochs_done": 10}
    _stages(draft, "scratch")[0]["epochs_done"] = 17
    assert gains_of(draft, tmp_path)["slim@onnxruntime", "scratch"] == (
        UNATTRIBUTED,
        "27 epochs, the control 17",
    )


def test_epochs_and_pictures_of_all_stages(page: Page) -> None:
    row = page.row("Epochs of each variant", "slim")
    assert (row["Epochs"], row["Stages"]) == ("28", "train 11 + sparsify 5 + finetune 12")
    assert (row["Pictures seen"], row["Trained on"]) == ("280 k", "codes:train (10000)")
    assert row["Started from"] == "yolov5n.pt"
    stages = page.row("Stages of slim", "2 sparsify")
    assert (stages["Went on"], stages["mAP50-95"]) == ("epoch 5, the last", "0.790")


def test_records_of_the_first_release_are_read(draft: RunDraft, tmp_path: Path) -> None:
    old = {"init": "yolov5n.pt", "curve": [{"epoch": 1.0, "box_loss": 1.5, "map50_95": 0.4}]}
    draft.run["trainings"]["key-fp32"] = {"stages": [old]}
    run, rows = rows_of(draft, tmp_path)
    (only,) = stages_of(run, next(row for row in rows if row.is_baseline))
    assert (only.operation, only.epochs, only.images, only.digest) == ("train", 1, None, "")
    table = epochs_table(run, rows)
    assert table is not None
    assert [cell.text for cell in table.rows[0]] == ["fp32", "1", "train 1", "–", "–", "yolov5n.pt"]


def test_training_is_drawn_stage_by_stage(page: Page) -> None:
    labels = [value for tag, name, value in page.attributes if (tag, name) == ("svg", "aria-label")]
    mine = [label for label in labels if " of slim per epoch: train 11, sparsify 5, finetune 12" in label]
    assert [label.partition(" of slim")[0] for label in mine] == [
        "Losses in training",
        "Accuracy in validation",
        "Learning rate",
        "Share of small gammas",
    ]
    assert not any("gammas of dense" in label for label in labels)


def test_every_set_has_its_totals_and_classes(page: Page) -> None:
    row = page.row("All classes together, codes:test", "slim@onnxruntime")
    assert (row["mAP50-95"], row["TP"]) == ("0.7710", "1234")
    assert page.row("slim@onnxruntime by class, codes:test", "qrcode")["Misses"]
    assert "Score shift" not in row


def test_the_best_f1_of_every_set_and_its_confidence(page: Page) -> None:
    row = page.row("F1 and the best F1", "slim@onnxruntime")
    assert (row["Best F1"], row["at"]) == ("0.9110", "0.40")
    assert row["Best F1, codes:test"] == "0.9110"
    labels = [value for tag, name, value in page.attributes if (tag, name) == ("svg", "aria-label")]
    for rate in ("Precision", "Recall", "F1"):
        assert f"{rate} of slim@onnxruntime on codes:test against confidence, per class" in labels


def test_markdown_and_terminal_have_the_factors_and_the_gains(draft: RunDraft, tmp_path: Path) -> None:
    run_dir = draft.write(tmp_path / "run")
    write_report(run_dir)
    text = (run_dir / "report.md").read_text(encoding="utf-8")
    assert "### Smaller and faster" in text
    assert f"{UNATTRIBUTED}" in text
    screen = io.StringIO()
    render_terminal(run_dir, Console(file=screen, width=200))
    shown = screen.getvalue()
    assert (
        "slim@onnxruntime: File ÷ 7.6, Parameters ÷ 7.6, FLOPs ÷ 7.6, Latency ratio ÷ 2.5 (2.4–2.6)" in shown
    )
    assert "slim@onnxruntime against dense: gain −0.0110 (as many epochs" in shown
    assert "half@onnxruntime against –: gain unattributed (no control is named)" in shown


@pytest.mark.parametrize(
    ("spoil", "found"),
    [
        (lambda d: d.cases[BASELINE]["curves"]["all"]["f1"].pop(), "curves: not one value of each rate"),
        (lambda d: d.cases[BASELINE]["also"]["codes:test"]["curves"].pop("conf"), "also.codes:test.curves"),
        (lambda d: d.cases[SLIM]["widths"].update(x=[1, "2"]), "widths.x[1]: '2' is no finite number"),
        (lambda d: d.cases[SLIM].update(controls=["dense"]), "controls: ['dense'] is no table"),
        (
            lambda d: _stages(d, "slim")[0]["curve"][0].update(map50="high"),
            "trainings.key-slim.stages[0].curve[0].map50: 'high' is no finite number",
        ),
    ],
)
def test_records_that_are_not_whole_are_refused(
    draft: RunDraft, tmp_path: Path, spoil: Callable[[RunDraft], object], found: str
) -> None:
    spoil(draft)
    with pytest.raises(InputError) as refusal:
        write_report(draft.write(tmp_path / "run"))
    assert found in str(refusal.value)
