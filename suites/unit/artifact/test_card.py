"""What a file says about itself."""

import ast
import json

import pytest
from slimgate.artifact.card import Card, card_from_metadata
from slimgate.flow import Family, Precision, Step

CARD = Card(
    name="codes",
    class_names=("a", "b"),
    image_size=64,
    stride=8,
    family=Family.ULTRALYTICS,
    batch=0,
    precision=Precision.INT8,
    target="x86",
    weights_sha256="0" * 64,
    head_nodes=("/head/Conv",),
    lineage=(Step(operation="prune", settings={"ratio": 0.3}, notes={"zeros": 3}),),
    facts={"ort_int8_conv_share": 0.9},
)


def test_a_card_survives_its_metadata():
    read = card_from_metadata(CARD.to_metadata(), name="other", image_size=1, batch=1)
    assert read == CARD


def test_the_keys_of_the_ultralytics_exporter_are_there():
    metadata = CARD.to_metadata()
    assert ast.literal_eval(metadata["names"]) == {0: "a", 1: "b"}
    assert ast.literal_eval(metadata["imgsz"]) == [64, 64]
    assert metadata["stride"] == "8"


@pytest.mark.parametrize("names", ["{0: 'a', 1: 'b'}", "['a', 'b']"])
def test_a_foreign_file_is_read_by_those_keys(names):
    read = card_from_metadata({"names": names, "stride": "16"}, name="best", image_size=64, batch=4)
    assert read is not None
    assert (read.name, read.class_names, read.stride, read.batch) == ("best", ("a", "b"), 16, 4)
    assert (read.family, read.weights_sha256, read.lineage) == (None, "", ())


def test_a_file_without_class_names_has_no_card():
    assert card_from_metadata({"producer": "x"}, name="m", image_size=64, batch=1) is None


def test_another_format_is_not_read():
    metadata = {"slimgate": json.dumps(CARD.to_json() | {"format": "slimgate-artifact/9"})}
    with pytest.raises(ValueError, match=r"format is slimgate-artifact/9, not slimgate-artifact/1"):
        card_from_metadata(metadata, name="m", image_size=64, batch=1)
