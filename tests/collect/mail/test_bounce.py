"""What comes back: real reports of mail programs, forged ones, and what they change."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from cpe_filter.collect.cases import actions
from cpe_filter.collect.mail import bounce, token
from cpe_filter.collect.store.base import Store
from tests.collect.desks import WithStore
from tests.collect.mail.post import KEY, TERMS, Post

NUMBER = "0123456789abcdef0123"
ADDRESS = TERMS.bounce_address


def report(
    to: str, action: str = "failed", status: str = "5.1.1", kind: str = "delivery-status", head: str = ""
) -> bytes:
    """As Postfix writes it."""
    return (
        f"From: MAILER-DAEMON@mx.example (Mail Delivery System)\r\nTo: {to}\r\n{head}Auto-Submitted: auto-replied\r\n"
        f'MIME-Version: 1.0\r\nContent-Type: multipart/report; report-type={kind}; boundary="b"\r\n\r\n'
        "--b\r\nContent-Type: text/plain\r\n\r\n<secret@friends.example>: host said: 550 5.1.1 no such user\r\n"
        f"--b\r\nContent-Type: message/{kind}\r\n\r\nReporting-MTA: dns; mx.example\r\n\r\n"
        f"Final-Recipient: rfc822; secret@friends.example\r\nAction: {action}\r\nStatus: {status}\r\n"
        "Diagnostic-Code: smtp; 550 5.1.1 no such user\r\n\r\n"
        "--b\r\nContent-Type: text/rfc822-headers\r\n\r\nSubject: x\r\n--b--\r\n"
    ).encode()


def read(raw: bytes) -> bounce.Report | None:
    return bounce.read(raw, ADDRESS, KEY)


SIGNED = token.address(ADDRESS, KEY, NUMBER)


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (report(SIGNED), ("failed", "5.1.1")),
        (report(SIGNED.upper(), "FAILED "), ("failed", "5.1.1")),
        (report(f"<{SIGNED}>", "delayed", "4.4.1"), ("delayed", "4.4.1")),
        (report(SIGNED, "delivered", "2.0.0"), (None, "")),
        (report(SIGNED, "failed", "nonsense"), ("failed", "5.0.0")),
        (report(SIGNED, kind="global-delivery-status"), ("failed", "5.1.1")),
        (report("you@isp.example", head=f"Delivered-To: {SIGNED}\r\n"), ("failed", "5.1.1")),
        (f"To: {SIGNED}\r\nSubject: I am on holiday\r\n\r\nUntil May.\r\n".encode(), (None, "")),
    ],
)
def test_reports(raw: bytes, expected: tuple[str | None, str]) -> None:
    found = read(raw)
    assert found is not None
    assert (found.number, found.action, found.status) == (NUMBER, *expected)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\0" * 1000,
        report(ADDRESS),
        report(token.address(ADDRESS, bytes(32), NUMBER)),
        report(f"bounces+{'a' * 32}@isp.example"),
        report(SIGNED.replace("isp.example", "evil.example")),
        b"To: " + b"x" * 300_000,
        b"To: =?utf-8?q?\xff?=\r\nContent-Type: multipart/report; boundary=\r\n\r\n",
    ],
)
def test_what_is_not_signed_is_nothing(raw: bytes) -> None:
    assert read(raw) is None


def test_hostile_structures_end() -> None:
    nested = f"To: {SIGNED}\r\n".encode()
    for number in range(3000):
        nested += f"Content-Type: multipart/report; boundary=b{number}\r\n\r\n--b{number}\r\n".encode()
    read(nested)
    groups = "".join(f"Action: delayed\r\nStatus: 4.0.{number}\r\n\r\n" for number in range(9000))
    found = read(report(SIGNED, "delayed", f"4.0.0\r\n\r\n{groups}"))
    assert found is not None


def test_a_bounce_takes_the_notification_back(with_store: WithStore) -> None:
    async def work(store: Store) -> None:
        post = Post(store)
        await post.step()
        await post.report("raised", 60)
        await post.step(61)
        assert (await post.case())["state"] == "notified"
        found = read(report(post.sent[0].sender))
        assert found is not None
        now = int(post.now) + 60
        assert await bounce.apply(store, found, post.metrics, now) == "bounced"
        assert await bounce.apply(store, found, post.metrics, now + 1) == "known"
        case = await post.case()
        assert (case["state"], case["notified_at"]) == ("open", None)
        (row,) = await post.rows()
        assert (row["state"], row["status"], row["why"]) == ("bounced", "5.1.1", "the mailbox does not exist")
        (_, said) = await actions.read_actions(store, case["id"])
        assert (said.user, said.kind, said.text) == ("mail", "bounced", "5.1.1: the mailbox does not exist")
        # It is for the desk now; nothing is sent again without it.
        assert await post.step(86_400) == 0
        assert (await post.case())["state"] == "open"

    with_store(work)


@pytest.mark.parametrize("late", [False, True])
def test_another_notice_after_one_that_came_back(with_store: WithStore, late: bool) -> None:
    """The subscriber is notified by the second; also where the first comes back after it was sent."""

    async def work(store: Store) -> None:
        post = Post(store)
        await post.step()
        await post.report("raised", 60)
        await post.step(61)
        found = read(report(post.sent[0].sender))
        if not late:
            await bounce.apply(store, found, None, int(post.now) + 60)
        assert await post.asked(1)
        assert await post.step(120) == 1
        if late:
            await bounce.apply(store, found, None, int(post.now) + 60)
        await post.step(120)
        case = await post.case()
        assert (await post.states(), case["state"], case["told_by"]) == (["bounced", "sent"], "notified", "mail")
        kinds = [action.kind for action in await actions.read_actions(store, case["id"])]
        assert kinds == ["notified", "bounced", "notified"]
        await post.step(120)  # noted once
        assert len(await actions.read_actions(store, case["id"])) == 3

    with_store(work)


def test_a_bounce_takes_back_nothing_that_a_person_did(with_store: WithStore) -> None:
    async def work(store: Store) -> None:
        post = Post(store)
        await post.step()
        await post.report("raised", 60)
        case = (await post.case())["id"]
        await actions.notified(store, case, "anna", "by telephone", int(post.now) + 61)
        await post.asked()
        await post.step(62)
        found = read(report(post.sent[0].sender))
        assert await bounce.apply(store, found, None, int(post.now) + 1) == "bounced"
        assert (await post.case())["state"] == "notified"
        assert await post.states() == ["bounced"]

    with_store(work)


def test_a_delay_is_shown_and_changes_nothing(with_store: WithStore) -> None:
    async def work(store: Store) -> None:
        post = Post(store)
        await post.step()
        await post.report("raised", 60)
        await post.step(61)
        found = read(report(post.sent[0].sender, "delayed", "4.4.1"))
        assert await bounce.apply(store, found, None, int(post.now)) == "delayed"
        (row,) = await post.rows()
        assert (row["state"], row["why"]) == ("sent", "delayed: the mail server does not answer")
        assert (await post.case())["state"] == "notified"
        assert await bounce.apply(store, read(report(SIGNED)), None, 0) == "other"  # signed, and deleted since

    with_store(work)


def test_a_maildir_is_emptied(with_store: WithStore, tmp_path: Path) -> None:
    for name in ("new", "cur", "tmp"):
        (tmp_path / name).mkdir()

    async def work(store: Store) -> None:
        post = Post(store)
        await post.step()
        await post.report("raised", 60)
        await post.step(61)
        (tmp_path / "new" / "1").write_bytes(report(post.sent[0].sender))
        (tmp_path / "new" / "2").write_bytes(b"\xff" * 5000)
        (tmp_path / "cur" / "3:2,S").write_bytes(b"To: me\n\nhello\n")
        (tmp_path / "new" / "4").symlink_to("/etc/passwd")
        os.mkfifo(tmp_path / "new" / "5")
        maildir = bounce.Maildir(str(tmp_path), store, ADDRESS, KEY, post.metrics)
        assert await asyncio.wait_for(maildir.step(int(post.now) + 1), 30) == 3
        assert await post.states() == ["bounced"]
        assert await maildir.step(int(post.now)) == 0

    with_store(work)
