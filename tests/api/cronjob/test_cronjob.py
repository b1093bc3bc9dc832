"""Rule: upstream's CronJob defaults and validation, and the cron format."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seaway.api.cronjob.schedule import find_schedule_error
from seaway.api.registry import CRON_JOBS
from tests.api.kindtable import Case, cases
from tests.api.manifests import create_texts, make_stored

Json = dict[str, Any]


@pytest.mark.parametrize(
    "text",
    [
        "* * * * *", "*/5 * * * *", "0 0 1 1 0", "59 23 31 12 6", "0-30/10,45 9-17 * * mon-fri", "0 0 ? JAN,dec ?",
        "5/15 * * * *", "  0   0 * * *", "@hourly", "@midnight", "@every 1h30m", "@every 1.5s",
    ],
)  # fmt: skip
def test_a_schedule_that_can_be_read(text: str) -> None:
    assert find_schedule_error(text) == ""


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("", "empty spec string"),
        ("* * * *", "expected exactly 5 fields, found 4: [* * * *]"),
        ("* * * * * *", "expected exactly 5 fields, found 6: [* * * * * *]"),
        ("61 * * * *", "end of range (61) above maximum (59): 61"),
        ("* * 0 * *", "beginning of range (0) below minimum (1): 0"),
        ("9-5 * * * *", "beginning of range (9) beyond end of range (5): 9-5"),
        ("*/0 * * * *", "step of range should be a positive number: */0"),
        ("1-2-3 * * * *", "too many hyphens: 1-2-3"),
        ("1/2/3 * * * *", "too many slashes: 1/2/3"),
        ("x * * * *", 'failed to parse int from x: strconv.Atoi: parsing "x": invalid syntax'),
        ("*/x * * * *", 'failed to parse int from x: strconv.Atoi: parsing "x": invalid syntax'),
        ("99999999999999999999 * * * *",
         'failed to parse int from 99999999999999999999: strconv.Atoi: parsing "99999999999999999999": '
         "invalid syntax"),
        ("@often", "unrecognized descriptor: @often"),
        ("@every soon", "failed to parse duration @every soon"),
        ("@every ", "failed to parse duration @every "),
    ],
)  # fmt: skip
def test_a_schedule_that_cannot(text: str, error: str) -> None:
    assert find_schedule_error(text) == error


@given(st.text(max_size=40))
def test_any_text_gets_an_answer(text: str) -> None:
    assert isinstance(find_schedule_error(text), str)


CREATE: list[Case] = [
    ("there is a schedule", {"spec": {"schedule": ""}}, ["spec.schedule: Required value"]),
    ("that can be read", {"spec": {"schedule": "often"}},
     ['spec.schedule: Invalid value: "often": expected exactly 5 fields, found 1: [often]']),
    ("without a zone of its own", {"spec": {"schedule": "TZ=UTC * * * * *"}},
     ['spec.schedule: Invalid value: "TZ=UTC * * * * *": '
      "cannot use TZ or CRON_TZ in schedule, use timeZone field instead"]),
    ("and not two zones", {"spec": {"schedule": "CRON_TZ=UTC * * * * *", "timeZone": "UTC"}},
     ['spec.schedule: Invalid value: "CRON_TZ=UTC * * * * *": '
      "cannot use both timeZone field and TZ or CRON_TZ in schedule"]),
    ("a zone", {"spec": {"timeZone": "Europe/Berlin"}}, []),
    ("a zone is named", {"spec": {"timeZone": ""}},
     ['spec.timeZone: Invalid value: "": timeZone must be nil or non-empty string']),
    ("and the same everywhere", {"spec": {"timeZone": "Local"}},
     ['spec.timeZone: Invalid value: "Local": '
      "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones"]),
    ("and spelt like one", {"spec": {"timeZone": "../etc"}},
     ['spec.timeZone: Invalid value: "../etc": unknown time zone ../etc']),
    ("a known policy", {"spec": {"concurrencyPolicy": "Maybe"}},
     ['spec.concurrencyPolicy: Unsupported value: "Maybe": supported values: "Allow", "Forbid", "Replace"']),
    ("counts are counts", {"spec": {"startingDeadlineSeconds": -1, "failedJobsHistoryLimit": -2}},
     ["spec.startingDeadlineSeconds: Invalid value: -1: must be greater than or equal to 0",
      "spec.failedJobsHistoryLimit: Invalid value: -2: must be greater than or equal to 0"]),
    ("its Jobs end", {"spec": {"jobTemplate": {"spec": {"template": {"spec": {"restartPolicy": "Always"}}}}}},
     ['spec.jobTemplate.spec.template.spec.restartPolicy: Required value: valid values: "OnFailure", "Never"']),
    ("their selectors are made", {"spec": {"jobTemplate": {"spec": {"manualSelector": True}}}},
     ['spec.jobTemplate.spec.manualSelector: Unsupported value: true: supported values: "nil", "false"']),
]  # fmt: skip


@cases(CREATE)
def test_create(changes: Json, texts: list[str]) -> None:
    assert create_texts(CRON_JOBS, **changes) == texts


def test_defaults() -> None:
    spec = make_stored(CRON_JOBS)["spec"]
    job = spec.pop("jobTemplate")["spec"]
    assert spec == {
        "schedule": "*/5 * * * *",
        "concurrencyPolicy": "Allow",
        "suspend": False,
        "successfulJobsHistoryLimit": 3,
        "failedJobsHistoryLimit": 1,
    }
    assert set(job) == {"template"}  # a Job gets the rest when it is made
    assert job["template"]["spec"]["schedulerName"] == "default-scheduler"


def test_a_name_leaves_room_for_those_of_the_jobs() -> None:
    rule = CRON_JOBS.strategy.validate_name
    assert rule is not None
    assert rule("a" * 52) == []
    assert rule("a" * 53) == ["must be no more than 52 characters"]
