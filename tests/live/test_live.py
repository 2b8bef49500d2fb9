"""The live filter against the real kernel queue, in the lab: verdicts, limits, both families, starting and stopping."""

from __future__ import annotations

import signal
import subprocess
import time
from pathlib import Path

import pytest

from cpe_filter.inspect.packet import parse
from cpe_filter.replay.capture import frames
from tests.ip_packets import network_layer
from tests.lab.mail import bot, send, sent
from tests.lab.net import DEADLINE_S, PYTHON, RELAY4, RELAY6, Filter, Lab, mx4, mx6

pytestmark = pytest.mark.live

MONITOR = '[filter]\nmode = "monitor"\n'
BLOCK = '[filter]\nmode = "block"\n'
LIMIT = '[filter]\nmode = "limit"\n'


def ruleset(lab: Lab) -> str:
    return lab.run("router", ["nft", "-s", "list", "ruleset"]).stdout


def refused_start(lab: Lab, command: list[str]) -> str:
    """Starts a filter that cannot run: one line, exit 2, nothing left behind. Returns the line."""
    before = ruleset(lab)
    done = lab.run("router", command, check=False)
    assert done.returncode == 2, done.stderr
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert "Traceback" not in done.stderr
    assert ruleset(lab) == before
    return done.stderr


def run_command(policy: Path) -> list[str]:
    return [PYTHON, "-m", "cpe_filter", "run", "--policy", str(policy)]


# ── what happens to mail ────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("options", [[], ["--six"]], ids=["IPv4", "IPv6"])
def test_bot_is_found_and_stopped_and_the_laptop_unharmed(lab: Lab, options: list[str]) -> None:
    running = lab.start_filter(lab.policy(MONITOR))
    assert sent(lab, RELAY4)
    assert sent(lab, mx4(0))
    attempts = bot(lab, "--count", "30", "--parallel", "2", *options)
    found, clean = running.device("device2"), running.device("device1")
    assert found is not None
    assert found["standing"] == "compromised"
    assert found["compromised_at"]["connection"] <= 20
    assert found["mode"] == "block"
    assert clean is not None
    assert clean["standing"] == "clear"
    assert not any(attempt["ended"] == "message" for attempt in attempts[20:])
    # The kernel knows by itself, and refuses without asking.
    blocked = lab.run("router", ["nft", "list", "set", "inet", "cpe_filter", "blocked"]).stdout
    assert Lab.mac("device2") in blocked
    assert Lab.mac("device1") not in blocked
    # The blocked device still reaches the relay, and the laptop everything.
    assert sent(lab, RELAY4, device="device2")
    assert sent(lab, RELAY6)
    assert sent(lab, mx6(0))
    assert running.stop() == 0


def test_two_devices_at_once_are_told_apart(lab: Lab) -> None:
    running = lab.start_filter(lab.policy(MONITOR))
    laptop = lab.start("device1", [PYTHON, "-m", "tests.lab.send", mx4(0), "--count", "20", "--pause", "0.05"])
    bot(lab, "--count", "20")
    out, _ = laptop.communicate(timeout=DEADLINE_S)
    assert out.count("sent ") == 20
    assert "not sent" not in out
    for device, standing in (("device1", "clear"), ("device2", "compromised")):
        found = running.device(device)
        assert found is not None
        assert found["standing"] == standing


def test_mode_block_lets_nothing_leave_but_to_relays(lab: Lab) -> None:
    lab.start_filter(lab.policy(BLOCK))
    path = lab.folder / "wan.pcap"
    tcpdump = lab.capture("router", "wan", path, "tcp port 25")
    for server in (mx4(0), mx6(0)):
        (line,) = send(lab, server)
        assert "refused" in line  # a reset, not a time-out
    bot(lab, "--count", "20")
    assert sent(lab, RELAY4)
    assert sent(lab, RELAY6)
    time.sleep(0.2)
    lab.stop(tcpdump)
    destinations = set()
    for frame in frames(str(path), print):
        layer = network_layer(frame)
        assert layer is not None
        segment = parse(layer[1])
        assert not isinstance(segment, str)
        destinations.add(segment.dst if segment.dport == 25 else segment.src)
    assert len(destinations) == 2, destinations  # the relay's two addresses


def test_recipients_over_the_limit_end_the_session(lab: Lab) -> None:
    running = lab.start_filter(lab.policy(LIMIT + "[limits]\nrecipients_per_hour = 3\nrecipients_burst = 3\n"))
    (first, second, third, fourth) = send(lab, mx4(0), "--count", "4")
    assert [first[:4], second[:4], third[:4]] == ["sent"] * 3
    assert fourth.startswith("not sent")
    running.wait_for("over the limit of 3 recipients/h")
    device = running.device("device1")
    assert device is not None
    assert device["refused"] == 1
    assert sum(len(record["messages"]) for record in lab.mail()) == 3


def test_exempt_pair_passes_in_mode_block_and_stays_watched(lab: Lab) -> None:
    exempt = f'[[exempt]]\ndevice = "{Lab.mac("device1")}"\ndestination = "{mx4(0)}"\nreason = "its own mail server"\n'
    running = lab.start_filter(lab.policy(BLOCK + exempt))
    assert sent(lab, mx4(0))
    assert not sent(lab, mx4(4))
    assert not sent(lab, mx4(0), device="device2")
    device = running.device("device1")
    assert device is not None
    assert device["messages"] == 1


def test_compromised_device_keeps_its_exemption(lab: Lab) -> None:
    exempt = f'[[exempt]]\ndevice = "{Lab.mac("device2")}"\ndestination = "{mx4(40)}"\n'
    running = lab.start_filter(lab.policy(MONITOR + exempt))
    bot(lab, "--count", "20")
    running.wait_for("compromised")
    assert not sent(lab, mx4(44), device="device2")
    assert sent(lab, mx4(40), device="device2")


def test_mail_of_the_router_itself_is_seen(lab: Lab) -> None:
    running = lab.start_filter(lab.policy(MONITOR))
    bot(lab, "--count", "20", device="router")
    device = running.device("router")
    assert device is not None
    assert device["standing"] == "compromised"
    assert device["evidence"][0]["weight"] > 0
    attempts = bot(lab, "--count", "3", "--first", "30", device="router")
    assert {attempt["reply"] for attempt in attempts} == {"refused"}


def test_other_ports_are_never_touched(lab: Lab) -> None:
    lab.start_filter(lab.policy(BLOCK))
    listener = (
        "import socket\n"
        "s = socket.create_server(('0.0.0.0', 587))\n"
        "print('up', flush=True)\n"
        "s.accept()[0].sendall(b'hello')\n"
    )
    process = lab.start("internet", [PYTHON, "-c", listener])
    assert process.stdout is not None
    process.stdout.readline()
    client = f"import socket;print(socket.create_connection(('{mx4(0)}',587),3).recv(9))"
    assert "hello" in lab.run("device1", [PYTHON, "-c", client]).stdout


def test_private_destinations_pass(lab: Lab) -> None:
    lab.run("internet", ["ip", "route", "add", "local", "10.9.9.0/24", "dev", "lo"])
    lab.start_filter(lab.policy(BLOCK))
    assert sent(lab, "10.9.9.9")


# ── starting and stopping ───────────────────────────────────────────────────────────────────────────


def test_nothing_remains_after_a_clean_stop(lab: Lab) -> None:
    before = ruleset(lab)
    running = lab.start_filter(lab.policy(MONITOR))
    assert "cpe_filter" in ruleset(lab)
    assert running.stop() == 0
    assert ruleset(lab) == before
    assert not (lab.folder / "status.json").exists()


def test_other_tables_stay_as_they_were(lab: Lab) -> None:
    lab.run("router", ["iptables-nft", "-t", "security", "-A", "FORWARD", "-p", "udp", "--dport", "9", "-j", "DROP"])
    before = ruleset(lab)
    running = lab.start_filter(lab.policy(MONITOR))
    assert running.stop() == 0
    assert ruleset(lab) == before


@pytest.mark.parametrize("fail", ["open", "closed"])
def test_killed_filter_and_its_successor(lab: Lab, fail: str) -> None:
    policy = lab.policy(f'[filter]\nmode = "monitor"\nfail = "{fail}"\n')
    running = lab.start_filter(policy)
    assert sent(lab, mx4(0))
    running.stop(signal.SIGKILL)
    if fail == "open":
        assert sent(lab, mx4(0))
    else:
        program = f"import socket;socket.create_connection(('{mx4(0)}',25),1.5)"
        assert lab.run("device1", [PYTHON, "-c", program], check=False).returncode != 0
    assert sent(lab, RELAY4)
    again = lab.start_filter(policy)
    assert sent(lab, mx4(0))
    assert lab.run("router", ["nft", "list", "tables"]).stdout.count("cpe_filter") == 1
    assert again.stop() == 0
    assert ("cpe_filter" in ruleset(lab).lower()) is (fail == "closed")


@pytest.mark.parametrize(("fail", "leaves"), [("open", True), ("closed", False)])
def test_without_its_hand_off_nothing_leaves_only_when_failing_closed(lab: Lab, fail: str, leaves: bool) -> None:
    running = lab.start_filter(lab.policy(f'[filter]\nmode = "monitor"\nfail = "{fail}"\n'))
    running.process.send_signal(signal.SIGSTOP)  # else it is back within a second
    try:
        lab.nft("router", "flush chain inet cpe_filter hand_off")
        for server in (mx4(0), mx6(0)):
            program = f"import socket;socket.create_connection(('{server}',25),1.5)"
            done = lab.run("device1", [PYTHON, "-c", program], check=False)
            assert (done.returncode == 0) == leaves, done.stderr
    finally:
        running.process.send_signal(signal.SIGCONT)
    assert sent(lab, mx4(0))


@pytest.mark.parametrize(("fail", "kept"), [("open", False), ("closed", True)])
def test_a_crash_keeps_the_ruleset_only_when_failing_closed(lab: Lab, fail: str, kept: bool) -> None:
    policy = lab.policy(f'[filter]\nmode = "monitor"\nfail = "{fail}"\n')
    program = (
        "import sys, cpe_filter.live.daemon as r\n"
        "def crash(self): raise ValueError('a defect')\n"
        "r.Daemon.loop = crash\n"
        "from cpe_filter.cli.main import main\n"
        f"main(['run', '--policy', {str(policy)!r}])\n"
    )
    done = lab.run("router", [PYTHON, "-c", program], check=False)
    assert done.returncode == 70
    assert "internal error, stopping: ValueError: a defect" in done.stderr
    assert "Traceback" not in done.stderr
    assert ("cpe_filter" in ruleset(lab)) is kept


def test_queue_taken(lab: Lab) -> None:
    policy = lab.policy(MONITOR)
    running = lab.start_filter(policy)
    other = lab.policy(MONITOR, "other.toml")
    line = refused_start(lab, run_command(other))
    assert f"already running (pid {running.status()['pid']}): queue 25 cannot be bound" in line
    assert "holds it" in line
    # The first one has not been disturbed.
    assert running.process.poll() is None
    assert running.status()["queue"] == 25
    assert sent(lab, mx4(0))


def test_missing_interface(lab: Lab) -> None:
    path = lab.folder / "wrong.toml"
    path.write_text('[network]\nlan = ["br-lan"]\nwan = ["wan7"]\n')
    line = refused_start(lab, run_command(path))
    assert "[network] wan names wan7, and there is no such interface" in line
    assert "br-lan" in line


def test_without_capability(lab: Lab) -> None:
    command = ["setpriv", "--bounding-set", "-net_admin", *run_command(lab.policy(MONITOR))]
    assert "CAP_NET_ADMIN" in refused_start(lab, command)


def test_without_nft(lab: Lab) -> None:
    # `ip netns exec` gives every program mounts of its own: nft vanishes for this one only.
    hide = "for f in $(command -v nft) /usr/sbin/nft; do mount --bind /dev/null $f; done; exec "
    command = ["sh", "-c", hide + " ".join(run_command(lab.policy(MONITOR)))]
    assert "nft is not installed" in refused_start(lab, command)


def test_unusable_status_folder(lab: Lab) -> None:
    path = lab.policy(MONITOR)
    path.write_text(path.read_text().replace(f"{lab.folder}/status.json", "/proc/none/status.json"))
    assert "/proc/none/status.json" in refused_start(lab, run_command(path))


def test_bad_policy(lab: Lab) -> None:
    path = lab.folder / "bad.toml"
    path.write_text('[filter]\nmode = "blok"\n')
    assert '[filter] mode is "blok"; allowed: monitor, limit, block' in refused_start(lab, run_command(path))


def test_status_for_people(lab: Lab) -> None:
    running = lab.start_filter(lab.policy(MONITOR))
    bot(lab, "--count", "12")
    time.sleep(1.2)
    program = [PYTHON, "-m", "cpe_filter", "status", "--policy", str(running.policy)]
    text = lab.run("router", program).stdout
    assert f"{Lab.mac('device2')}  compromised" in text
    assert "says HELO with a name of a dynamic address pool" in text
    running.stop(signal.SIGKILL)
    done = lab.run("router", program, check=False)
    assert done.returncode == 1
    assert "does not run any more" in done.stderr


def test_content_and_local_parts_stay_out_of_log_and_status(lab: Lab) -> None:
    running = lab.start_filter(
        lab.policy(LIMIT + "escalate = false\n[limits]\nrecipients_per_hour = 1\nrecipients_burst = 2\n")
    )
    canaries = ("canarysender", "canaryrecipient")
    options = ["--sender", "canarysender@home.example", "--recipient", "canaryrecipient@friends.example"]
    send(lab, mx4(0), "--count", "3", *options)
    bot(lab, "--count", "10")
    time.sleep(1.2)
    seen = running.log() + (lab.folder / "status.json").read_text()
    assert "refused" in seen
    for canary in (*canaries, "jmbijghencgi", "A line of the message", "cheap watches"):
        assert canary not in seen
        assert canary in str(lab.mail()) or " " in canary  # it did pass by


def test_flood_of_garbage_gets_its_verdicts(lab: Lab) -> None:
    running = lab.start_filter(lab.policy(MONITOR))
    program = (
        "import random, socket\n"
        "random.seed(1)\n"
        "for n in range(40):\n"
        f"    s = socket.create_connection(('{mx4(0)}', 25), 5)\n"
        "    try:\n"
        "        for _ in range(5): s.sendall(random.randbytes(900))\n"
        "    except OSError: pass\n"
        "    s.close()\n"
    )
    lab.run("device2", [PYTHON, "-c", program])
    assert sent(lab, mx4(0))
    time.sleep(1.2)
    assert running.status()["failures"] == 0


def test_the_lab_leaves_no_namespace_behind(live: None) -> None:
    with Lab(devices=1) as built:
        name = built.namespace("router")
        assert name in subprocess.run(["ip", "netns"], capture_output=True, text=True).stdout
    assert name not in subprocess.run(["ip", "netns"], capture_output=True, text=True).stdout


# ── a kernel without NFLOG ──────────────────────────────────────────────────────────────────────────


def start_without_log(lab: Lab, policy: Path) -> Filter:
    """A filter that finds no NFLOG: all that it sees waits in the queue."""
    program = (
        "import sys\n"
        "from cpe_filter.enforce import nftables\n"
        "nftables.find_log = lambda policy: False\n"
        "from cpe_filter.cli.main import main\n"
        f"sys.exit(main(['run', '--policy', {str(policy)!r}]))\n"
    )
    log = lab.folder / "without.log"
    with log.open("w") as file:
        process = lab.start("router", [PYTHON, "-c", program], stderr=file)
    running = Filter(lab, process, log, policy)
    running.wait_for("running:")
    assert "no NFLOG" in running.log()
    return running


def test_without_nflog_a_bot_is_found_all_the_same(lab: Lab) -> None:
    running = start_without_log(lab, lab.policy(MONITOR))
    assert sent(lab, mx4(0))
    assert sent(lab, mx6(0))
    attempts = bot(lab, "--count", "30", "--parallel", "2")
    running.wait_for("compromised")
    assert not any(attempt["ended"] == "message" for attempt in attempts[20:])
    clean = running.device("device1")
    assert clean is not None
    assert (clean["standing"], clean["messages"]) == ("clear", 2)


def test_without_nflog_mode_block_denies_and_limit_admits(lab: Lab) -> None:
    policy = lab.policy(BLOCK + f'[[exempt]]\ndestination = "{mx4(20)}"\n')
    running = start_without_log(lab, policy)
    assert not sent(lab, mx4(0))
    assert sent(lab, mx4(20))
    assert sent(lab, RELAY4)
    assert running.stop() == 0
    start_without_log(lab, lab.policy(LIMIT + "[limits]\nconnections_per_hour = 6\nconnections_burst = 2\n"))
    assert [sent(lab, mx4(n)) for n in (0, 4, 10)] == [True, True, False]


@pytest.mark.parametrize("mode", ["monitor", "limit"])
def test_without_nflog_a_hung_filter_holds_mail_up_for_seconds(lab: Lab, mode: str) -> None:
    running = start_without_log(lab, lab.policy(f'[filter]\nmode = "{mode}"\n'))
    running.process.send_signal(signal.SIGSTOP)
    try:
        program = f"import socket;print(socket.create_connection(('{mx4(0)}',25),25).recv(3))"
        assert lab.run("device1", [PYTHON, "-c", program]).stdout == "b'220'\n"
    finally:
        running.process.send_signal(signal.SIGCONT)
