"""Whether a change of the policy refuses mail that passed before it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cpe_filter.policy.model import Policy
from cpe_filter.provision import senders
from cpe_filter.provision.senders import Sender


@pytest.mark.parametrize(
    ("was", "now", "mode", "hurt"),
    [
        (Sender(5, 9, 0), Sender(5, 9, 0), "limit", False),
        (Sender(5, 9, 0), Sender(5, 10, 1), "limit", True),
        (Sender(0, 9, 0), Sender(0, 10, 1), "limit", False),  # no server has taken mail of it
        (None, Sender(0, 1, 1), "limit", False),
        (None, Sender(0, 1, 1), "block", True),  # its relay is missing
        (Sender(5, 9, 2), Sender(5, 11, 4), "limit", False),
        (Sender(5, 9, 2), Sender(5, 13, 5), "limit", True),
        (Sender(5, 100, 50), Sender(5, 110, 55), "limit", False),  # as before
        (Sender(5, 100, 50), Sender(5, 104, 54), "limit", True),
        (Sender(5, 100, 0), Sender(1, 2, 1), "limit", False),  # the table was full, and it is new again
        (Sender(5, 100, 7), Sender(5, 100, 3), "limit", False),
        (Sender(5, 0, 0), Sender(5, 0, 1), "limit", True),  # a running connection was ended
        (Sender(5, 9, 0, False), Sender(5, 10, 1), "limit", False),
        (Sender(5, 9, 7, False), Sender(5, 9, 7), "block", False),  # it is cleared in the trial
        (Sender(5, 9, 0), Sender(5, 10, 1, False), "limit", False),
    ],
)
def test_which_refusals_count(was: Sender | None, now: Sender, mode: str, hurt: bool) -> None:
    before = {} if was is None else {"02:00:00:00:00:01": was}
    assert senders.is_hurt(before, {"02:00:00:00:00:01": now}, mode) is hurt


def test_other_devices_do_not_hide_one() -> None:
    good, bad = Sender(5, 9, 0), Sender(5, 10, 1)
    assert senders.is_hurt({"a": good, "b": good}, {"a": good, "b": bad}, "limit")
    assert not senders.is_hurt({"a": good, "b": good}, {"a": good}, "limit")  # it is suspected by now


def policy(**filter_: object) -> Policy:
    return Policy()._replace(filter=Policy().filter._replace(**filter_))  # type: ignore[arg-type]


def test_which_changes_are_compared() -> None:
    limit = policy(mode="limit")
    assert not senders.compares(limit, limit)
    assert not senders.compares(limit, limit._replace(explain=limit.explain._replace(text="x")))
    assert senders.compares(limit, limit._replace(limits=limit.limits._replace(messages_per_hour=1)))
    assert senders.compares(policy(mode="monitor"), limit)
    assert not senders.compares(limit, policy(mode="block"))  # the document says so
    block = policy(mode="block")
    assert senders.compares(block, block._replace(network=block.network._replace(ports=(25, 587))))


def test_what_is_read(tmp_path: Path) -> None:
    path = tmp_path / "status.json"
    read = policy()._replace(status=Policy().status._replace(status_file=str(path)))
    assert senders.in_status(read) is None
    devices = [
        {"device": name, "standing": standing, "messages": 1, "connections": 2, "refused": 0}
        for name, standing in (("a", "clear"), ("b", "unusual"), ("c", "suspected"), ("d", "compromised"))
    ]
    path.write_text(json.dumps({"devices": devices}))
    assert senders.in_status(read) == {name: Sender(1, 2, 0, name in "ab") for name in "abcd"}
    for text in ("", "[]", "{}", '{"devices": 3}', '{"devices": [{}]}', '{"devices": [3]}', "[" * 100_000):
        path.write_text(text)
        assert senders.in_status(read) is None
