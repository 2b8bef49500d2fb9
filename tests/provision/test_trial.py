"""The wait after a change: what worked before has to work, and what did not says nothing."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from ipaddress import ip_network
from pathlib import Path

import pytest

from cpe_filter.policy.model import Policy
from cpe_filter.provision import trial
from cpe_filter.provision.running import lacks_documents

ALL = {"filter": True, "rules": True, "collector": True}


class Time:
    def __init__(self) -> None:
        self.at = 0.0

    def now(self) -> float:
        return self.at

    def sleep(self, seconds: float) -> None:
        self.at += seconds


def waited(looks: list[trial.Looks], before: trial.Looks = ALL) -> tuple[list[str], float]:
    clock, left = Time(), list(looks)

    def look() -> trial.Looks:
        return left.pop(0) if len(left) > 1 else left[0]

    return trial.wait(before, look, 60.0, 20.0, clock.now, clock.sleep), clock.at


def test_all_goes_on_working() -> None:
    assert waited([ALL]) == ([], 20.0)


def test_what_fails_for_a_while_is_waited_for() -> None:
    failing = {**ALL, "collector": False}
    assert waited([failing] * 6 + [ALL]) == ([], 30.0)


def test_what_fails_to_the_end_is_named() -> None:
    failing, seconds = waited([{**ALL, "rules": False, "collector": False}])
    assert failing == ["rules", "collector"]
    assert seconds == 60.0


def test_what_did_not_work_before_fails_nothing() -> None:
    assert waited([{**ALL, "collector": False}], {**ALL, "collector": False})[0] == []


def test_refused_mail_is_not_waited_for() -> None:
    refused = {**ALL, "mail": False}
    assert waited([{**ALL, "mail": True}, refused], {**ALL, "mail": True}) == (["mail"], 5.0)


def reporting_to(url: str) -> Policy:
    policy = Policy()
    return policy._replace(report=policy.report._replace(url=url))


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        one.listen()
        yield one


def test_a_collector_is_reached_or_not(listener: socket.socket) -> None:
    policy = reporting_to(f"https://127.0.0.1:{listener.getsockname()[1]}/x")
    assert trial.look(policy, [])["collector"]
    listener.close()
    assert not trial.look(policy, [])["collector"]
    assert trial.look(reporting_to("https://collector.invalid/"), [])["dns"] is False
    assert "collector" not in trial.look(Policy(), [])


def test_a_name_server_that_never_answers_ends_a_look(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "_NETWORK_S", 0.5)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args: time.sleep(60))
    begun = time.monotonic()
    found = trial.look(reporting_to("https://collector.example/"), ["192.0.2.1"])
    assert (found["dns"], found["collector"], found["relay"]) == (False, False, False)
    assert time.monotonic() - begun < 10


def with_relays(*relays: str) -> Policy:
    policy = Policy()
    return policy._replace(network=policy.network._replace(relays=tuple(map(ip_network, relays))))


def test_relays_are_tried_only_if_they_change(listener: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "_SMTP", listener.getsockname()[1])
    old = with_relays("127.0.0.1")
    wrong = trial.Looker(old, with_relays("127.0.0.1/32", "127.9.9.9/32"))
    assert wrong.before["relay"]
    assert trial.worse(wrong.before, wrong.after()) == []
    listener.close()
    assert trial.worse(wrong.before, wrong.after()) == []  # one answer is enough
    for new in (with_relays("127.0.0.1"), with_relays(), with_relays("10.0.0.0/8")):
        assert "relay" not in trial.Looker(old, new).before


def test_relays_with_a_wrong_address(listener: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "_SMTP", listener.getsockname()[1])
    looker = trial.Looker(with_relays("127.0.0.1"), with_relays("127.9.9.9"))
    # A listener on 127.0.0.1 does not answer at another address.
    assert trial.worse(looker.before, looker.after()) == ["relay"]


def test_mail_that_is_refused_more(tmp_path: Path) -> None:
    status = tmp_path / "status.json"

    def known(refused: int) -> None:
        one = {"device": "02:00:00:00:00:01", "standing": "clear", "messages": 3, "connections": 9, "refused": refused}
        status.write_text(json.dumps({"devices": [one]}))

    policy = Policy()
    policy = policy._replace(
        filter=policy.filter._replace(mode="limit"), status=policy.status._replace(status_file=str(status))
    )
    tighter = policy._replace(limits=policy.limits._replace(messages_per_hour=1))
    known(0)
    looker = trial.Looker(policy, tighter)
    assert trial.worse(looker.before, looker.after()) == []
    known(1)
    assert trial.worse(looker.before, looker.after()) == ["mail"]
    status.unlink()
    assert trial.worse(looker.before, looker.after()) == []
    assert "mail" not in trial.Looker(policy, policy).before


def test_names_are_resolved_without_the_codecs_that_a_router_lacks() -> None:
    """python3-light has no `unicodedata`, without which Python cannot encode a host's name that is a text."""
    program = (
        "import sys\n"
        "class Missing:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'unicodedata':\n"
        "            raise ModuleNotFoundError(name)\n"
        "sys.meta_path.insert(0, Missing())\n"
        "from cpe_filter.provision import trial\n"
        "assert 'unicodedata' not in sys.modules\n"
        "print(trial._addresses('localhost', 25) != [])\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("True\n", "")


@pytest.mark.parametrize(
    ("status", "lacks"),
    [
        ({"updated": 20.0, "signed": {"table": "3 0123456789abcdef"}}, False),
        ({"updated": 20.0, "signed": {"table": "2 0123456789abcdef"}}, True),
        ({"updated": 20.0}, True),
        ({"updated": 20.0, "signed": {"table": "3 0123456789abcdef", "policy": "1 0123456789abcdef"}}, True),
        ({"updated": 10.0}, False),  # of before the reload
        ({"signed": {}}, False),
        ([], False),
        ({"updated": "x"}, False),
    ],
)
def test_whether_the_filter_has_the_document(status: object, lacks: bool, tmp_path: Path) -> None:
    path = tmp_path / "status.json"
    policy = Policy()
    policy = policy._replace(
        status=policy.status._replace(status_file=str(path)),
        signed=policy.signed._replace(table="3 0123456789abcdef"),
    )
    assert not lacks_documents(policy, 10.0)
    path.write_text(json.dumps(status))
    assert lacks_documents(policy, 10.0) is lacks
