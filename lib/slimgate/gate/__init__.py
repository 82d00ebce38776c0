"""The gate: floors are policy, records are evidence, and a verdict is a pure function of them."""

from slimgate.gate.acceptable import Examined, examine_run
from slimgate.gate.floors import ANY_DEVICE, Floor, Floors, device_slug, load_floors
from slimgate.gate.hygiene import find_untidy
from slimgate.gate.judge import find_causes, judge
from slimgate.gate.judgement import WAIVED, Finding, Judgement, NotProven, is_red
from slimgate.gate.kinds import KINDS, PAYS, WHOLE_CASE, Kind, is_timed, kind_of
from slimgate.gate.matrix import Matrix, judge_run
from slimgate.gate.pays import Claim, judge_claim
from slimgate.gate.propose import propose_floor, propose_floors
from slimgate.gate.records import (
    Acceptance,
    Record,
    Records,
    load_every_record,
    load_records,
    write_records,
)
from slimgate.gate.serialise import (
    CASE_FORMAT,
    MEASUREMENTS_FORMAT,
    RUN_FORMAT,
    VERDICTS_FORMAT,
    RunFiles,
    judgement_from_json,
    judgement_to_json,
    load_run,
    measurements_from_json,
    measurements_to_json,
    write_judgement,
    write_measurements,
)
from slimgate.gate.vacuous import BrokenScores
from slimgate.gate.waive import apply_waivers
from slimgate.gate.waivers import WAIVERS_FORMAT, Waiver, load_waivers

__all__ = [
    "ANY_DEVICE",
    "CASE_FORMAT",
    "KINDS",
    "MEASUREMENTS_FORMAT",
    "PAYS",
    "RUN_FORMAT",
    "VERDICTS_FORMAT",
    "WAIVED",
    "WAIVERS_FORMAT",
    "WHOLE_CASE",
    "Acceptance",
    "BrokenScores",
    "Claim",
    "Examined",
    "Finding",
    "Floor",
    "Floors",
    "Judgement",
    "Kind",
    "Matrix",
    "NotProven",
    "Record",
    "Records",
    "RunFiles",
    "Waiver",
    "apply_waivers",
    "device_slug",
    "examine_run",
    "find_causes",
    "find_untidy",
    "is_red",
    "is_timed",
    "judge",
    "judge_claim",
    "judge_run",
    "judgement_from_json",
    "judgement_to_json",
    "kind_of",
    "load_every_record",
    "load_floors",
    "load_records",
    "load_run",
    "load_waivers",
    "measurements_from_json",
    "measurements_to_json",
    "propose_floor",
    "propose_floors",
    "write_judgement",
    "write_measurements",
    "write_records",
]
