"""Where a shipped file runs: one small file per runtime, one contract."""

from slimgate.runtime.base import Runner, Runtime
from slimgate.runtime.open import OpenModel, open_model
from slimgate.runtime.registry import RUNTIMES, get_runtime

__all__ = ["RUNTIMES", "OpenModel", "Runner", "Runtime", "get_runtime", "open_model"]
