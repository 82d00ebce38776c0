"""Architecture search: widths, depths, detection levels and activation under a budget, by Optuna.

A candidate is a row of ordinary operations on the detector (``drop-levels``, ``shallow``, ``slim`` by Taylor
importance, ``swap-activation``, a short ``finetune``), so whatever wins can be made again, and trained for longer,
with ``slimgate compress``. What is searched is how the budget is spent: factors on the importance by stride and for the
head decide which part keeps its channels, whatever the budget is.

The search is kept in a journal file of Optuna's, which several processes or machines may share; each takes the next
candidate, learns from all that are finished, and all of them together stop at the number asked for.

Sampler: TPE for two aims (Ozaki et al. 2022, doi:10.1613/jair.1.13188). What comes out is the Pareto front: the
candidates that no other beats in both cost and accuracy.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn

from slimgate.compress.apply import apply_steps, parse_step
from slimgate.compress.candidates import FORMAT, Candidate
from slimgate.compress.favour import HEAD, channel_parts, text_from_factors
from slimgate.compress.operation import Operation, Workspace
from slimgate.errors import UsageError, unknown_name
from slimgate.flow import Detector, Json
from slimgate.model import count_flops, strides_of
from slimgate.model.channels import trace_channels

if TYPE_CHECKING:
    import optuna

_LARGEST_FACTOR = 8.0
_LEAST_SHARE = 0.25
"""Candidates cost from this share of the budget to all of it, so that the front has a length."""


@dataclass(frozen=True, kw_only=True)
class Space:
    """What candidates differ in.

    Attributes:
        parts: strides, and the head, whose share of the channels is searched.
        levels: how many detection levels may go at most.
        blocks: most blocks that a stage has; down to 1 is searched.
        activations: to choose from; with one there is no choice.
        budget: largest share of the detector's FLOPs, 0..1.
    """

    parts: tuple[str, ...]
    levels: int
    blocks: int
    activations: tuple[str, ...]
    budget: float


def search_space(
    detector: Detector, *, budget: float, activations: Sequence[str] = (), levels: int = 1
) -> Space:
    """Return what can be searched of a detector.

    Args:
        detector: the original.
        budget: largest share of its FLOPs.
        activations: to choose from; empty: it keeps its own.
        levels: how many detection levels may go at most.

    Raises:
        UsageError: the budget is not a share, or an activation is not known.
    """
    known = ("silu", "relu", "hardswish")
    for name in activations:
        if name not in known:
            raise unknown_name("activation", name, known)
    if not 0 < budget <= 1:
        raise UsageError(
            "budget",
            found=f"{budget:g}",
            expected="a share of the FLOPs, above 0 and up to 1",
            action="name a share such as 0.3",
        )
    parts = set(channel_parts(detector, trace_channels(detector.module, subject=detector.name)).values())
    return Space(
        parts=tuple(sorted(parts, key=lambda part: (part == HEAD, len(part), part))),
        levels=min(levels, len(strides_of(detector.module)) - 1),
        blocks=_most_blocks(detector),
        activations=tuple(activations),
        budget=budget,
    )


def suggest_operations(
    trial: optuna.trial.BaseTrial, space: Space, detector: Detector, registry: Mapping[str, Operation]
) -> list[str]:
    """Return the operations of a candidate before its training.

    Args:
        trial: asked for every choice.
        space: what may be chosen.
        detector: the original.
        registry: the operations by name.
    """
    texts = []
    levels = trial.suggest_int("levels", 0, space.levels) if space.levels else 0
    blocks = trial.suggest_int("blocks", 1, space.blocks) if space.blocks > 1 else 1
    factors = {
        part: trial.suggest_float(f"favour {part}", 1 / _LARGEST_FACTOR, _LARGEST_FACTOR, log=True)
        for part in space.parts
    }
    share = trial.suggest_float("flops", space.budget * _LEAST_SHARE, space.budget, log=True)
    activation = trial.suggest_categorical("activation", space.activations) if space.activations else None
    if levels:
        texts.append(f"drop-levels:{levels}")
    if blocks < space.blocks:
        texts.append(f"shallow:{blocks}")
    reduced = apply_steps(detector, [parse_step(text, registry) for text in texts], registry, Workspace())
    left = set(channel_parts(reduced, trace_channels(reduced.module)).values())
    own_share = share * count_flops(detector) / count_flops(reduced)
    if own_share < 1:
        favour = text_from_factors({part: factor for part, factor in factors.items() if part in left})
        texts.append(
            f"slim:flops={own_share:.6g},importance=taylor,per=flops,floor=0.03,head_floor=0.06,favour={favour}"
        )
    if activation:
        texts.append(f"swap-activation:{activation}")
    return texts


def run_search(
    detector: Detector,
    space: Space,
    registry: Mapping[str, Operation],
    *,
    trials: int,
    journal: Path,
    training: Sequence[str],
    workspace: Workspace,
    score: Callable[[Detector], float],
    cost: Callable[[Detector], float],
    settings: Mapping[str, Json],
    slim_settings: str = "",
    seed: int = 0,
    keep: Callable[[int, Detector], None] = lambda number, detector: None,
    progress: Callable[[Candidate], None] = lambda candidate: None,
) -> list[Candidate]:
    """Try candidates until the journal holds so many; return all of them, other processes' too.

    Args:
        detector: the original; it stays as it is.
        space: what is searched.
        registry: the operations by name.
        trials: how many candidates the journal is to hold in the end.
        journal: Optuna's journal file; made when missing, shared and continued when there.
        training: operations after the others, such as ``finetune:1,images=640``.
        workspace: with a folder, in which every candidate trains in one of its own.
        score: to maximise; of a trained candidate.
        cost: to minimise; of a trained candidate.
        settings: what scores depend on; a journal of other settings is refused.
        slim_settings: further settings of ``slim``, such as ``data=DATA.yaml``.
        seed: of the sampler; processes that share a journal take different ones.
        keep: given the number and the network of each candidate that could be made.
        progress: told of every candidate that this process tried.

    Raises:
        UsageError: the journal belongs to another search.
    """
    study = _open_study(journal, space, settings, seed)

    def objective(trial: optuna.Trial) -> tuple[float, float]:
        import optuna

        texts = suggest_operations(trial, space, detector, registry)
        texts = [
            f"{text},{slim_settings}" if text.startswith("slim:") and slim_settings else text
            for text in texts
        ]
        steps = [parse_step(text, registry) for text in (*texts, *training)]
        trial.set_user_attr("operations", [*texts, *training])
        own = workspace.enter(trial.number, "candidate")
        try:
            made = apply_steps(detector, steps, registry, own)
        except UsageError as error:
            # Floors and multiples leave no network as small as this one was to be.
            trial.set_user_attr("reason", str(error).partition("\n")[0])
            raise optuna.TrialPruned from None
        trial.set_user_attr("flops", count_flops(made) / count_flops(detector))
        keep(trial.number, made)
        return score(made), cost(made)

    _optimise(study, objective, trials, progress)
    return [_candidate(trial) for trial in study.get_trials(deepcopy=False) if trial.state.is_finished()]


def _open_study(journal: Path, space: Space, settings: Mapping[str, Json], seed: int) -> optuna.Study:
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    journal.parent.mkdir(parents=True, exist_ok=True)
    study = optuna.create_study(
        storage=JournalStorage(JournalFileBackend(str(journal))),
        study_name="slimgate",
        directions=["maximize", "minimize"],
        sampler=optuna.samplers.TPESampler(seed=seed, multivariate=True, n_startup_trials=10),
        load_if_exists=True,
    )
    asked: dict[str, Any] = {"format": FORMAT, "space": _space_json(space), **settings}
    found = study.user_attrs.get("asked")
    if found is None:
        study.set_user_attr("asked", asked)
    elif found != asked:
        differing = sorted(key for key in {*found, *asked} if found.get(key) != asked.get(key))
        raise UsageError(
            f"journal {journal}",
            found=f"a search with other settings: {', '.join(differing)}",
            expected="the settings that it was started with, since scores would not compare",
            action="repeat them, or name another journal",
        )
    return study


def _optimise(
    study: optuna.Study, objective: Any, trials: int, progress: Callable[[Candidate], None]
) -> None:
    from optuna.study import MaxTrialsCallback
    from optuna.trial import TrialState

    done = (TrialState.COMPLETE, TrialState.PRUNED)
    if len(study.get_trials(deepcopy=False, states=done)) < trials:
        study.optimize(
            objective,
            callbacks=[
                lambda _, trial: progress(_candidate(trial)),
                MaxTrialsCallback(trials, states=done),
            ],
        )


def _candidate(trial: optuna.trial.FrozenTrial) -> Candidate:
    score, cost = trial.values if trial.values else (None, None)
    return Candidate(
        number=trial.number,
        operations=tuple(trial.user_attrs.get("operations", ())),
        flops=trial.user_attrs.get("flops"),
        cost=cost,
        score=score,
        reason=trial.user_attrs.get("reason", "" if trial.values else trial.state.name.lower()),
    )


def _space_json(space: Space) -> dict[str, Json]:
    return {
        "parts": list(space.parts),
        "levels": space.levels,
        "blocks": space.blocks,
        "activations": list(space.activations),
        "budget": space.budget,
    }


def _most_blocks(detector: Detector) -> int:
    stages = [getattr(row, "m", None) for row in detector.module.model]  # type: ignore[union-attr]
    return max((len(blocks) for blocks in stages if isinstance(blocks, nn.Sequential)), default=1)
