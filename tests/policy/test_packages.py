"""What a policy asks for that is in a package which is not installed: the filter does without, and a line says so."""

from __future__ import annotations

from pathlib import Path

import pytest

from cpe_filter.policy.model import Policy
from cpe_filter.policy.packages import provided
from tests.policies import changed_policy, make_policy

EVERYTHING = make_policy(report_url="https://collector.example/", language="nl")


def test_with_all_packages_the_policy_is_carried_out_as_it_is() -> None:
    assert provided(EVERYTHING) == (EVERYTHING, ())


@pytest.mark.parametrize(
    ("folder", "key", "instead", "line"),
    [
        ("report", "report_url", "", "[report] url: nothing is reported until the package cpe-filter-report is"),
        ("texts/nl", "language", "en", "[notice] language: texts are in English until the package cpe-filter"),
    ],
)
def test_without_one_the_filter_does_without(tmp_path: Path, folder: str, key: str, instead: str, line: str) -> None:
    for name in {"explain", "report", "texts/nl"} - {folder}:
        (tmp_path / name).mkdir(parents=True)
    policy, lines = provided(EVERYTHING, str(tmp_path))
    assert policy == changed_policy(EVERYTHING, **{key: instead})
    assert [each[: len(line)] for each in lines] == [line]


def test_without_the_responder_refusals_are_resets_and_no_notice_is_served(tmp_path: Path) -> None:
    for name in ("report", "texts/nl"):
        (tmp_path / name).mkdir(parents=True)
    policy, lines = provided(EVERYTHING, str(tmp_path))
    assert policy == changed_policy(EVERYTHING, refusal="reset", show="off")
    assert [line.partition(":")[0] for line in lines] == ["[filter] refusal", "[notice] show"]


def test_what_is_not_asked_for_is_not_missed(tmp_path: Path) -> None:
    policy = make_policy(refusal="reset", show="off")
    assert provided(policy, str(tmp_path)) == (policy, ())


def test_the_default_asks_for_an_explanation(tmp_path: Path) -> None:
    """The smallest install refuses with a reset."""
    policy, lines = provided(Policy(), str(tmp_path))
    assert policy.filter.refusal == "reset"
    assert policy.notice.show == "off"
    assert len(lines) == 2
