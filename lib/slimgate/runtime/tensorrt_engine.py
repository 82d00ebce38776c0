"""TensorRT and TensorRT-RTX engines on the GPU."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from slimgate.artifact.engine_information import check_executed
from slimgate.artifact.plan_header import read_plan_header
from slimgate.artifact.profile import Profile, choose_profile
from slimgate.artifact.trt import device_capability, load_trt, trt_log, why_not_installed
from slimgate.errors import InputError, UnavailableError
from slimgate.flow import Artifact, Detector, Json
from slimgate.runtime.base import FloatArray, Runner, Runtime, class_count, graph_nms, loading, refuse_format
from slimgate.runtime.engine_fit import check_engine_fits, engine_complaint, refuse_engine
from slimgate.runtime.gpu import why_no_gpu

FORMATS = ("engine",)


class TensorRtRunner(Runner):
    """Runs a serialised engine; images and predictions live in torch's device memory.

    Attributes:
        execution_s: GPU seconds of the last run between two CUDA events, transfers left out.
        device_memory_bytes: scratch memory that the engine asks for, weights not included.
    """

    def __init__(self, source: Artifact, *, kind: str, name: str, batch: int, cuda_graph: bool) -> None:
        import torch

        self.runtime = name
        self._path = str(source.path)
        self.image_size = source.image_size
        self.batch = source.batch or batch
        self.class_count = class_count(source)
        self._torch = torch
        with loading(name, source):
            self._load(source, kind, cuda_graph=cuda_graph)

    def _load(self, source: Artifact, kind: str, *, cuda_graph: bool) -> None:
        cuda: Any = self._torch.cuda
        self._trt = trt = load_trt(kind)
        log = trt_log(kind)
        start = len(log.messages)
        content = source.path.read_bytes()
        header = read_plan_header(source.path, content)
        check_engine_fits(source, header, installed=str(trt.__version__), device=device_capability())
        self._runtime = trt.Runtime(log)
        # A version compatible engine brings the code of the TensorRT that built it.
        self._runtime.engine_host_code_allowed = bool(
            source.facts.get("options", {}).get("version_compatible")
        )
        complaint = engine_complaint(trt, self._runtime, content)
        self._engine: Any = None if complaint else self._runtime.deserialize_cuda_engine(content)
        if self._engine is None:
            reasons = [complaint] if complaint else log.since(start, "ERROR", "INTERNAL_ERROR")
            raise _refuse_loading(source, self.runtime, str(trt.__version__), reasons)
        self._convolutions = source.facts["convolutions"]
        self._profiles = [Profile(*sizes) for sizes in source.facts["profiles"]]
        # TensorRT-RTX captures by itself, and knows when its kernels have been compiled for a shape.
        self._captures_itself = cuda_graph and hasattr(trt, "CudaGraphStrategy")
        self._captures_here = cuda_graph and not self._captures_itself
        self._context = self._create_context()
        self._graphs: dict[int, tuple[Any, ...]] = {}
        self._profile: int | None = None
        self._stream = cuda.Stream()
        self._input, self._output = _tensor_names(source, trt, self._engine)
        self._events = [cuda.Event(enable_timing=True) for _ in range(2)]
        self.execution_s: float | None = None
        self.device_memory_bytes = int(getattr(self._engine, "device_memory_size_v2", 0))
        self.provider = f"{kind} {trt.__version__} on {cuda.get_device_name()}"
        self.nms = graph_nms(source)

    def _create_context(self) -> Any:
        if self._captures_itself:
            config = self._engine.create_runtime_config()
            config.cuda_graph_strategy = self._trt.CudaGraphStrategy.WHOLE_GRAPH_CAPTURE
            context = self._engine.create_execution_context(config)
        else:
            context = self._engine.create_execution_context()
        if context is None:
            raise self._failed(
                "no execution context",
                action="free memory of the GPU, or build the engine with less --workspace",
            )
        return context

    def _infer(self, images: FloatArray) -> FloatArray:
        index = choose_profile(self._profiles, len(images))
        if index is None:
            raise InputError(
                f"input of {self.runtime}",
                found=f"a batch of {len(images)}, outside the engine's profiles",
                expected=f"a batch size in {', '.join(str(profile) for profile in self._profiles)} (MIN:OPT:MAX)",
                action="build the engine with --batch 0, or with this batch",
            )
        missing = max(self._profiles[index].smallest - len(images), 0)
        filled = np.concatenate([images, np.zeros((missing, *images.shape[1:]), images.dtype)])
        run = self._replay if self._captures_here else self._execute
        with self._torch.cuda.stream(self._stream):
            predictions = run(self._torch.from_numpy(filled).cuda(non_blocking=True), index)
            answer = predictions.cpu()
        self._stream.synchronize()
        self.execution_s = self._events[0].elapsed_time(self._events[1]) / 1e3
        return np.asarray(answer.numpy())[: len(images)]

    def _execute(self, images: Any, profile: int) -> Any:
        if profile != self._profile:
            self._select(self._context, profile)
            self._profile = profile
        predictions = self._bind(self._context, images)
        self._events[0].record()
        self._enqueue(self._context, self._stream)
        self._events[1].record()
        return predictions

    def _replay(self, images: Any, profile: int) -> Any:
        """Run the captured CUDA graph of this batch size; its buffers are its own."""
        torch = self._torch
        batch = images.shape[0]
        if batch not in self._graphs:
            # A graph is tied to the state of its context: each has one that nothing else changes.
            context = self._create_context()
            self._select(context, profile)
            fixed = images.clone()
            predictions = self._bind(context, fixed)
            # Once outside: the first execution may allocate, which no capture can hold.
            self._enqueue(context, self._stream)
            self._stream.synchronize()
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph, stream=self._stream):
                self._enqueue(context, torch.cuda.current_stream())
            self._graphs[batch] = graph, fixed, predictions, context
        graph, fixed, predictions, _ = self._graphs[batch]
        fixed.copy_(images)
        self._events[0].record()
        graph.replay()
        self._events[1].record()
        return predictions

    def _select(self, context: Any, profile: int) -> None:
        if not context.set_optimization_profile_async(profile, self._stream.cuda_stream):
            raise self._failed(f"profile {self._profiles[profile]} cannot be selected")
        self._stream.synchronize()

    def _bind(self, context: Any, images: Any) -> Any:
        """Point a context at the images and at a new output, which is returned."""
        torch = self._torch
        if not context.set_input_shape(self._input, tuple(images.shape)):
            raise self._failed(f"TensorRT does not take shape {tuple(images.shape)}")
        shape = tuple(context.get_tensor_shape(self._output))
        predictions = torch.empty(shape, dtype=torch.float32, device="cuda")
        context.set_tensor_address(self._input, images.data_ptr())
        context.set_tensor_address(self._output, predictions.data_ptr())
        return predictions

    def _enqueue(self, context: Any, stream: Any) -> None:
        if not context.execute_async_v3(stream.cuda_stream):
            raise self._failed("the execution failed")

    def _failed(self, found: str, *, action: str = "build the engine again on this machine") -> InputError:
        return InputError(f"engine on {self.runtime}", found=found, expected="predictions", action=action)

    def describe(self) -> dict[str, Json]:
        """Return runtime, version, GPU, profiles, memory, and the engine's layers with the types they run in."""
        return {
            **super().describe(),
            "version": str(self._trt.__version__),
            "profiles": [str(profile) for profile in self._profiles],
            "device_memory_bytes": self.device_memory_bytes,
            "layers": self.engine_information(),
        }

    def engine_information(self) -> str:
        """Return the engine inspector's JSON: per layer its tactic and the types of its tensors.

        Raises:
            InputError: the inspector does not answer.
        """
        try:
            inspector = self._engine.create_engine_inspector()
            inspector.execution_context = self._context
            return str(inspector.get_engine_information(self._trt.LayerInformationFormat.JSON))
        # Without memory TensorRT's bindings give None, or raise what has no public base.
        except Exception as error:
            raise self._failed(f"its inspector does not answer ({type(error).__name__}: {error})") from error

    def executed_shares(self) -> dict[str, float]:
        """Return the share of convolution MACs per precision as the engine's own inspector reports it.

        Raises:
            InputError: it is not what the graph says that the engine was built from.
        """
        return check_executed(self._path, self.engine_information(), self._convolutions)

    def close(self) -> None:
        """Free graphs, context, engine and runtime, in the order that TensorRT asks for."""
        self._graphs = {}
        self._context = None
        self._engine = None
        self._runtime = None


def open_engine(
    source: Artifact | Detector,
    *,
    batch: int = 0,
    threads: int | None = None,
    kind: str = "tensorrt",
    cuda_graph: bool = False,
) -> TensorRtRunner:
    """Return a runner over an engine; ``threads`` has no meaning on the GPU."""
    name = _name(kind, cuda_graph)
    if not isinstance(source, Artifact) or source.format not in FORMATS:
        raise refuse_format(name, source, FORMATS)
    built_by = source.facts.get("kind")
    if built_by != kind:
        raise InputError(
            str(source.path),
            found=f"built by {built_by}",
            expected=f"an engine of {kind}",
            action=f"run it with runtime '{built_by}'",
        )
    reason = _why_unavailable(kind)
    if reason is not None:
        raise UnavailableError(
            f"runtime '{name}'",
            found=reason,
            expected=f"an NVIDIA GPU, and {kind} installed",
            action=f"run on a GPU machine with slimgate[{kind}] installed",
        )
    return TensorRtRunner(source, kind=kind, name=name, batch=batch, cuda_graph=cuda_graph)


def _tensor_names(source: Artifact, trt: Any, engine: Any) -> tuple[str, str]:
    names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
    inputs = [name for name in names if engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT]
    outputs = [name for name in names if name not in inputs]
    if len(inputs) != 1 or len(outputs) != 1:
        raise InputError(
            str(source.path),
            found=f"inputs {', '.join(inputs)}; outputs {', '.join(outputs)}",
            expected="one input and one output",
            action="build it with 'slimgate export --format engine'",
        )
    return inputs[0], outputs[0]


def _refuse_loading(source: Artifact, runtime: str, version: str, reasons: list[str]) -> InputError:
    built = source.facts.get("version", "an unknown version")
    reason = reasons[0].splitlines()[0] if reasons else "no reason given"
    return refuse_engine(
        source,
        found=f"{runtime} {version} cannot load it ({reason}); it was built by version {built} for {source.target}",
        expected=f"an engine of {source.facts.get('kind')} {version} for this GPU",
    )


def _why_unavailable(kind: str) -> str | None:
    return why_not_installed(kind) or why_no_gpu()


def _name(kind: str, cuda_graph: bool) -> str:
    return f"{kind}-cudagraph" if cuda_graph else kind


def _runtime(kind: str, *, cuda_graph: bool = False) -> Runtime:
    why: Callable[[], str | None] = partial(_why_unavailable, kind)
    return Runtime(
        name=_name(kind, cuda_graph),
        formats=FORMATS,
        device="gpu",
        why_unavailable=why,
        open=partial(open_engine, kind=kind, cuda_graph=cuda_graph),
    )


TENSORRT = _runtime("tensorrt")
TENSORRT_RTX = _runtime("tensorrt-rtx")
TENSORRT_CUDAGRAPH = _runtime("tensorrt", cuda_graph=True)
"""The same, with launches recorded once per batch size and replayed."""
TENSORRT_RTX_CUDAGRAPH = _runtime("tensorrt-rtx", cuda_graph=True)
