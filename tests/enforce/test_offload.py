"""Mail kept out of flow offload, in a made-up table of fw4: this kernel may have no flow tables (see tests/vm)."""

from __future__ import annotations

import select
import subprocess
from collections.abc import Iterator

import pytest

from cpe_filter.enforce import nfnetlink, nftables, offload
from cpe_filter.enforce.nfnetlink import Change
from cpe_filter.enforce.watch import Watch
from cpe_filter.policy.model import Policy
from tests.lab.alone import network
from tests.policies import make_policy

pytestmark = pytest.mark.live

#: As fw4 writes it, less the flow table.
FW4 = """
table inet fw4
delete table inet fw4
table inet fw4 {
    chain forward {
        type filter hook forward priority filter; policy drop;
        ct state vmap { established : accept, related : accept }
        jump handle_reject
    }
    chain handle_reject {
        reject
    }
}
"""
LINE = 'meta l4proto tcp ct original proto-dst 25 ct state established accept comment "cpe-filter: no flow offload"'


@pytest.fixture(autouse=True)
def alone(live: None) -> Iterator[None]:
    with network():
        yield


def nft(rules: str) -> None:
    subprocess.run(["nft", "-f", "-"], input=rules, text=True, check=True)


def forward() -> list[str]:
    """The rules of fw4's chain `forward`."""
    text = subprocess.run(["nft", "list", "chain", "inet", "fw4", "forward"], capture_output=True, text=True).stdout
    return [line.strip() for line in text.splitlines()[3:-2]]


def tables() -> str:
    return subprocess.run(["nft", "list", "tables"], capture_output=True, text=True).stdout


def test_stands_first_and_once_however_often_it_is_installed() -> None:
    nft(FW4)
    before = forward()
    assert not offload.installed(Policy())
    for _ in range(3):
        offload.install(Policy())
        assert offload.installed(Policy())
        assert forward() == [LINE, *before]
    offload.remove()
    assert forward() == before
    offload.remove()


def test_follows_the_policy_s_ports() -> None:
    nft(FW4)
    offload.install(Policy())
    both = make_policy(ports=(25, 2525))
    assert not offload.installed(both)
    offload.install(both)
    assert offload.installed(both)
    assert forward()[:2] == [LINE, LINE.replace("25", "2525")]
    assert len([rule for rule in forward() if "cpe-filter" in rule]) == 2
    offload.install(Policy())
    assert forward()[0] == LINE
    assert len([rule for rule in forward() if "cpe-filter" in rule]) == 1
    # What is listed can be loaded: people keep rulesets that way.
    listed = subprocess.run(["nft", "list", "ruleset"], capture_output=True, text=True).stdout
    nft("flush ruleset\n" + listed)


def test_somebody_s_rule_before_it_is_overtaken() -> None:
    nft(FW4)
    offload.install(Policy())
    nft("insert rule inet fw4 forward tcp dport 80 accept")
    assert not offload.installed(Policy())
    offload.install(Policy())
    assert forward()[:2] == [LINE, "tcp dport 80 accept"]


@pytest.mark.parametrize(
    "rules",
    ["", "table inet fw4 { chain other { }; }", "table ip fw4 { chain forward { }; }"],
    ids=["no firewall", "no chain", "another family"],
)
def test_without_fw4_there_is_nothing_to_do(rules: str) -> None:
    nft(rules)
    before = tables()
    assert offload.installed(Policy())
    offload.install(Policy())
    offload.remove()
    assert tables() == before


def test_an_empty_chain() -> None:
    nft("table inet fw4 { chain forward { }; }")
    assert not offload.installed(Policy())
    offload.install(Policy())
    assert offload.installed(Policy())


def test_error_of_the_kernel_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    nft(FW4)

    def listing(*_: object) -> list[tuple[int, bytes]]:
        raise OSError(1, "Operation not permitted")

    monkeypatch.setattr(offload, "listing", listing)
    with pytest.raises(nftables.KernelError, match=r"^Operation not permitted$"):
        offload.install(Policy())
    with pytest.raises(nftables.KernelError, match=r"^Operation not permitted$"):
        offload.remove()


def test_put_back_when_fw4_writes_its_table_anew() -> None:
    log: list[str] = []
    poll = select.poll()
    kept = Watch([offload.guarded(Policy, log.append)], poll, log.append)
    now = 1000.0
    for rules in (FW4, FW4, "flush ruleset", FW4):
        nft(rules)
        now += 5
        while poll.poll(100) or kept.is_repairing:
            kept.serve(now)
        kept.tick(now)
        assert offload.installed(Policy())
        assert ("cpe-filter: no flow offload" in "".join(forward())) is (rules == FW4)
    assert kept.repairs == 3
    assert log[0].startswith("exemption of mail from fw4's flow offload is missing by nft (pid ")
    kept.close()


def test_others_flow_tables(monkeypatch: pytest.MonkeyPatch) -> None:
    """Told once for each table. What the kernel would list is made up: this one may have no flow tables."""
    log: list[str] = []

    def rule(table: bytes, chain: bytes, expression: bytes) -> bytes:
        parts = ((1, table + b"\0"), (2, chain + b"\0"), (4, expression))
        return b"".join(
            (4 + len(value)).to_bytes(2, "little") + kind.to_bytes(2, "little") + value + bytes(-len(value) % 4)
            for kind, value in parts
        )

    listed = [
        (nfnetlink.INET, rule(b"fw4", b"forward", b"flow_offload\0")),
        (nfnetlink.INET, rule(b"home", b"fast", b"flow_offload\0")),
        (nfnetlink.IPV4, rule(b"home", b"fast", b"counter\0")),
    ]
    monkeypatch.setattr(offload, "listing", lambda what, *_: listed if what == nfnetlink.RULE else [])
    guarded = offload.guarded(Policy, log.append)
    assert guarded.problem() is None
    assert guarded.problem() is None
    assert log == ["flow offload in table inet home bypasses the filter"]
    assert guarded.concerns(Change(nfnetlink.FLOWTABLE, nfnetlink.INET, b"home", b"", ""))
    assert not guarded.concerns(Change(nfnetlink.RULE, nfnetlink.INET, b"home", b"", ""))
