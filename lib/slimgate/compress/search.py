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
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slimgate.compress.apply import apply_steps, parse_step
from slimgate.compress.candidates import FORMAT, Candidate
from slimgate.compress.operation import Operation, Workspace
from slimgate.compress.search_space import Latency, Space, suggest_operations, within_latency
from slimgate.errors import UsageError
from slimgate.flow import Detector, Json
from slimgate.model import count_flops

if TYPE_CHECKING:
    import optuna


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
    latency: Latency | None = None,
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
        latency: measures a network's share of the original's latency; needed where that is the budget.
        keep: given the number and the network of each candidate that could be made.
        progress: told of every candidate that this process tried.

    Raises:
        UsageError: the journal belongs to another search, or what is asked of the training cannot be done.
    """
    study = _open_study(journal, space, settings, seed)

    def objective(trial: optuna.Trial) -> tuple[float, float]:
        import optuna

        texts = suggest_operations(trial, space, detector, registry, latency)
        texts = [
            f"{text},{slim_settings}" if text.startswith("slim:") and slim_settings else text
            for text in texts
        ]
        own = workspace.enter(trial.number, "candidate")
        trial.set_user_attr("operations", [*texts, *training])
        # Outside of what is caught: what is wrong with the settings, or with the data, is wrong with every candidate's.
        steps = [parse_step(text, registry) for text in texts]
        last = [parse_step(text, registry) for text in training]
        try:
            if latency is not None:
                made, texts = within_latency(detector, texts, registry, space.budget, latency)
                trial.set_user_attr("operations", [*texts, *training])
            else:
                made = apply_steps(detector, steps, registry, own)
        except UsageError as error:
            # Floors and multiples leave no network as small as this one was to be, or it is not as fast as it must be.
            trial.set_user_attr("reason", str(error).partition("\n")[0])
            raise optuna.TrialPruned from None
        made = apply_steps(made, last, registry, own)
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
    asked: dict[str, Any] = {"format": FORMAT, "space": space.to_json(), **settings}
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
