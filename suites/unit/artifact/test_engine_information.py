"""The inspector's JSON, as TensorRT 8 to 11 write it: what the convolutions of an engine really run in."""

import json

import pytest
from slimgate.artifact.engine_information import (
    check_executed,
    executed_precisions,
    shares_from_engine_information,
)
from slimgate.errors import InputError

STEM, BODY, UP, HEAD = (
    "/model.0/conv/Conv",
    "/model.1/conv/Conv",
    "/model.11/ConvTranspose",
    "/model.24/cv2/Conv",
)
CONVOLUTIONS = {
    STEM: {"macs": 200, "precision": "int8"},
    BODY: {"macs": 600, "precision": "int8"},
    UP: {"macs": 190, "precision": "int8"},
    HEAD: {"macs": 10, "precision": "fp32"},
}
INT8 = "Thirty-two wide channel vectorized row major Int8 format"
HALF = "Channel major FP16 format where channel % 8 == 0"
FLOAT = "Row major linear FP32"


def tensor(text, name="x"):
    return {"Name": name, "Location": "Device", "Dimensions": [1, 16, 80, 80], "Format/Datatype": text}


def layer(nodes, text, kind="CaskConvolution", weights=None, separator="\x1e", **more):
    value = {
        "Name": " + ".join(nodes),
        "LayerType": kind,
        "Inputs": [tensor(text)],
        "Outputs": [tensor(text)],
        "ParameterType": "Convolution",
        "TacticName": "sm80_xmma_fprop_implicit_gemm_interleaved_i8i8_i8i32_f32_tilesize64x64x64_stage6",
        "StreamId": 0,
        "Metadata": separator.join(f"[ONNX Layer: {node}]" for node in nodes),
        **more,
    }
    return value | ({"Weights": {"Type": weights, "Count": 4608}} if weights else {})


def reformat(node, before, after):
    return {
        "Name": f"Reformatting CopyNode for Input Tensor 0 to {node}",
        "LayerType": "Reformat",
        "Inputs": [tensor(before)],
        "Outputs": [tensor(after)],
        "ParameterType": "Reformat",
        "Origin": "REFORMAT",
        "TacticValue": "0x00000000000003ea",
        "Metadata": f"[ONNX Layer: {node}]",
    }


def information(*layers):
    return json.dumps({"Layers": list(layers), "Bindings": ["images", "predictions"]})


def engine_of_tensorrt_10():
    quantize = f"{BODY}/weight_QuantizeLinear"
    return information(
        reformat(STEM, FLOAT, INT8),
        layer([STEM, "/model.0/act/Sigmoid", "/model.0/act/Mul"], INT8, weights="Int8"),
        layer([quantize, BODY], INT8, weights="Int8", separator="\x1f"),
        layer([UP], INT8, kind="CaskDeconvolutionV2", weights="Int8", separator=""),
        layer([HEAD], FLOAT, weights="Float", TacticName="sm80_xmma_fprop_implicit_gemm_f32f32_f32f32"),
    )


def test_shares_of_an_int8_engine():
    assert shares_from_engine_information(engine_of_tensorrt_10(), CONVOLUTIONS) == {
        "fp32": 0.01,
        "int8": 0.99,
    }
    assert check_executed("m.engine", engine_of_tensorrt_10(), CONVOLUTIONS) == {"fp32": 0.01, "int8": 0.99}


def test_a_reformat_in_front_of_a_convolution_is_none():
    """It carries the convolution's metadata, and turns float into INT8: neither makes the convolution float."""
    assert executed_precisions(engine_of_tensorrt_10(), [STEM]) == {STEM: "int8"}


def test_pieces_that_were_fused_elsewhere_do_not_decide():
    pointwise = layer([BODY, "/model.1/act/Mul"], FLOAT, kind="kgen", TacticName="__myl_SiluMul_0x1f")
    pointwise |= {"ParameterType": "Kgen"}
    found = executed_precisions(information(layer([BODY], INT8, weights="Int8"), pointwise), [BODY])
    assert found == {BODY: "int8"}
    assert executed_precisions(information(pointwise), [BODY]) == {BODY: "fp32"}


def test_the_schema_of_tensorrt_11_has_type_and_format_apart():
    split = layer([BODY], "", weights="Int8")
    split["Inputs"] = [{"Name": "x", "DataType": "Int8", "Format": "Row major linear (kLINEAR)"}]
    text = json.dumps({"Layers": [split], "I/O Tensors": [{"Name": "images", "DataType": "Float"}]})
    assert executed_precisions(text, [BODY]) == {BODY: "int8"}


def test_old_engines_name_their_nodes_in_the_layer_name():
    old = layer([], HALF, weights="Half")
    old |= {"Name": f"model.1.conv.weight + {BODY} + PWN(PWN(/model.1/act/Sigmoid), /model.1/act/Mul)"}
    del old["Metadata"]
    assert executed_precisions(information(old), [BODY, "/model.1/act/Mul"]) == {
        BODY: "fp16",
        "/model.1/act/Mul": "fp16",
    }


@pytest.mark.parametrize(
    ("text", "weights", "tactic", "found"),
    [
        (INT8, "Int8", "", "int8"),
        (INT8, None, "", "int8"),
        (INT8, "Half", "", "fp16"),
        (HALF, "Half", "", "fp16"),
        ("Half NHWC", None, "", "fp16"),
        ("Float", "Int8", "", "fp32"),
        ("BFloat16", None, "", "bf16"),
        ("N/A due to dynamic shapes", "Int8", "sm80_xmma_fprop_i8i8_i8i32", "int8"),
        ("N/A due to dynamic shapes", "Int8", "", "unknown"),
        ("N/A due to dynamic shapes", "Half", "", "fp16"),
        ("N/A due to dynamic shapes", None, "sm80_xmma_fprop_i8i8_i8i32", "unknown"),
    ],
)
def test_activation_and_weight_decide_together(text, weights, tactic, found):
    one = layer([BODY], text, weights=weights, TacticName=tactic)
    assert executed_precisions(information(one), [BODY]) == {BODY: found}


def test_an_fp32_engine_that_is_called_int8_is_red():
    """The planted fault: the graph says INT8, the engine runs in float."""
    text = information(*(layer([name], FLOAT, weights="Float") for name in CONVOLUTIONS))
    with pytest.raises(InputError) as caught:
        check_executed("m.engine", text, CONVOLUTIONS)
    assert str(caught.value).startswith(
        "m.engine: 99.0% of the convolution MACs run in another precision: "
        "/model.0/conv/Conv (int8 runs in fp32), "
    )
    assert "expected: what the graph says, within 1%\n" in str(caught.value)
    assert shares_from_engine_information(text, CONVOLUTIONS) == {"fp32": 1.0}


def test_a_convolution_without_a_layer_is_not_proven():
    text = information(layer([STEM], INT8, weights="Int8"))
    assert shares_from_engine_information(text, CONVOLUTIONS) == {"int8": 0.2, "unknown": 0.8}
    with pytest.raises(InputError, match=r"/model\.1/conv/Conv \(int8 runs in unknown\)"):
        check_executed("m.engine", text, CONVOLUTIONS)


def test_one_small_convolution_may_differ():
    others = [layer([name], INT8, weights="Int8") for name in CONVOLUTIONS]
    assert check_executed("m.engine", information(*others), CONVOLUTIONS) == {"int8": 1.0}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", r"no JSON with Layers \(JSONDecodeError"),
        ("{}", r"no JSON with Layers \(KeyError: 'Layers'\)"),
        ("[]", r"no JSON with Layers \(TypeError"),
        ('{"Layers": []}', "no layers"),
        ('{"Layers": ["/model.0/conv/Conv"]}', "layer names alone"),
    ],
)
def test_what_is_no_detailed_information(text, found):
    with pytest.raises(InputError, match=f"engine inspector: {found}") as caught:
        executed_precisions(text, [BODY])
    assert "DETAILED verbosity" in str(caught.value)


def test_no_convolutions_no_shares():
    assert shares_from_engine_information(engine_of_tensorrt_10(), {}) == {}
