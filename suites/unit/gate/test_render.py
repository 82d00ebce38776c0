"""Floors as text: what is printed is what the schema reads."""

from __future__ import annotations

import tomllib

from slimgate.gate.render import (
    render_entry,
    render_floor,
    render_key,
    render_metric,
    render_number,
    render_text,
)

from fixtures.goldens import FP32, make_floor


def test_a_floor_is_printed_whole_with_its_own_reason_and_date() -> None:
    assert render_floor(make_floor(min=0.89, slack=0.01)) == (
        '{ min = 0.89, slack = 0.01, unit = "fraction", reason = "the first accepted run", date = 2026-11-20 }'
    )
    assert render_floor(make_floor(relative_to=FP32, max_drop=0.005)) == (
        '{ relative_to = "codes/fp32@onnxruntime", max_drop = 0.005, unit = "fraction", '
        'reason = "the first accepted run", date = 2026-11-20 }'
    )


def test_an_entry_without_reason_and_date_has_neither_key() -> None:
    assert render_entry({"max": "3"}, "count") == '{ max = 3, unit = "count" }'


def test_several_floors_of_a_metric_stand_on_a_line_each() -> None:
    assert render_metric("map50", ["{ min = 1 }"]) == "map50 = { min = 1 }"
    assert render_metric("recall/a", ["{ min = 1 }", "{ max = 2 }"]) == (
        '"recall/a" = [\n    { min = 1 },\n    { max = 2 },\n]'
    )


def test_keys_and_texts_are_toml() -> None:
    text = 'a "b" \\ \x7f ü'
    assert tomllib.loads(f"{render_key(text)} = {render_text(text)}") == {text: text}
    assert render_key("map50_95") == "map50_95"


def test_numbers_are_whole_where_they_are() -> None:
    numbers = (2.0, -3.0, 1.0, 0.0, 0.1 + 0.2, 2_900_000.0, 1.5)
    assert [render_number(one) for one in numbers] == ["2", "-3", "1", "0", "0.3", "2900000", "1.5"]
