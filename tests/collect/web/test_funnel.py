"""The funnel's numbers, their denominators, and how they are said."""

from __future__ import annotations

from typing import Any

import pytest

from cpe_filter.collect.web import funnel, funnel_card
from cpe_filter.collect.web.funnel import DAY, Funnel

NOW = 1000 * DAY


def row(who: str = "of s1", begun: float = 60, **more: Any) -> dict[str, Any]:
    """Times are days ago."""
    at = {name: None if value is None else int(NOW - value * DAY) for name, value in more.items() if name != "outcome"}
    told = [value for name, value in at.items() if name.startswith("told_") and value is not None]
    nothing = dict.fromkeys(
        ("told_router_at", "told_mail_at", "told_webhook_at", "told_desk_at", "seen_at", "answered_at", "clean_since",
         "relapsed_at")
    )  # fmt: skip
    return {
        "who": who, "begun_at": int(NOW - begun * DAY), "told_at": min(told, default=None), **nothing,
        "outcome": more.get("outcome", ""), **at,
    }  # fmt: skip


def made(*rows: dict[str, Any], clean_days: int = 14) -> Funnel:
    return funnel.funnel(rows, NOW, clean_days)


def stage(found: Funnel, name: Any) -> tuple[int, int, int, int]:
    one = found.stage(name)
    return one.devices, one.of, one.homes, one.of_homes


def test_each_stage_says_of_what() -> None:
    found = made(
        row(told_mail_at=50, seen_at=40, told_router_at=40, answered_at=39, clean_since=38, relapsed_at=5),
        row(told_mail_at=50, seen_at=40, told_router_at=40),
        row("of s2", told_mail_at=50, clean_since=45),
        row("of s2", begun=3, told_mail_at=2),  # too short a time ago
        row("of s3", clean_since=50),
        row("of s4", outcome="false-alarm", told_mail_at=50, clean_since=50),
    )
    assert stage(found, "found") == (5, 5, 3, 3)
    assert stage(found, "notified") == (4, 5, 2, 3)
    assert stage(found, "seen") == (2, 4, 1, 2)
    assert stage(found, "answered") == (1, 2, 1, 1)
    assert stage(found, "clean") == (2, 3, 2, 2)
    assert stage(found, "relapsed") == (1, 2, 1, 2)
    assert (found.waiting, found.clean_without_notice, found.false_alarms) == (1, 1, 1)
    assert found.channels == {"router": 2, "mail": 4, "webhook": 0, "desk": 0}
    assert found.stage("seen").median_s == 20 * DAY
    assert found.stage("clean").median_s == 5 * DAY
    assert found.stage("relapsed").median_s == 33 * DAY
    assert funnel_card.sentence(found) == "Of 2 homes that were notified, 1 saw the notice and 1 answered it."


def test_clean_before_the_notice_took_no_time() -> None:
    assert made(row(told_desk_at=30, clean_since=31)).stage("clean").median_s == 0


@pytest.mark.parametrize(
    ("told", "clean", "again", "counts"),
    [(50, 40, None, (1, 1)), (50, 36, None, (1, 1)), (50, 35.9, None, (0, 1)), (50, None, None, (0, 1)),
     (50, 45, 37, (0, 1)), (50, 45, 35, (1, 1)), (28, 20, None, (1, 1)), (27.9, 20, None, (0, 0))],
)  # fmt: skip
def test_clean_within_14_days(told: float, clean: float | None, again: float | None, counts: tuple[int, int]) -> None:
    found = made(row(told_mail_at=told, clean_since=clean, relapsed_at=again))
    (mail,) = (one for one in found.compared if one.group == "mail")
    assert (mail.clean, mail.devices) == counts
    assert all(one.devices == 0 for one in found.compared if one.group != "mail")


def test_groups_share_no_device() -> None:
    found = made(
        row(told_mail_at=50), row(told_router_at=50), row(told_webhook_at=50), row(told_desk_at=50),
        row(told_mail_at=50, told_router_at=40), row(),
    )  # fmt: skip
    assert [(one.group, one.devices) for one in found.compared] == [(group, 1) for group in funnel.GROUPS]


@pytest.mark.parametrize(
    ("hits", "runs", "low", "high"),
    # Newcombe (1998), table I, method 3.
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718),
     (0, 0, 0.0, 1.0), (5, 5, 0.5655, 1.0)],
)  # fmt: skip
def test_interval(hits: int, runs: int, low: float, high: float) -> None:
    assert list(funnel.wilson(hits, runs)) == pytest.approx([low, high], abs=5e-5)


def test_card_has_no_share_without_its_whole() -> None:
    html = funnel_card.card(made(*[row(f"of s{n}", told_mail_at=50) for n in range(8)]), 90)
    assert "of 8 found" in html
    assert "of 8 notified" in html
    assert "0 of 8" in html
    assert "No home was notified." in funnel_card.card(made(), 30)
    assert " %" not in funnel_card.card(made(), 30)
