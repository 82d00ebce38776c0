"""The study behind the gate's tests: cases to parametrise over, one shared run, and the verdicts of a case."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import pytest

from slimgate.errors import SlimgateError, UnavailableError
from slimgate.plugin.history import add_to_history
from slimgate.plugin.marks import is_meant, is_of_gate
from slimgate.plugin.minimum import note_execution
from slimgate.plugin.tiers import EXTRA_SECONDS
from slimgate.plugin.timing import NO_TIME_HELD, holds_times, is_under_xdist

if TYPE_CHECKING:
    from slimgate.flow import Case
    from slimgate.gate import Kind, RunFiles
    from slimgate.study import Study

CASE_FIXTURE = "gate_case"
STUDY_INI = "slimgate_study"
OF_GATE = "slimgate_of_gate"
"""Attribute of a report: whether its test asserts a verdict of the study."""

RUN_DIRECTORY = pytest.StashKey[Path]()
_STUDY = pytest.StashKey["Study"]()
_STUDY_SECONDS = pytest.StashKey[float]()

VerdictCheck = Callable[["Case", "Kind"], None]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test that asks for ``gate_case`` once per case of the study; the case's id is the test's id."""
    if CASE_FIXTURE in metafunc.fixturenames:
        cases = chosen_study(metafunc.config).cases
        metafunc.parametrize(CASE_FIXTURE, cases, ids=[str(case) for case in cases])


@pytest.fixture(scope="session")
def gate_study(pytestconfig: pytest.Config) -> Study:
    """Return the study of ``--slimgate-study``, else of the ini key ``slimgate_study``."""
    return chosen_study(pytestconfig)


@pytest.fixture(scope="session")
def study_run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> RunFiles:
    """Return the finished run: that of ``--slimgate-run``, or one that the whole session shares."""
    from slimgate.gate import load_run

    config = request.config
    given = config.getoption("--slimgate-run")
    began = time.monotonic()
    try:
        directory = Path(given) if given else _run_once(request.session, tmp_path_factory)
        run = load_run(directory)
        _check_study(run, chosen_study(config))
    except UnavailableError as error:
        leave_out(str(error), config)
    except SlimgateError as error:
        pytest.fail(str(error), pytrace=False)
    config.stash[_STUDY_SECONDS] = time.monotonic() - began
    config.stash[RUN_DIRECTORY] = directory
    if is_under_xdist(config):
        config.workeroutput["slimgate_run"] = str(directory)  # type: ignore[attr-defined]
    return run


def leave_out(reason: str, config: pytest.Config) -> NoReturn:
    """Skip a test whose inputs cannot be had on this machine; ``--require`` makes it a failure.

    Args:
        reason: why; an error's message as it is.
        config: of the session.
    """
    said = "; ".join(line.strip() for line in reason.splitlines())
    required = config.getoption("--require")
    if required:
        pytest.fail(f"--require {required[0]}: {said}", pytrace=False)
    pytest.skip(f"not proven: {said}")


@pytest.fixture
def assert_verdicts(
    study_run: RunFiles, pytestconfig: pytest.Config, request: pytest.FixtureRequest
) -> VerdictCheck:
    """Return a function that fails the test with the red verdicts of one kind that a case has."""
    from slimgate.gate import WHOLE_CASE, is_red, kind_of
    from slimgate.measure import is_metric

    strict = pytestconfig.getoption("--strict-floors")
    required = pytestconfig.getoption("--require")
    on_gpu = chosen_study(pytestconfig).gpu_cases

    def check(case: Case, kind: Kind) -> None:
        def concerns(metric: str) -> bool:
            # What is no metric (a case as a whole, a check, a waiver for one) is everybody's business.
            return metric == WHOLE_CASE or not is_metric(metric) or kind_of(metric) == kind

        judgement = study_run.judgement
        verdicts = [one for one in judgement.verdicts if one.case == case and concerns(one.metric)]
        gaps = [one for one in judgement.not_proven if one.case == case and concerns(one.metric)]
        red = [one.message for one in verdicts if is_red(one, strict_floors=strict)]
        if kind == "latency" and "timing" in required:
            red += [f"{case} {gap.metric}: --require timing: {gap.reason}" for gap in gaps]
            if not gaps and not holds_times(judgement):
                red.append(f"{case}: --require timing: {NO_TIME_HELD}")
        idle = [gap for gap in gaps if gap.metric == WHOLE_CASE]
        if "gpu" in required and case in on_gpu:
            red += [f"{case}: --require gpu: {gap.reason}" for gap in idle]
        if verdicts and not idle:
            note_execution(request.node, case, "gpu" if case in on_gpu else "cpu")
        if red:
            pytest.fail("\n\n".join(red), pytrace=False)
        waived = [f"{one.metric}: {one.label} {one.waived}" for one in verdicts if one.waived]
        if waived and pytestconfig.getoption("runxfail"):
            pytest.fail("\n\n".join(one.message for one in verdicts if one.waived), pytrace=False)
        if waived:
            # Neither green nor red: pytest counts it apart, as an expected failure.
            pytest.xfail("; ".join(waived))
        if not verdicts and gaps:
            pytest.skip(f"not proven: {gaps[0].reason}")
        if not verdicts and kind == "latency":
            pytest.skip("not proven: the study requires no latency floor, and there is none for this case")
        if not verdicts:
            pytest.fail(f"{case}: the gate judged nothing about its {kind}", pytrace=False)

    return check


@pytest.fixture
def assert_no_orphans(gate_study: Study, study_run: RunFiles) -> Callable[[], None]:
    """Return a function that fails the test when floors or measurements belong to no case of the study."""
    from slimgate.flow import Status

    def check() -> None:
        orphans = [
            verdict.message
            for verdict in study_run.judgement.verdicts
            if verdict.status is Status.INVALID and verdict.case not in gate_study.cases
        ]
        if orphans:
            pytest.fail("\n\n".join(orphans), pytrace=False)

    return check


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> object:
    """Note whether a test is the gate's, and how many of its seconds were the shared run, no suite's own."""
    report = yield
    setattr(report, OF_GATE, is_of_gate(item))
    if is_of_gate(item):
        report.user_properties.append((OF_GATE, True))  # type: ignore[attr-defined]
    seconds = item.config.stash.get(_STUDY_SECONDS, None)
    if seconds is not None and report.when == "setup":  # type: ignore[attr-defined]
        report.user_properties.append((EXTRA_SECONDS, seconds))  # type: ignore[attr-defined]
        del item.config.stash[_STUDY_SECONDS]
    return report


def chosen_study(config: pytest.Config) -> Study:
    """Return the study of this session, parsed once.

    Raises:
        pytest.UsageError: the study file cannot be used.
    """
    if _STUDY not in config.stash:
        from slimgate.study import load_study

        try:
            config.stash[_STUDY] = load_study(_study_source(config))
        except SlimgateError as error:
            raise pytest.UsageError(str(error)) from None
    return config.stash[_STUDY]


def _study_source(config: pytest.Config) -> str:
    given = config.getoption("--slimgate-study") or ""
    named = str(config.getini(STUDY_INI) or "").strip()
    if given or named:
        beside = (config.inipath or config.rootpath / "pytest.ini").parent / named
        return given or (str(beside) if beside.suffix else named)
    raise pytest.UsageError(
        "slimgate: no study is named\n"
        f"  expected: --slimgate-study STUDY, or {STUDY_INI} in the project's pytest settings\n"
        "  what to do: name yours; 'slimgate init --model MODEL --data DATA' writes one"
    )


def _run_once(session: pytest.Session, factory: pytest.TempPathFactory) -> Path:
    """Run the study in one process of the session; the others wait for it and share its directory."""
    from filelock import FileLock

    from slimgate.study import run_study
    from slimgate.study.spec import golden_folder

    study = chosen_study(session.config)
    under_xdist = is_under_xdist(session.config)
    base = _shared_folder(session, factory)
    given = session.config.getoption("--slimgate-out")
    directory = Path(given) if given else base / f"study-{study.id}"
    done = base / f"study-{study.id}.done"
    failure = base / f"study-{study.id}.failed"
    unavailable = base / f"study-{study.id}.unavailable"
    with FileLock(base / f"study-{study.id}.lock"):
        if failure.exists():
            pytest.fail(failure.read_text(encoding="utf-8"), pytrace=False)
        if unavailable.exists():
            leave_out(unavailable.read_text(encoding="utf-8"), session.config)
        if not done.exists():
            try:
                run_study(
                    study,
                    directory,
                    golden=golden_folder(study),
                    expression=_expression(session, study),
                    timing=not under_xdist and _is_time_asked_for(session),
                    strict_floors=session.config.getoption("--strict-floors"),
                )
                done.touch()
                add_to_history(directory, study, session.config)
            except UnavailableError as error:
                unavailable.write_text(str(error), encoding="utf-8")
                raise
            except SlimgateError as error:
                failure.write_text(str(error), encoding="utf-8")
                raise
            except Exception as error:
                # Not ours, so it is shown with its traceback, once: the other workers must not run the study again.
                told = "".join(traceback.format_exception_only(error)).strip()
                failure.write_text(f"the study broke in another worker: {told}", encoding="utf-8")
                raise
    return directory


def _shared_folder(session: pytest.Session, factory: pytest.TempPathFactory) -> Path:
    """Return the folder that the workers of a session have in common."""
    own = factory.getbasetemp()
    return own.parent if is_under_xdist(session.config) else own


def _is_time_asked_for(session: pytest.Session) -> bool:
    return any(is_meant(item, "timing") for item in session.items)


def _expression(session: pytest.Session, study: Study) -> str:
    """Return the ``-k`` expression for the cases that the selected tests need; empty when it is all of them."""
    parameters = [getattr(getattr(item, "callspec", None), "params", {}) for item in session.items]
    needed = {str(values[CASE_FIXTURE]) for values in parameters if CASE_FIXTURE in values}
    every = [str(case) for case in study.cases]
    return "" if not needed or needed == set(every) else " or ".join(case for case in every if case in needed)


def _check_study(run: RunFiles, study: Study) -> None:
    from slimgate.errors import InputError

    found = run.run.get("study", {}).get("id")
    if found != study.id:
        raise InputError(
            str(run.directory),
            found=f"a run of study '{found}'",
            expected=f"a run of study '{study.id}'",
            action="name the run's study with --slimgate-study, or another run with --slimgate-run",
        )
