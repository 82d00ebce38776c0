from __future__ import annotations

import pytest
from slimgate.errors import UsageError
from slimgate.measure import METRICS, metric_for

UNITS = {"fraction", "bytes", "seconds", "ratio", "count", "flops"}


def test_every_metric_has_a_unit_of_flow_and_its_own_name() -> None:
    assert {metric.unit for metric in METRICS.values()} <= UNITS
    assert all(name == metric.name for name, metric in METRICS.items())
    assert all(metric.unit == "seconds" for name, metric in METRICS.items() if name.endswith("_s"))
    assert all(metric.unit == "bytes" for name, metric in METRICS.items() if name.endswith("_bytes"))


@pytest.mark.parametrize(
    ("name", "better"),
    [
        ("map50_95", True),
        ("f1", True),
        ("miss_rate", False),
        ("latency_ratio_b32", False),
        ("int8_share", True),
    ],
)
def test_direction(name: str, better: bool) -> None:
    assert metric_for(name).higher_is_better is better


def test_recall_exists_for_every_class() -> None:
    metric = metric_for("recall/traffic light")
    assert (metric.unit, metric.higher_is_better) == ("fraction", True)
    assert "'traffic light'" in metric.meaning


@pytest.mark.parametrize("name", ["map50_59", "recall/", "nms_typical"])
def test_unknown_metric_names_the_nearest_and_lists_all(name: str) -> None:
    with pytest.raises(UsageError, match=f"metric '{name}': unknown metric; did you mean") as caught:
        metric_for(name)
    assert "recall/<class>" in str(caught.value)
    assert "size_bytes" in str(caught.value)


def test_accuracy_exists_for_every_further_set_under_its_name() -> None:
    metric = metric_for("map50_95[codes:test]")
    assert (metric.name, metric.unit, metric.higher_is_better) == ("map50_95[codes:test]", "fraction", True)
    assert metric.meaning.endswith(", on codes:test")
    assert not metric_for("misses[codes:test]").higher_is_better
    assert "'qrcode'" in metric_for("recall/qrcode[data/hard.json]").meaning


@pytest.mark.parametrize("name", ["latency_ratio_b8", "latency_ratio_same_b128"])
def test_a_ratio_of_times_exists_for_every_batch_size(name: str) -> None:
    metric = metric_for(name)
    assert (metric.name, metric.unit, metric.higher_is_better) == (name, "ratio", False)
    assert metric.meaning.endswith(f", batch {name.rpartition('b')[2]}")


@pytest.mark.parametrize(
    "name", ["latency_ratio_b0", "latency_ratio_b", "latency_ratio_b08", "latency_ratio_same"]
)
def test_what_is_no_batch_size_has_no_ratio(name: str) -> None:
    with pytest.raises(UsageError, match="unknown metric") as caught:
        metric_for(name)
    assert "latency_ratio_b<N>" in str(caught.value)


@pytest.mark.parametrize("name", ["size_bytes[codes:test]", "map50_95[]", "recall/[codes:test]", "f2[x]"])
def test_what_is_not_of_a_set_has_no_metric_there(name: str) -> None:
    with pytest.raises(UsageError, match="unknown metric") as caught:
        metric_for(name)
    assert "<metric>[<set>]" in str(caught.value)
