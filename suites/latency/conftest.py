"""The artifacts of the study, opened as they are shipped; the store has them when the study ran before."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from slimgate.errors import UnavailableError
from slimgate.flow import Case
from slimgate.plugin.study import leave_out
from slimgate.runtime import Runner, get_runtime
from slimgate.study import Study
from slimgate.study.prepare import Prepared, expand_cases, prepare_study


@pytest.fixture(scope="session")
def prepared_study(gate_study: Study, pytestconfig: pytest.Config) -> Prepared:
    try:
        return prepare_study(gate_study, gate_study.cases)
    except UnavailableError as error:
        leave_out(str(error), pytestconfig)


@pytest.fixture
def open_case(prepared_study: Prepared) -> Callable[[Case], Runner]:
    """Return a function that opens the artifact of a case in its runtime, or skips where it cannot run."""
    found = {case: (spec, runtime) for case, spec, runtime in expand_cases(prepared_study.study)}

    def opened(case: Case) -> Runner:
        spec, runtime = found[case]
        reason = get_runtime(runtime).why_unavailable()
        if reason:
            pytest.skip(f"not proven: {reason}")
        return prepared_study.open(spec, runtime)

    return opened
