"""An architecture is plain data: what it may say, and what each refusal says."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from slimgate.errors import InputError, UsageError
from slimgate.flow import Family
from slimgate.model import build_module
from slimgate.model.activation import activation_from_text, activations, text_from_activation
from slimgate.model.architecture import ACTIVATIONS, LAYERS, parse_activation
from slimgate.model.ultralytics_env import blocks
from torch import nn

from fixtures.detectors import tiny_architecture


@pytest.mark.parametrize("family", list(Family))
@pytest.mark.parametrize(
    ("change", "found"),
    [
        (lambda a: a.pop("head"), "best.pt: architecture: no head"),
        (lambda a: a.update(backbone={}), "backbone is not a list of rows of four"),
        (lambda a: a["backbone"][0].pop(), "backbone is not a list of rows of four"),
        (lambda a: a["head"].pop(), "layer 7 is not Detect"),
        (lambda a: a["backbone"][1].__setitem__(2, "Cnv"), r"layer 1 is 'Cnv' \(did you mean 'Conv'\?\)"),
        (lambda a: a["backbone"][1].__setitem__(2, "yaml_model_load"), "layer 1 is 'yaml_model_load'"),
        (lambda a: a["backbone"][1].__setitem__(2, "nn.Module"), "layer 1 is 'nn.Module'"),
        (lambda a: a["backbone"][1].__setitem__(3, ["/etc/passwd"]), r"layer 1 has arguments \['/etc/pas"),
        (lambda a: a["backbone"][1].__setitem__(3, [{}]), "layer 1 has arguments"),
        (lambda a: a["backbone"][1].__setitem__(3, [10**9, 3]), "layer 1 has arguments"),
        (lambda a: a["backbone"][1].__setitem__(1, 10**9), "layer 1 repeats 1000000000 times"),
        (lambda a: a["backbone"][1].__setitem__(0, 5), "layer 1 reads from 5"),
        (lambda a: a["backbone"][1].__setitem__(0, -3), "layer 1 reads from -3"),
        (lambda a: a.update(width_multiple=-1), "width_multiple is -1"),
        (lambda a: a.update(depth_multiple=float("nan")), "depth_multiple is nan"),
        (lambda a: a.update(scales={"n": [1, 1]}), "scales is"),
        (lambda a: a.update(activation="__import__('os').system('true')"), "not a known activation"),
        (lambda a: a.update(activations={"model.0.act": "exec('1')"}), "not a known activation"),
        (lambda a: a.update(activations={"model.77.act": "nn.ReLU()"}), "no activation at model.77.act"),
    ],
)
def test_what_is_not_plain_is_refused(
    family: Family, change: Callable[[dict[str, Any]], None], found: str
) -> None:
    architecture = copy.deepcopy(tiny_architecture(family))
    change(architecture)
    with pytest.raises(InputError, match=found):
        build_module(architecture, family=family, class_count=3, subject="best.pt")


def test_layers_that_do_not_fit_together() -> None:
    architecture = copy.deepcopy(tiny_architecture(Family.ULTRALYTICS))
    architecture["head"][0][3] = [None, 3, "nearest"]
    with pytest.raises(
        InputError, match=r"best.pt: architecture: its layers do not fit together \(RuntimeError"
    ):
        build_module(architecture, family=Family.ULTRALYTICS, class_count=3, subject="best.pt")


@pytest.mark.parametrize("class_count", [0, -1, 10**9])
def test_an_impossible_class_count(class_count: int) -> None:
    with pytest.raises(InputError, match=f"nc is {class_count}"):
        build_module(tiny_architecture(Family.ULTRALYTICS), family="ultralytics", class_count=class_count)


def test_an_unknown_family() -> None:
    with pytest.raises(UsageError, match="unknown detector family; did you mean 'ultralytics'"):
        build_module(tiny_architecture(Family.ULTRALYTICS), family="ultralytic", class_count=3)


def test_building_does_not_change_the_architecture() -> None:
    for family in Family:
        architecture = tiny_architecture(family)
        before = copy.deepcopy(architecture)
        build_module(architecture, family=family, class_count=5)
        assert architecture == before


@pytest.mark.parametrize("family", list(Family))
@pytest.mark.parametrize("class_count", [1, 3, 80])
def test_the_class_count_decides_the_scores(family: Family, class_count: int) -> None:
    module = build_module(tiny_architecture(family), family=family, class_count=class_count)
    with torch.no_grad():
        assert module(torch.zeros(2, 3, 64, 64)).shape[:2] == (2, 4 + class_count)


def test_every_layer_name_exists() -> None:
    for family, names in LAYERS.items():
        for name in names:
            home = nn if name.startswith("nn.") else blocks
            assert hasattr(home, name.removeprefix("nn.")), (family, name)


@pytest.mark.parametrize("name", sorted(ACTIVATIONS))
def test_an_activation_survives_its_text(name: str) -> None:
    arguments = ", ".join(["0.25"] * len(ACTIVATIONS[name]))
    built = activation_from_text(f"torch.nn.{name}({arguments})", subject="x")
    assert type(built) is getattr(nn, name)
    text = text_from_activation(built, name)
    assert text == f"nn.{name}({arguments})"
    x = torch.linspace(-3, 3, 7)
    assert torch.equal(activation_from_text(text, subject="x")(x), built(x))


@pytest.mark.parametrize("text", ["nn.SiLU(inplace=True)", "nn.LeakyReLU(0.1, True)", "nn.ReLU( )"])
def test_upstream_spellings_of_activations(text: str) -> None:
    parse_activation(text, subject="x")


@pytest.mark.parametrize(
    "text", ["SiLU", "nn.SiLu()", "nn.SiLU(0.1)", "nn.ReLU(os.system('x'))", "nn.LeakyReLU('a')", 3, ""]
)
def test_what_is_no_activation(text: str) -> None:
    with pytest.raises(InputError, match=r"best.pt: activation .*: not a known activation"):
        parse_activation(text, subject="best.pt")


def test_each_layer_has_an_activation_of_its_own() -> None:
    for family in Family:
        module = build_module(tiny_architecture(family), family=family, class_count=3)
        found = [activation for _, activation in activations(module)]
        assert len(found) == len({id(activation) for activation in found}) > 10
