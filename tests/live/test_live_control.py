"""Commands to the running filter, against the real kernel: reload, exempt, release; and what a stop leaves."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from tests.lab.net import DEADLINE_S, PYTHON, RELAY4, Filter, Lab, mx4, mx6

pytestmark = pytest.mark.live

MONITOR = '[filter]\nmode = "monitor"\nrefusal = "reset"\n'
BLOCK = '[filter]\nmode = "block"\nrefusal = "reset"\n'
LIMIT = '[filter]\nmode = "limit"\nrefusal = "reset"\n'

#: A client that stops in the middle of its dialogue until a line comes in.
CLIENT = """
import smtplib, sys
with smtplib.SMTP(sys.argv[1], 25, timeout=10) as smtp:
    smtp.ehlo("mail.home.example")
    smtp.mail("me@home.example")
    print("waiting", flush=True)
    sys.stdin.readline()
    smtp.rcpt("you@friends.example")
    code, text = smtp.data(b"Subject: x\\r\\n\\r\\nA line.\\r\\n" * 2000)
    print(code, flush=True)
"""


def sent(lab: Lab, device: str, server: str) -> bool:
    done = lab.run(device, [PYTHON, "-m", "tests.lab.send", server], check=False)
    return done.stdout.startswith("sent")


def refused(lab: Lab, device: str, server: str) -> bool:
    done = lab.run(device, [PYTHON, "-m", "tests.lab.send", server], check=False)
    return "refused" in done.stdout


def bot(lab: Lab, first: int, count: int) -> list[dict[str, Any]]:
    options = ["--pause", "0.02", "--first", str(first), "--count", str(count)]
    done = lab.run("device2", [PYTHON, "-m", "tests.lab.bot", *options])
    return [json.loads(line) for line in done.stdout.splitlines()]


def cpe(lab: Lab, policy: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """A command of cpe-filter on the router."""
    done = lab.run("router", [PYTHON, "-m", "cpe_filter", *words, "--policy", str(policy)], check=False)
    assert "Traceback" not in done.stderr
    return done


def told(lab: Lab, policy: Path, *words: str) -> str:
    """The same, which has to succeed."""
    done = cpe(lab, policy, *words)
    assert done.returncode == 0, done.stderr
    return done.stdout


def ruleset(lab: Lab) -> str:
    return lab.run("router", ["nft", "-s", "list", "ruleset"]).stdout


def blocked(lab: Lab) -> str:
    return lab.run("router", ["nft", "list", "set", "inet", "cpe_filter", "blocked"]).stdout


def convict(lab: Lab, running: Filter) -> None:
    bot(lab, 10, 20)
    running.wait_for("is now compromised")
    assert refused(lab, "device2", mx4(70))
    assert Lab.mac("device2") in blocked(lab)


# ── reload ──────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("server", [mx4(0), mx6(0)], ids=["IPv4", "IPv6"])
def test_a_dialogue_goes_on_across_reloads(lab: Lab, server: str) -> None:
    policy = lab.policy(MONITOR)
    running = lab.start_filter(policy)
    client = subprocess.Popen(
        lab.command("device1", [PYTHON, "-c", CLIENT, server]),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert client.stdin is not None
    assert client.stdout is not None
    try:
        assert client.stdout.readline() == "waiting\n"
        policy.write_text("nonsense")
        running.process.send_signal(signal.SIGHUP)
        running.wait_for("reload by SIGHUP refused, the policy stays as it was: ")
        lab.policy(LIMIT)
        assert "changed [filter] mode" in told(lab, policy, "reload")
        client.stdin.write("go on\n")
        client.stdin.flush()
        assert client.stdout.readline() == "250\n"
        assert client.wait(DEADLINE_S) == 0
    finally:
        client.kill()
        client.communicate()
    assert sum(len(record["messages"]) for record in lab.mail()) == 1
    device = running.device("device1")
    assert device is not None
    assert (device["messages"], device["mode"]) == (1, "limit")
    assert running.status()["failures"] == 0
    # It was the filter's own doing.
    assert "restored" not in running.log()
    assert running.stop() == 0
    assert "cpe_filter" not in ruleset(lab).lower()


@pytest.mark.parametrize("server", [mx4(0), mx6(0)], ids=["IPv4", "IPv6"])
def test_a_reload_to_mode_block_ends_what_no_rule_admits(lab: Lab, server: str) -> None:
    policy = lab.policy(MONITOR)
    lab.start_filter(policy)
    client = subprocess.Popen(
        lab.command("device1", [PYTHON, "-c", CLIENT, server]),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert client.stdout is not None
    assert client.stdout.readline() == "waiting\n"
    lab.policy(BLOCK)
    assert "changed [filter] mode" in told(lab, policy, "reload")
    assert refused(lab, "device1", server)
    _, errors = client.communicate("go on\n", timeout=DEADLINE_S)
    assert "ConnectionResetError" in errors or "SMTPServerDisconnected" in errors
    assert not any(record["messages"] for record in lab.mail())


def test_a_bad_policy_is_refused_by_the_command(lab: Lab) -> None:
    policy = lab.policy(BLOCK)
    lab.start_filter(policy)
    before = ruleset(lab)
    policy.write_text(policy.read_text().replace('"block"', '"blok"'))
    done = cpe(lab, policy, "reload")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f'cpe-filter: {policy}: [filter] mode is "blok"; allowed: monitor, limit, block\n'
    # Also where the command does not read the policy itself.
    words = ["reload", "--socket", str(lab.folder / "control")]
    done = lab.run("router", [PYTHON, "-m", "cpe_filter", *words], check=False)
    assert done.returncode == 2
    assert '[filter] mode is "blok"' in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert ruleset(lab) == before
    assert refused(lab, "device1", mx4(0))
    time.sleep(1.2)
    status = json.loads((lab.folder / "status.json").read_text())
    assert status["policy"]["refused"].endswith("allowed: monitor, limit, block")
    assert status["policy"]["file"] == str(policy)


def test_hang_up_changes_relays_and_mode(lab: Lab) -> None:
    policy = lab.policy(BLOCK)
    running = lab.start_filter(policy)
    assert refused(lab, "device1", mx4(0))
    policy.write_text(policy.read_text().replace(f'relays = ["{RELAY4}"', f'relays = ["{mx4(0)}"'))
    running.process.send_signal(signal.SIGHUP)
    running.wait_for("is in effect: changed [network] relays")
    assert sent(lab, "device1", mx4(0))
    assert refused(lab, "device1", RELAY4)
    policy.write_text(policy.read_text().replace('"block"', '"monitor"'))
    running.process.send_signal(signal.SIGHUP)
    running.wait_for("is in effect: changed [filter] mode")
    assert sent(lab, "device1", RELAY4)


def test_a_port_is_added_and_lookups_are_no_longer_watched(lab: Lab) -> None:
    policy = lab.policy(BLOCK)
    running = lab.start_filter(policy)
    text = policy.read_text()
    for table, more in (("network", "ports = [25, 2599]"), ("filter", "queue = 99"), ("detect", "watch_dns = false")):
        text = text.replace(f"[{table}]\n", f"[{table}]\n{more}\n")
    policy.write_text(text)
    said = told(lab, policy, "reload").splitlines()
    assert said[0].endswith("changed [network] ports, [detect] watch_dns")
    assert said[1] == "only after a restart of the filter: [filter] queue"
    program = f"import socket;socket.create_connection(('{mx4(0)}',2599),3)"
    done = lab.run("device1", [PYTHON, "-c", program], check=False)
    assert "refused" in done.stderr
    running.wait_for(f"refused 1 connection of {Lab.mac('device1')} to {mx4(0)} port 2599")
    policy.write_text(policy.read_text().replace("watch_dns = false", "watch_dns = true"))
    assert "changed [detect] watch_dns" in told(lab, policy, "reload")
    assert sent(lab, "device1", RELAY4)


def test_the_router_s_own_mail_is_let_go_and_taken_back(lab: Lab) -> None:
    policy = lab.policy(BLOCK)
    lab.start_filter(policy)
    assert refused(lab, "router", mx4(0))
    policy.write_text(policy.read_text().replace("[network]\n", "[network]\nrouter_output = false\n"))
    assert "changed [network] router_output" in told(lab, policy, "reload")
    assert sent(lab, "router", mx4(0))
    assert refused(lab, "device1", mx4(0))
    policy.write_text(policy.read_text().replace("router_output = false", "router_output = true"))
    told(lab, policy, "reload")
    assert refused(lab, "router", mx4(0))


def test_standings_and_the_kernel_s_set_survive(lab: Lab) -> None:
    policy = lab.policy(MONITOR)
    running = lab.start_filter(policy)
    convict(lab, running)
    policy.write_text(policy.read_text().replace('"monitor"', '"limit"'))
    told(lab, policy, "reload")
    assert Lab.mac("device2") in blocked(lab)
    assert refused(lab, "device2", mx4(71))
    device = running.device("device2")
    assert device is not None
    assert device["standing"] == "compromised"


def test_a_reload_fills_the_kernel_s_sets_if_another_program_has_flushed_them(lab: Lab) -> None:
    """Between the flush and the guard's repair a reload makes the table, with empty sets."""
    policy = lab.policy(MONITOR)
    running = lab.start_filter(policy)
    convict(lab, running)
    lab.run("router", ["nft", "flush", "ruleset"])
    running.wait_for("ruleset removed")
    # The guard rests after a repair, so the next one is not before the reload.
    lab.run("router", ["nft", "flush", "ruleset"])
    told(lab, policy, "reload")
    assert Lab.mac("device2") in blocked(lab)
    assert "elements" in lab.run("router", ["nft", "list", "set", "inet", "cpe_filter", "alive"]).stdout


def test_buckets_survive(lab: Lab) -> None:
    policy = lab.policy(LIMIT + "[limits]\nconnections_per_hour = 1\nconnections_burst = 3\n")
    lab.start_filter(policy)
    assert sent(lab, "device1", mx4(0))
    assert sent(lab, "device1", mx4(0))
    policy.write_text(policy.read_text().replace("connections_per_hour = 1", "connections_per_hour = 2"))
    told(lab, policy, "reload")
    assert sent(lab, "device1", mx4(0))
    assert refused(lab, "device1", mx4(0))


def test_a_device_is_let_go_that_the_new_policy_does_not_block(lab: Lab) -> None:
    policy = lab.policy(MONITOR)
    running = lab.start_filter(policy)
    convict(lab, running)
    policy.write_text(policy.read_text().replace("[filter]\n", "[filter]\nescalate = false\n"))
    told(lab, policy, "reload")
    assert sent(lab, "device2", mx4(0))


# ── exemptions ──────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("server", [mx4(0), mx6(0)], ids=["IPv4", "IPv6"])
def test_an_exemption_is_in_force_at_once_and_after_a_restart(lab: Lab, server: str) -> None:
    policy = lab.policy(BLOCK)
    running = lab.start_filter(policy)
    assert refused(lab, "device1", server)
    mac = Lab.mac("device1")
    words = ["exempt", "add", "--device", mac, "--destination", server, "--for", "7d", "--reason", "its own server"]
    assert told(lab, policy, *words).startswith(f"exemption 1 added: device {mac}, destination {server}, until ")
    assert sent(lab, "device1", server)
    assert refused(lab, "device2", server)
    assert refused(lab, "device1", mx4(4))
    assert f"exemption 1 added by uid 0: device {mac}, destination {server}" in running.log()
    (row,) = json.loads(told(lab, policy, "exempt", "list", "--json"))
    assert (row["id"], row["device"], row["in_force"], row["by"]) == ("1", mac, True, "uid 0")
    assert running.stop(signal.SIGKILL) == -9
    again = lab.start_filter(policy)  # with a stale socket in its way, too
    assert sent(lab, "device1", server)
    told(lab, policy, "reload")
    assert sent(lab, "device1", server)
    device = again.device("device1")
    assert device is not None
    assert device["connections"] >= 2  # it stays watched
    assert told(lab, policy, "exempt", "remove", "1") == "exemption 1 removed\n"
    assert refused(lab, "device1", server)
    assert again.stop() == 0
    assert not (lab.folder / "control").exists()
    assert "restored" not in again.log()


def test_an_exemption_frees_a_blocked_device(lab: Lab) -> None:
    policy = lab.policy(MONITOR)
    running = lab.start_filter(policy)
    convict(lab, running)
    told(lab, policy, "exempt", "add", "--device", Lab.mac("device2"), "--reason", "we know")
    assert sent(lab, "device2", mx4(0))
    told(lab, policy, "exempt", "remove", "--device", Lab.mac("device2"))
    assert refused(lab, "device2", mx4(0))


def test_an_exemption_ends(lab: Lab) -> None:
    policy = lab.policy(BLOCK)
    running = lab.start_filter(policy)
    until = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 8))
    told(lab, policy, "exempt", "add", "--destination", mx4(0), "--until", until, "--reason", "for a moment")
    assert sent(lab, "device1", mx4(0))
    running.wait_for("exemption 1 has expired: device any")
    assert refused(lab, "device1", mx4(0))
    assert "expired 20" in told(lab, policy, "exempt", "list")


def test_exemptions_without_a_filter_count_from_the_next_start(lab: Lab) -> None:
    policy = lab.policy(BLOCK)
    said = told(lab, policy, "exempt", "add", "--destination", mx4(0), "--reason", "x")
    assert "takes effect when the filter starts" in said
    running = lab.start_filter(policy)
    assert sent(lab, "device1", mx4(0))
    running.stop()
    assert told(lab, policy, "exempt", "remove", "1").startswith("exemption 1 removed\nsaved to ")
    lab.start_filter(policy)
    assert refused(lab, "device1", mx4(0))


def test_a_damaged_exemptions_file(lab: Lab) -> None:
    policy = lab.policy(BLOCK)
    file = lab.folder / "flash" / "exemptions.toml"
    told(lab, policy, "exempt", "add", "--destination", mx4(0), "--reason", "x")
    file.write_text(file.read_text()[:-9])
    running = lab.start_filter(policy)
    line = running.wait_for("exemptions not used: ")
    assert f"{file}: not TOML" in line
    assert f"kept as {file}.bad" in line
    assert refused(lab, "device1", mx4(0))
    told(lab, policy, "exempt", "add", "--destination", mx4(0), "--reason", "x")
    assert sent(lab, "device1", mx4(0))


# ── release ─────────────────────────────────────────────────────────────────────────────────────────


def test_release(lab: Lab) -> None:
    policy = lab.policy(MONITOR)
    running = lab.start_filter(policy)
    convict(lab, running)
    done = cpe(lab, policy, "release", "phone")
    assert done.returncode == 2
    mac = Lab.mac("device2")
    assert done.stderr == f'cpe-filter: no device is called "phone"; compromised: {mac}\n'
    said = told(lab, policy, "release", mac, "--reason", "new firmware")
    assert f"{mac} is no longer compromised, in mode limit." in said
    assert mac not in blocked(lab)
    assert sent(lab, "device2", mx4(0))
    running.wait_for(f"release of {mac} by uid 0: new firmware")
    running.wait_for(f"device {mac} is now suspected (was compromised)")
    # Written down at once: it stays released, whatever happens.
    assert running.stop(signal.SIGKILL) == -9
    again = lab.start_filter(policy)
    device = again.device("device2")
    assert device is not None
    assert device["standing"] == "suspected"
    # And it is found again where it was not cleaned.
    bot(lab, 100, 20)
    again.wait_for("is now compromised")
    assert cpe(lab, policy, "release", Lab.mac("device1")).returncode == 2


# ── start and stop ──────────────────────────────────────────────────────────────────────────────────


def test_a_second_filter_does_not_take_the_socket(lab: Lab) -> None:
    policy = lab.policy(BLOCK)
    running = lab.start_filter(policy)
    other = lab.policy(BLOCK + "queue = 26\n", "other.toml")
    before = ruleset(lab)
    done = lab.run("router", [PYTHON, "-m", "cpe_filter", "run", "--policy", str(other)], check=False)
    assert done.returncode == 2
    assert done.stderr == (
        f"cpe-filter: [status] control_socket: {lab.folder}/control: already running (pid {running.status()['pid']})\n"
    )
    assert ruleset(lab) == before
    told(lab, policy, "reload")
    assert running.stop() == 0


def test_stopped_in_fail_closed_nothing_leaves_until_the_rules_are_removed(lab: Lab) -> None:
    policy = lab.policy('[filter]\nmode = "monitor"\nfail = "closed"\n')
    running = lab.start_filter(policy)
    assert sent(lab, "device1", mx4(0))
    done = cpe(lab, policy, "rules", "--remove")
    assert done.returncode == 2
    assert f"already running (pid {running.status()['pid']}), at " in done.stderr
    assert sent(lab, "device1", mx4(0))
    assert running.stop() == 0
    assert "the ruleset stays: no direct mail leaves" in running.log()
    program = f"import socket;socket.create_connection(('{mx4(0)}',25),1.5)"
    assert lab.run("device1", [PYTHON, "-c", program], check=False).returncode != 0
    assert sent(lab, "device1", RELAY4)
    assert "Ruleset removed." in told(lab, policy, "rules", "--remove")
    assert "cpe_filter" not in ruleset(lab).lower()
    assert sent(lab, "device1", mx4(0))
    assert "No cpe-filter ruleset" in told(lab, policy, "rules", "--remove")


def test_stopped_in_fail_closed_nothing_leaves_to_a_server_that_is_known(lab: Lab) -> None:
    """Between a device and such a server the kernel lets mail alone while the filter lives."""
    running = lab.start_filter(lab.policy('[filter]\nmode = "monitor"\nfail = "closed"\n', whole=False))
    assert sent(lab, "device1", mx4(0))
    assert sent(lab, "device1", mx4(0))
    command = lab.command("device1", [PYTHON, "-c", CLIENT, mx4(0)])
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as client:
        assert client.stdout is not None
        assert client.stdout.readline() == b"waiting\n"
        for name in ("known4", "quiet"):
            assert "elements" in lab.run("router", ["nft", "list", "set", "inet", "cpe_filter", name]).stdout
        assert running.stop() == 0
        program = f"import socket;socket.create_connection(('{mx4(0)}',25),1.5)"
        assert "Connection refused" in lab.run("device1", [PYTHON, "-c", program], check=False).stderr
        _, said = client.communicate(b"\n", DEADLINE_S)
    assert b"SMTPServerDisconnected" in said


def test_rules_are_removed_by_force_while_a_filter_hangs(lab: Lab) -> None:
    policy = lab.policy(MONITOR)
    running = lab.start_filter(policy)
    running.process.send_signal(signal.SIGSTOP)
    assert cpe(lab, policy, "rules", "--remove").returncode == 2
    assert "Ruleset removed" in told(lab, policy, "rules", "--remove", "--force")
    assert sent(lab, "device1", mx4(0))
    running.process.send_signal(signal.SIGCONT)
    assert running.stop() == 0


def test_commands_where_nothing_runs(lab: Lab) -> None:
    policy = lab.policy(MONITOR)
    for words in (["reload"], ["release", "tv"]):
        done = cpe(lab, policy, *words)
        assert done.returncode == 1
        assert done.stderr == (
            f"cpe-filter: no filter is running: there is no {lab.folder}/control; "
            "use --socket for another control socket\n"
        )


def test_a_stop_during_the_start_is_not_lost_on_process_1(lab: Lab) -> None:
    """As in a jail: the kernel drops a signal to process 1 that has no handler, and the start would go on."""
    program = lab.folder / "bin" / "nft"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\necho >{lab.folder}/begun\nexec sleep 3600\n")
    program.chmod(0o755)
    path = f"PATH={program.parent}:/usr/sbin:/usr/bin:/sbin:/bin"
    command = ["env", path, PYTHON, "-m", "cpe_filter", "run", "--policy", str(lab.policy(BLOCK))]
    process = lab.start("router", ["unshare", "--pid", "--fork", "--kill-child", *command], stderr=subprocess.PIPE)
    end = time.monotonic() + DEADLINE_S
    while not (lab.folder / "begun").exists():
        assert time.monotonic() < end
        time.sleep(0.05)
    (child,) = subprocess.run(["pgrep", "-P", str(process.pid)], capture_output=True, text=True).stdout.split()
    os.kill(int(child), signal.SIGTERM)
    _, errors = process.communicate(timeout=DEADLINE_S)
    assert (process.returncode, errors) == (0, "")
