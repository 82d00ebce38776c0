"""Which groups go back to float, and when: decisions on numbers written by hand."""

import numpy as np
import onnx
import pytest
from slimgate.compress.quantize import QuantizationSettings
from slimgate.compress.quantize.noise import Noise, tensor_noise
from slimgate.compress.quantize.sensitivity import Group, group_convolutions, rank_groups, return_groups
from slimgate.errors import InputError, UsageError


def _group(name, *, macs=100, noise=0.0, drop=None):
    return Group(name=name, nodes=(f"{name}/Conv",), macs=macs, noise=noise, drop=drop)


def test_convolutions_are_grouped_by_block_and_the_head_by_branch():
    macs = {
        "/model.0/conv/Conv": 1,
        "/model.2/cv1/conv/Conv": 2,
        "/model.2/m/m.0/cv1/conv/Conv": 3,
        "/model.24/cv2.0/cv2.0.0/conv/Conv": 4,
        "/model.24/cv2.0/cv2.0.1/conv/Conv": 5,
        "/model.24/cv3.1/cv3.1.0/conv/Conv": 6,
        "stranger": 7,
    }
    found = {group.name: group.macs for group in group_convolutions(macs)}
    expected = {"model.0": 1, "model.2": 5, "model.24/cv2.0": 9, "model.24/cv3.1": 6, "stranger": 7}
    assert found == expected


def test_most_noise_per_multiply_accumulate_goes_first_and_a_measured_drop_beats_noise():
    groups = [_group("wide", macs=1000, noise=0.2), _group("thin", macs=10, noise=0.1), _group("clean")]
    assert [group.name for group in rank_groups(groups)] == ["thin", "wide", "clean"]
    measured = [
        _group("wide", macs=1000, noise=0.2, drop=0.5),
        _group("thin", macs=10, noise=0.1, drop=0.0),
        _group("gains", macs=10, noise=0.3, drop=-0.1),
    ]
    # What loses nothing, or gains, is ordered by its noise.
    assert [group.name for group in rank_groups(measured)] == ["wide", "gains", "thin"]


def test_groups_go_back_until_the_budget_is_kept_and_no_further():
    costs = {"a": 0.004, "b": 0.003, "c": 0.001}
    ranked = [_group(name) for name in costs]

    def drop_with(floats):
        return sum(costs.values()) - sum(costs[group.name] for group in floats)

    chosen, steps = return_groups(ranked, budget=0.002, drop_with=drop_with)
    assert [group.name for group in chosen] == ["a", "b"]
    assert steps == pytest.approx((0.008, 0.004, 0.001))
    assert return_groups(ranked, budget=0.01, drop_with=drop_with) == ((), (pytest.approx(0.008),))


def test_what_turned_out_not_to_be_needed_is_taken_away_again():
    ranked = [_group("noisy", macs=500), _group("guilty", macs=10)]

    def drop_with(floats):
        return 0.0 if any(group.name == "guilty" for group in floats) else 0.01

    chosen, steps = return_groups(ranked, budget=0.002, drop_with=drop_with)
    assert [group.name for group in chosen] == ["guilty"]
    assert steps == (0.01, 0.01, 0.0, 0.0)


def test_noise_by_hand():
    noise = Noise()
    noise.add(np.array([3.0, 4.0], np.float32), np.array([3.0, 4.5], np.float32))
    noise.add(np.array([0.0], np.float32), np.array([0.0], np.float32))
    assert (noise.signal, noise.error) == (25.0, 0.25)
    assert noise.sqnr_db == pytest.approx(20.0)
    exact, silent = Noise(), Noise()
    exact.add(np.ones(2, np.float32), np.ones(2, np.float32))
    silent.add(np.zeros(1, np.float32), np.ones(1, np.float32))
    assert (exact.ratio, exact.sqnr_db) == (0.0, None)
    assert (silent.ratio, silent.sqnr_db) == (float("inf"), None)


def _scaled(factor):
    node = onnx.helper.make_node("Mul", ["images", "factor"], ["predictions"], "scale")
    tensor = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        [node],
        "graph",
        [tensor("images", onnx.TensorProto.FLOAT, ["n", 3, 2, 2])],
        [tensor("predictions", onnx.TensorProto.FLOAT, ["n", 3, 2, 2])],
        [onnx.numpy_helper.from_array(np.array(factor, np.float32), "factor")],
    )
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)


def test_noise_of_a_tensor_between_two_models():
    images = [np.full((1, 3, 2, 2), value, np.float32) for value in (1.0, 2.0)]
    found = tensor_noise(_scaled(1.0), _scaled(1.1), iter(images), ["predictions"])
    assert found["predictions"].sqnr_db == pytest.approx(20.0, abs=1e-4)


def test_noise_without_images():
    with pytest.raises(InputError, match="quantisation noise: no images\n  expected: at least one calib"):
        tensor_noise(_scaled(1.0), _scaled(1.0), iter(()), ["predictions"])


@pytest.mark.parametrize("images", [np.zeros((1, 3, 4, 4), np.float32), np.zeros((1, 3, 2, 2))])
def test_images_of_another_size_or_type(images):
    with pytest.raises(InputError, match=r"calibration images: \(1, 3, \d, \d\) of float") as caught:
        tensor_noise(_scaled(1.0), _scaled(1.0), [images], ["predictions"])
    assert "expected: (n, 3, 2, 2) of float32: the size that the network was exported at" in str(caught.value)
    assert "letterbox the images" in str(caught.value)


def test_settings_are_checked_and_say_only_what_is_not_the_default():
    assert QuantizationSettings().to_json() == {}
    assert QuantizationSettings(observer="mse", budget=0.002).to_json() == {
        "observer": "mse",
        "budget": 0.002,
    }
    with pytest.raises(UsageError, match="observer 'msee': unknown observer; did you mean 'mse'"):
        QuantizationSettings(observer="msee")
    with pytest.raises(UsageError, match="budget 2: not a share of mAP\n  expected: the drop of mAP50-95"):
        QuantizationSettings(budget=2)
