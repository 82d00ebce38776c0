from __future__ import annotations

import pytest
from slimgate.report import numbers


@pytest.mark.parametrize(
    "show",
    [
        numbers.show_fraction,
        numbers.show_change,
        numbers.show_percent,
        numbers.show_bytes,
        numbers.show_count,
        numbers.show_flops,
        numbers.show_ms,
        numbers.show_seconds,
        numbers.show_ratio,
        numbers.show_interval,
        numbers.show_duration,
    ],
)
def test_a_number_that_does_not_exist_is_a_dash(show) -> None:
    assert show(None) == "–"


@pytest.mark.parametrize(
    ("value", "text"), [(0.84123, "0.8412"), (0.0, "0.0000"), (-0.00001, "0.0000"), (-0.62, "−0.6200")]
)
def test_a_fraction_has_four_digits(value: float, text: str) -> None:
    assert numbers.show_fraction(value) == text


@pytest.mark.parametrize(
    ("value", "text"), [(0.0, "±0"), (0.00001, "+0.0000"), (-0.0012, "−0.0012"), (0.0123, "+0.0123")]
)
def test_only_no_change_at_all_is_written_as_none(value: float, text: str) -> None:
    assert numbers.show_change(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.00 kB"),
        (7_536_354, "7.54 MB"),
        (12_500_000, "12.5 MB"),
        (999_960, "1.00 MB"),
        (3.2e9, "3.20 GB"),
    ],
)
def test_bytes_have_three_digits_and_a_decimal_unit(value: int, text: str) -> None:
    assert numbers.show_bytes(value) == text


@pytest.mark.parametrize(
    ("value", "text"), [(7, "7"), (9_999, "9999"), (941_000, "941 k"), (1_867_405, "1.87 M")]
)
def test_small_counts_are_written_in_full(value: int, text: str) -> None:
    assert numbers.show_count(value) == text


@pytest.mark.parametrize(
    ("value_s", "text"),
    [(0.0121, "12.1"), (0.000453, "0.453"), (0.705, "705"), (9.137, "9137"), (1.2e-8, "1.2e-05"), (0, "0")],
)
def test_milliseconds_have_three_digits_and_never_round_to_nothing(value_s: float, text: str) -> None:
    assert numbers.show_ms(value_s) == text


def test_an_interval_never_looks_like_a_point() -> None:
    assert numbers.show_interval((0.61, 0.63)) == "0.61–0.63"
    assert numbers.show_interval((0.612, 0.614)) == "0.612–0.614"


@pytest.mark.parametrize(("value", "text"), [(59.4, "59 s"), (60.0, "1 min 0 s"), (312.5, "5 min 12 s")])
def test_a_duration_has_minutes(value: float, text: str) -> None:
    assert numbers.show_duration(value) == text
