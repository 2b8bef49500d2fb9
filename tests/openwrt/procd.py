"""A small procd: starts, respawns, signals and ends what the init script declares.

`python -m tests.openwrt.procd FOLDER`; FOLDER is the stand-ins' (see stand_in/rc.common): messages/ is taken from, log
is written to, and so is running. Ends on SIGTERM, and all that it started with it.

Knows what is documented about procd, as far as our script uses it. An instance whose description has changed is
restarted; the content of its `file` belongs to it. One that is no longer named is ended. One that ends on its own is
restarted after its timeout, unless it has done so too often. SIGTERM, and SIGKILL after `term_timeout`; pidfile;
standard error goes to the log. A netifd event (a file FOLDER/events/NETWORK), or a configuration that has changed
(FOLDER/events/config.NAME), runs the scripts of the triggers that name it. No jail, no user: root.
"""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.openwrt.package import STAND_IN, Message

TURN_S = 0.1
#: Seconds to SIGKILL where an instance names none.
TERM_S = 5.0


class Instance:
    """One program."""

    def __init__(self, name: str, about: dict[str, list[str]], log: Path) -> None:
        self.name, self.about, self._log = name, about, log
        self._process: subprocess.Popen[bytes] | None = None
        self._started = self._ends_at = 0.0
        self._again_at: float | None = 0.0
        self._fails = 0
        self.unwanted = False

    @property
    def alive(self) -> bool:
        return self._process is not None

    def become(self, about: dict[str, list[str]]) -> None:
        """A new description. The old one starts what does not run, too: one that has given up, or waits."""
        if about != self.about or self.unwanted or not self.alive:
            self.about, self._again_at, self._fails, self.unwanted = about, 0.0, 0, False
            self.end()

    def end(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)
            self._ends_at = time.monotonic() + float(self.about.get("term_timeout", [str(TERM_S)])[0])

    def signal(self, number: int) -> None:
        if self._process is not None:
            self._process.send_signal(number)

    def turn(self) -> None:
        now = time.monotonic()
        if self._process is not None:
            if self._ends_at and now >= self._ends_at:
                self._process.kill()
            if self._process.poll() is None:
                return
            self._ended(now, self._process.returncode)
        if not self.unwanted and self._again_at is not None and now >= self._again_at:
            self._start(now)

    def _start(self, now: float) -> None:
        environment = dict(os.environ) | dict(pair.split("=", 1) for pair in self.about.get("env", []))
        with self._log.open("ab") as log:
            quiet = subprocess.DEVNULL
            stderr = log if self.about.get("stderr") == ["1"] else quiet
            command = self.about["command"]
            self._process = subprocess.Popen(
                command, stdin=quiet, stdout=quiet, stderr=stderr, env=environment, start_new_session=True
            )
        self._started, self._ends_at = now, 0.0
        for path in self.about.get("pidfile", []):
            Path(path).write_text(f"{self._process.pid}\n")

    def _ended(self, now: float, code: int) -> None:
        self._process = None
        for path in self.about.get("pidfile", []):
            Path(path).unlink(missing_ok=True)
        if self._ends_at:  # by us: for good, or to start anew
            self._again_at = 0.0
            return
        with self._log.open("a") as log:
            log.write(f"procd: instance {self.name} ended with {code}\n")
        threshold, timeout, retry = (float(word) for word in self.about.get("respawn", ["0", "0", "-1"]))
        self._fails = 0 if now - self._started >= threshold else self._fails + 1
        gives_up = retry < 0 or (retry > 0 and self._fails > retry)
        self._again_at = None if gives_up else now + timeout


class Procd:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._messages, self._events = folder / "messages", folder / "events"
        for path in (self._messages, self._events):
            path.mkdir(parents=True, exist_ok=True)
        self._instances: dict[str, Instance] = {}
        self._triggers: list[list[str]] = []
        self._scripts: list[subprocess.Popen[bytes]] = []
        self._stop, self._name = False, ""
        signal.signal(signal.SIGTERM, self._on_signal)
        (folder / "procd.pid").write_text(str(os.getpid()))

    def _on_signal(self, number: int, frame: object) -> None:
        self._stop = True

    def run(self) -> None:
        while not self._stop or any(one.alive for one in self._instances.values()):
            if self._stop:
                self._set({})
            for path in sorted(self._messages.iterdir()):
                self._take(Message(path.read_bytes()))
                path.unlink()
            for path in sorted(self._events.iterdir()):
                path.unlink()
                self._event(path.name)
            for one in self._instances.values():
                one.turn()
            self._instances = {name: one for name, one in self._instances.items() if one.alive or not one.unwanted}
            self._say_what_runs()
            self._scripts = [script for script in self._scripts if script.poll() is None]
            time.sleep(TURN_S)
        (self._folder / "procd.pid").unlink()

    def _say_what_runs(self) -> None:
        """What `service running` asks for: whether the first instance runs."""
        first = next(iter(self._instances.values()), None)
        said = "true" if first and first.alive else "false"
        path = self._folder / "running"
        if not path.exists() or path.read_text() != said:
            path.write_text(said)

    def _take(self, message: Message) -> None:
        if message.verb == "set":
            self._name = message.about[0]
            self._triggers = message.triggers
            self._set(message.instances)
        elif message.verb == "delete":
            self._triggers = []
            self._set({})
        elif message.verb == "signal":
            _, name, number = message.about
            if name in self._instances:
                self._instances[name].signal(signal.Signals[f"SIG{number}"])

    def _set(self, wanted: dict[str, dict[str, list[str]]]) -> None:
        for name, about in wanted.items():
            if "file" in about:  # compared by what is in them
                about = {**about, "files": [_digest(path) for path in about["file"]]}
            if name in self._instances:
                self._instances[name].become(about)
            else:
                self._instances[name] = Instance(name, about, self._folder / "log")
        for name, one in self._instances.items():
            if name not in wanted and not one.unwanted:
                one.unwanted = True
                one.end()

    def _event(self, about: str) -> None:
        for verb, *words in self._triggers:
            script: list[str] = []
            if about.startswith("config."):
                if verb == "add_reload_trigger" and about.removeprefix("config.") in words:
                    script = [f"/etc/init.d/{self._name}", "reload"]
            elif verb == "add_raw_trigger" or (verb == "add_interface_trigger" and words[1] == about):
                script = words[2:]
            if script:
                command = ["busybox", "ash", str(STAND_IN / "rc.common"), *script]
                self._scripts.append(subprocess.Popen(command, stdin=subprocess.DEVNULL))


def _digest(path: str) -> str:
    try:
        return hashlib.sha256(Path(path).read_bytes()).hexdigest()
    except OSError:
        return ""


if __name__ == "__main__":
    Procd(Path(sys.argv[1])).run()
