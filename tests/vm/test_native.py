"""What only a kernel with nft's own `queue` and flow tables can show. Runs where the kernel has both.

On others `test_guest` runs this file in a virtual machine.
"""

from __future__ import annotations

import os
import re

import pytest

from cpe_filter.enforce.nftables import KernelError, find_handoff
from cpe_filter.enforce.ruleset_names import NATIVE
from cpe_filter.policy.model import Policy
from tests.lab.net import DEADLINE_S, PYTHON, Filter, Lab, mx4, mx6

pytestmark = pytest.mark.live

MONITOR = '[filter]\nmode = "monitor"\n'
OTHER_PORT = 8080

#: Offload as fw4 sets it up, and behind it how many packets of a direction still come by.
_OFFLOAD = """
table inet TABLE
delete table inet TABLE
table inet TABLE {
    flowtable ft { hook ingress priority filter; devices = { br-lan, wan }; }
    counter mail { }
    counter other { }
    chain forward {
        type filter hook forward priority filter; policy accept;
        meta l4proto { tcp, udp } flow add @ft
    }
    chain seen {
        type filter hook forward priority filter + 10; policy accept;
        tcp dport 25 counter name mail
        tcp dport 8080 counter name other
    }
}
"""
_ECHO = f"""
import socket
server = socket.create_server(("0.0.0.0", {OTHER_PORT}))
print("ready", flush=True)
while True:
    connection, _ = server.accept()
    while connection.recv(100):
        connection.sendall(b"x")
    connection.close()
"""
_EXCHANGES = 100
_TALK = f"""
import socket
connection = socket.create_connection(("{mx4(0)}", {OTHER_PORT}), 10)
for _ in range({_EXCHANGES}):
    connection.sendall(b"x")
    connection.recv(100)
"""
#: A packet socket of one protocol on the LAN that reads nothing; `lookups` opens one of all protocols.
_SOCKET = """
import socket, sys, time
packets = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, 0)
packets.bind(("br-lan", int(sys.argv[1])))
print("ready", flush=True)
time.sleep(600)
"""
ALL_PROTOCOLS = 3


@pytest.fixture
def native(live: None) -> None:
    """Skips where the kernel has no queue of nft's own; in the guest that is a failure."""
    try:
        there = find_handoff(Policy()) == NATIVE
    except KernelError:
        there = False
    if not there and os.environ.get("CPE_FILTER_HANDOFF") == "native":
        pytest.fail("this kernel was to have nft's own queue")
    if not there:
        pytest.skip("this kernel has no nft queue (tests/vm/test_guest.py runs it in one that has)")


def send(lab: Lab, server: str, *options: str) -> list[str]:
    return lab.run("device1", [PYTHON, "-m", "tests.lab.send", server, *options], check=False).stdout.splitlines()


def packets(lab: Lab, counter: str, table: str) -> int:
    text = lab.run("router", ["nft", "list", "counter", "inet", table, counter]).stdout
    found = re.search(r"packets (\d+)", text)
    assert found is not None
    return int(found[1])


def start_filter(lab: Lab, text: str) -> Filter:
    return lab.start_filter(lab.policy(text), timeout=DEADLINE_S)


@pytest.mark.parametrize(("fail", "rule"), [("open", "queue flags bypass to 25"), ("closed", "queue to 25")])
def test_the_kernel_queues_without_iptables(native: None, lab: Lab, fail: str, rule: str) -> None:
    before = lab.run("router", ["nft", "list", "tables"]).stdout
    running = start_filter(lab, f'[filter]\nmode = "limit"\nfail = "{fail}"\n')
    assert f"queue 25 by {NATIVE}" in running.log()
    text = lab.run("router", ["nft", "list", "ruleset"]).stdout
    # In one place, and by nft itself.
    hand_off = lab.run("router", ["nft", "list", "chain", "inet", "cpe_filter", "hand_off"]).stdout
    assert [line for line in hand_off.splitlines() if line.rstrip().endswith(rule)]
    assert text.count(rule) == 1
    assert "xt target" not in text
    for server in (mx4(0), mx6(0)):
        (line,) = send(lab, server)
        assert line.startswith("sent"), running.log()
    device = running.device("device1")
    assert device is not None
    assert device["messages"] == 2
    assert running.status()["handoff"] == NATIVE
    assert running.status()["failures"] == 0
    # SYN, EHLO, MAIL, RCPT, DATA and the content's first packet wait; what the server says is only shown.
    assert packets(lab, "queued", "cpe_filter") >= 2 * 6
    assert packets(lab, "observed", "cpe_filter") >= 2 * 6
    assert running.stop() == 0
    assert lab.run("router", ["nft", "list", "tables"]).stdout == before


@pytest.mark.parametrize("table", ["fw4", "home"])
def test_flow_offload_blinds_unless_mail_is_kept_out(native: None, lab: Lab, table: str) -> None:
    """The filter keeps mail out of fw4's offload. In another's table it cannot, and warns."""
    offload = _OFFLOAD.replace("TABLE", table)
    lab.nft("router", offload)
    running = start_filter(lab, MONITOR)
    if table == "fw4":
        lab.nft("router", offload)  # fw4 reload
        running.wait_for("exemption of mail from fw4's flow offload is missing")
    else:
        running.wait_for("flow offload in table inet home bypasses the filter", 30)
    echo = lab.start("internet", [PYTHON, "-c", _ECHO])
    assert echo.stdout is not None
    echo.stdout.readline()
    lab.run("device1", [PYTHON, "-c", _TALK])
    assert 2 <= packets(lab, "other", table) < _EXCHANGES // 4  # the rest of more than a hundred went another way
    for line in send(lab, mx4(0), "--count", "3"):
        assert line.startswith("sent"), running.log()
    device = running.device("device1")
    assert device is not None
    assert device["connections"] == 3
    # This is what the exemption is for: without it the filter sees connections and no mail.
    assert device["messages"] == (3 if table == "fw4" else 0)
    # SYN, EHLO, MAIL, RCPT, DATA, content, QUIT and FIN, three times; acknowledgements by themselves come on top.
    assert (packets(lab, "mail", table) >= 3 * 8) is (table == "fw4")


def test_lookups_leave_mail_alone(native: None, lab: Lab) -> None:
    assert syns_of_ten(lab, ALL_PROTOCOLS) == 10


def syns_of_ten(lab: Lab, protocol: int) -> int:
    """How many SYNs it takes to send ten mails while a packet socket listens on the LAN. Each is sent in the end."""
    start_filter(lab, MONITOR + "[detect]\nwatch_dns = false\n")
    lab.nft(
        "router",
        "table inet lab_count { counter mail { }; chain c { type filter hook prerouting priority raw; "
        'iifname "br-lan" tcp dport 25 tcp flags & (syn | ack) == syn counter name mail; }; }',
    )
    listener = lab.start("router", [PYTHON, "-c", _SOCKET, str(protocol)])
    assert listener.stdout is not None
    listener.stdout.readline()
    lines = send(lab, mx4(0), "--count", "10")
    assert [line[:4] for line in lines] == ["sent"] * 10
    return packets(lab, "mail", "lab_count")
