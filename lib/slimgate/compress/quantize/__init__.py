"""Decides how a detector is quantised: ranges from calibration, and what stays in float."""

from slimgate.compress.quantize.calibrate import plan_quantization
from slimgate.compress.quantize.observe import OBSERVERS
from slimgate.compress.quantize.plan import QuantizationPlan

__all__ = ["OBSERVERS", "QuantizationPlan", "plan_quantization"]
