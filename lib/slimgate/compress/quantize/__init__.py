"""Decides how a detector is quantised: ranges from calibration, and what stays in float."""

from slimgate.compress.quantize.calibrate import observe_maxima, plan_quantization
from slimgate.compress.quantize.observe import OBSERVERS
from slimgate.compress.quantize.plan import QuantizationPlan
from slimgate.compress.quantize.sensitivity import Group, Sensitivity
from slimgate.compress.quantize.settings import QuantizationSettings

__all__ = [
    "OBSERVERS",
    "Group",
    "QuantizationPlan",
    "QuantizationSettings",
    "Sensitivity",
    "observe_maxima",
    "plan_quantization",
]
