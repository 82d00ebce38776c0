"""The gate: floors are policy, records are evidence, and a verdict is a pure function of them."""

from slimgate.gate.floors import ANY_DEVICE, Floor, Floors, device_slug, load_floors
from slimgate.gate.judge import find_causes, judge
from slimgate.gate.judgement import Judgement, NotProven, is_red
from slimgate.gate.kinds import KINDS, PAYS, WHOLE_CASE, Kind, is_timed, kind_of
from slimgate.gate.matrix import Matrix, judge_run
from slimgate.gate.pays import Claim, judge_claim
from slimgate.gate.propose import propose_floor, propose_floors
from slimgate.gate.records import Acceptance, Record, Records, load_records, write_records
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

__all__ = [
    "ANY_DEVICE",
    "CASE_FORMAT",
    "KINDS",
    "MEASUREMENTS_FORMAT",
    "PAYS",
    "RUN_FORMAT",
    "VERDICTS_FORMAT",
    "WHOLE_CASE",
    "Acceptance",
    "Claim",
    "Floor",
    "Floors",
    "Judgement",
    "Kind",
    "Matrix",
    "NotProven",
    "Record",
    "Records",
    "RunFiles",
    "device_slug",
    "find_causes",
    "is_red",
    "is_timed",
    "judge",
    "judge_claim",
    "judge_run",
    "judgement_from_json",
    "judgement_to_json",
    "kind_of",
    "load_floors",
    "load_records",
    "load_run",
    "measurements_from_json",
    "measurements_to_json",
    "propose_floor",
    "propose_floors",
    "write_judgement",
    "write_measurements",
    "write_records",
]
