"""The log as a real syslog gets it: who logs, how severe, and that a syslog that hangs or restarts is no harm."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.lab.net import DEADLINE_S, PYTHON, Filter, Lab, mx4

pytestmark = [
    pytest.mark.live,
    pytest.mark.skipif(shutil.which("busybox") is None, reason="no busybox, whose syslogd is used"),
]

BLOCK = '[filter]\nmode = "block"\nrefusal = "reset"\n'
#: A /dev of its own with the socket of its own, as for a service of procd: stderr is a pipe.
UNDER_PROCD = """
mkdir -p "$1/dev" && mount --rbind /dev "$1/dev" && mount -t tmpfs dev /dev
for name in null zero random urandom; do : >/dev/$name && mount --bind "$1/dev/$name" /dev/$name; done
folder="$1" && shift
start_syslog() { rm -f /dev/log; busybox syslogd -n -O "$folder/syslog" & echo $! >"$folder/syslogd.pid"; }
start_syslog
while ! [ -S /dev/log ]; do sleep 0.05; done
"$@" </dev/null &
service=$!
echo "$service" >"$folder/service.pid"
trap 'start_syslog' USR1
trap 'kill "$service"' TERM
while kill -0 "$service" 2>/dev/null; do wait "$service"; status=$?; done
sleep 0.2
kill "$(cat "$folder/syslogd.pid")"
exit "$status"
"""


class Router:
    """A program with a syslog of its own."""

    def __init__(self, lab: Lab, *words: str) -> None:
        self.lab = lab
        self.log = lab.folder / "syslog"
        self.log.touch()
        program = ["env", "-u", "CPE_FILTER_LOG", PYTHON, "-m", "cpe_filter", *words]
        wrapped = ["unshare", "-m", "sh", "-c", UNDER_PROCD, "sh", str(lab.folder), *program]
        self.process = lab.start("router", wrapped, stderr=subprocess.PIPE)

    def running(self, policy: Path) -> Filter:
        return Filter(self.lab, self.process, self.log, policy)

    def pid(self, name: str) -> int:
        return int((self.lab.folder / f"{name}.pid").read_text())

    def lines(self) -> list[str]:
        return self.log.read_text().splitlines()

    def end(self) -> str:
        """Returns what the program wrote to stderr."""
        self.lab.stop(self.process)
        assert self.process.stderr is not None
        return self.process.stderr.read()


def fails(lab: Lab, server: str) -> bool:
    done = lab.run("device1", [PYTHON, "-m", "tests.lab.send", server], check=False)
    return not done.stdout.startswith("sent")


def until(true: object, what: str) -> None:
    end = time.monotonic() + DEADLINE_S
    assert callable(true)
    while not true():
        assert time.monotonic() < end, what
        time.sleep(0.05)


def test_name_and_severities(lab: Lab) -> None:
    policy = lab.policy(BLOCK)
    head = f"# br-lan {Lab.mac('device1').replace(':', '')} ipv4"
    (lab.folder / "lab.leases").write_text(
        f"{head} broken\\x20Living Room TV 4000000000 c0a80165 32 192.168.1.101/32\n"
    )
    router = Router(lab, "run", "--policy", str(policy))
    running = router.running(policy)
    assert "daemon.notice cpe-filter[" in running.wait_for("running: ")
    assert fails(lab, mx4(0))
    line = running.wait_for(f"refused 1 connection of {Lab.mac('device1')} (Living?Room?TV) to {mx4(0)}")
    assert f"daemon.notice cpe-filter[{router.pid('service')}]: " in line
    policy.write_text("[filter]\nmode = 'x'\n")
    os.kill(router.pid("service"), signal.SIGHUP)
    assert "daemon.err cpe-filter[" in running.wait_for("reload by SIGHUP refused")
    assert router.end() == ""
    ours = [line for line in router.lines() if "syslogd" not in line]
    assert "daemon.notice cpe-filter[" in ours[-1]
    assert "stopped, ruleset removed" in ours[-1]
    assert all(" cpe-filter[" in line and ".err python" not in line for line in ours)


def test_a_start_that_fails_and_the_responder(lab: Lab) -> None:
    policy = lab.policy(BLOCK)
    policy.write_text(policy.read_text().replace('"br-lan"', '"no-such"'))
    router = Router(lab, "run", "--policy", str(policy))
    assert router.process.wait(DEADLINE_S) == 2
    until(lambda: any("daemon.err cpe-filter[" in line and "no-such" in line for line in router.lines()), "no error")
    responder = Router(lab, "explain", "--policy", str(lab.policy()))
    assert "daemon.notice cpe-filter[" in responder.running(policy).wait_for("explaining on port 2525")
    assert responder.end() == ""
    assert any("daemon.notice cpe-filter[" in line and line.endswith(": stopped") for line in responder.lines())


def test_a_syslog_that_hangs_or_restarts(lab: Lab) -> None:
    policy = lab.policy(BLOCK)
    router = Router(lab, "run", "--policy", str(policy))
    running = router.running(policy)
    running.wait_for("running: ")
    os.kill(router.pid("syslogd"), signal.SIGSTOP)
    for n in range(30):  # more lines than the kernel's buffer takes
        policy.write_text(f"[filter]\nmode = 'x{n}'\n")
        done = lab.run(
            "router", [PYTHON, "-m", "cpe_filter", "reload", "--socket", f"{lab.folder}/control"], check=False
        )
        assert done.returncode != 0
    assert fails(lab, mx4(0))  # and the filter has time for packets
    os.kill(router.pid("syslogd"), signal.SIGCONT)
    running.wait_for('"x29"')
    running.wait_for("refused 1 connection of")
    assert [n for n in range(30) if f'"x{n}"' not in running.log()] == []
    old = router.pid("syslogd")
    os.kill(old, signal.SIGKILL)
    policy.write_text("[filter]\nmode = 'between'\n")
    os.kill(router.pid("service"), signal.SIGHUP)
    time.sleep(1.5)
    router.process.send_signal(signal.SIGUSR1)
    running.wait_for('"between"')
    assert router.pid("syslogd") != old
    assert router.end() == ""
