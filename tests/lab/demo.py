"""`make demo`: a home with a laptop and an infected TV box behind a router that runs cpe-filter. About 15 seconds.

Shows what happens as it happens, ends with the verdicts, then replays a recorded capture. Exit 0 only if the bot
was found and stopped, and every mail of the laptop arrived. Without root only the replay is shown.
`--record FILE.svg` also draws what is shown, as a moving image: `make demo DEMO="--record docs/demo.svg"`.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from tests.lab.cast import record
from tests.lab.net import PROJECT, PYTHON, RELAY4, RELAY6, Filter, Lab, mx4, why_not

WHAT_TO_DO = (
    "It needs network namespaces and nftables of the kernel, which containers seldom allow: run it on the machine "
    "itself or in a virtual machine, or give the container what is missing (docker run --privileged)."
)
LAPTOP, TV = "device1", "device2"
RECORDED = "pcaps/bot-sprayer.pcap"
#: Wide limits: a suspected device that is limited shows little more, and the demo has seconds, not hours.
POLICY = """
[filter]
mode = "monitor"
block_minutes = 10
[limits]
connections_burst = 200
destinations_burst = 100
messages_burst = 200
recipients_burst = 400
"""


class Screen:
    """Lines from several threads, each with the time and who it is about."""

    def __init__(self) -> None:
        self._begun = time.monotonic()
        self._lock = threading.Lock()
        self._colour = sys.stdout.isatty()

    def say(self, who: str, text: str, colour: str = "") -> None:
        with self._lock:
            line = f"{time.monotonic() - self._begun:5.1f} s  {who:<7} {text}"
            print(f"\033[{colour}m{line}\033[0m" if colour and self._colour else line, flush=True)

    def title(self, text: str) -> None:
        with self._lock:
            print(f"\n\033[1m{text}\033[0m" if self._colour else f"\n{text}", flush=True)


def follow_log(running: Filter, screen: Screen, stop: threading.Event) -> None:
    """Shows the filter's log as it grows."""
    shown = 0
    while True:
        last = stop.is_set()
        lines = running.log().splitlines()
        for line in lines[shown:]:
            text = line.removeprefix("cpe-filter: ")
            for device, name in ((LAPTOP, "the laptop"), (TV, "the TV box")):
                text = text.replace(Lab.mac(device), name)
            found = "is now" in text
            screen.say("filter", text, "1;31" if "compromised (was" in text else "1;33" if found else "36")
        shown = len(lines)
        if last:
            return
        time.sleep(0.05)


def send(lab: Lab, server: str, sender: str = "ann@home.example") -> str:
    program = [PYTHON, "-m", "tests.lab.send", server, "--sender", sender]
    return lab.run(LAPTOP, program, check=False).stdout.strip()


def keep_sending(lab: Lab, results: list[str], stop: threading.Event) -> None:
    """The laptop's mail through the relay, steadily, all the time."""
    while not stop.is_set():
        results.append(send(lab, RELAY4 if len(results) % 2 else RELAY6))
        stop.wait(0.3)


def spray(lab: Lab, screen: Screen, count: int, *options: str) -> list[dict[str, str]]:
    """Lets the TV box's bot loose; shows each of its connections."""
    ways = ["--parallel", "2", "--pause", "0.15", "--helo", "EHLO smart-tv.example.net"]
    program = [PYTHON, "-m", "tests.lab.bot", "--count", str(count), *ways, *options]
    process = lab.start(TV, program)
    results = []
    assert process.stdout is not None
    for line in process.stdout:
        result = json.loads(line)
        results.append(result)
        how = "message delivered" if result["ended"] == "message" else f"{result['ended']}: {result['reply'][:72]}"
        screen.say("TV box", f"-> {result['server']:<18} {how}", "33" if result["ended"] == "message" else "")
    process.wait(30)
    return results


def live(screen: Screen) -> list[str]:
    """The live part; returns what went wrong."""
    wrong = []
    with Lab(devices=2) as lab:
        lab.start_servers()
        screen.say("lab", "a home, its router (NAT44, IPv6) and 256 strangers' mail servers stand")
        policy = lab.policy(POLICY)
        lab.start_responder(policy)
        running = lab.start_filter(policy)
        stop = threading.Event()
        follower = threading.Thread(target=follow_log, args=(running, screen, stop))
        follower.start()
        try:
            screen.say("laptop", f"mail through the ISP's relay: {send(lab, RELAY4)}", "32")
            screen.say("laptop", f"its owner's own mail server writes to a stranger: {send(lab, mx4(0))}", "32")
            results: list[str] = []
            quiet = threading.Event()
            sender = threading.Thread(target=keep_sending, args=(lab, results, quiet))
            sender.start()
            screen.say("TV box", "a side-loaded app brings a spam bot; it begins to spray", "1")
            bot = spray(lab, screen, 80)
            screen.say("TV box", "the bot tries IPv6", "1")
            bot6 = spray(lab, screen, 4, "--six")
            quiet.set()
            sender.join()
            screen.say("laptop", f"{len(results)} mails through the relay meanwhile: {tally(results)}", "32")
            last = send(lab, mx4(10))
            screen.say("laptop", f"its owner's server writes to another stranger: {last}", "32")
            found, clean = running.device(TV), running.device(LAPTOP)
            delivered = [r["server"] for r in bot + bot6 if r["ended"] == "message"]
            screen.title("cpe-filter status")
            program = [PYTHON, "-m", "cpe_filter", "status", "--policy", str(running.policy)]
            print(lab.run("router", program).stdout.strip(), flush=True)
            screen.title("Verdicts")
            told = sum("Your Internet provider" in r["reply"] for r in bot + bot6)
            if found and found["compromised_at"]:
                first, at = found["suspected_at"]["connection"], found["compromised_at"]["connection"]
                print(
                    f"The TV box: {found['standing']}, suspected at its connection {first}, compromised at {at}; "
                    f"{found['refused']} connections refused one by one, {told} of them with an explanation, "
                    "the rest by the kernel."
                )
                tries = len(bot + bot6)
                print(f"Messages that its bot delivered: {len(delivered)}, in {tries} attempts; none after that.")
                late = [r for r in bot[at + 2 :] + bot6 if r["ended"] == "message"]
                if late:
                    wrong.append(f"{len(late)} messages of the bot left after its conviction")
            else:
                wrong.append("the TV box was not found")
            if not (clean and clean["standing"] == "clear"):
                wrong.append("the laptop is not clear")
            lost = [r for r in [*results, last] if not r.startswith("sent")]
            if lost:
                wrong.append(f"{len(lost)} of the laptop's mails did not arrive: {lost[0]}")
            else:
                print(f"The laptop: clear; all {len(results) + 3} of its mails arrived.")
        finally:
            running.stop()
            stop.set()
            follower.join()
    return wrong


def tally(results: list[str]) -> str:
    times = sorted(float(result.split()[1]) for result in results if result.startswith("sent"))
    if not times:
        return "none arrived"
    return f"{len(times)} arrived, median {times[len(times) // 2]:.0f} ms, slowest {times[-1]:.0f} ms"


def replay(screen: Screen) -> bool:
    screen.title(f"cpe-filter replay {RECORDED}   (recorded in this lab, see pcaps/README.md)")
    done = subprocess.run([PYTHON, "-m", "cpe_filter", "replay", RECORDED], cwd=PROJECT)
    return done.returncode == 0


def elsewhere() -> int | None:
    """Runs the demo in a copy of the project, if other users cannot come to its folder; None if they can.

    The responder gives up root, and could not read its own modules in root's home.
    """
    if os.geteuid() != 0 or all(Path(folder).stat().st_mode & 0o001 for folder in (PROJECT, *PROJECT.parents)):
        return None
    with tempfile.TemporaryDirectory(prefix="cpe-filter-demo-") as made:
        copy = Path(made, "cpe-filter")
        for name in ("cpe_filter", "tests/lab", "pcaps"):
            shutil.copytree(PROJECT / name, copy / name)
        shutil.copy(PROJECT / "tests/__init__.py", copy / "tests/__init__.py")
        for path in (Path(made), copy, *copy.rglob("*")):
            path.chmod(path.stat().st_mode | (0o755 if path.is_dir() else 0o444))
        return subprocess.run([PYTHON, "-m", "tests.lab.demo", *sys.argv[1:]], cwd=copy).returncode


def main() -> int:
    if len(sys.argv) == 3 and sys.argv[1] == "--record":
        command = [PYTHON, "-m", "tests.lab.demo"]
        return record(
            command, Path(sys.argv[2]), "make demo: a home, an infected TV box and the filter at work", PROJECT
        )
    if len(sys.argv) > 1:
        print("usage: python -m tests.lab.demo [--record FILE.svg]", file=sys.stderr)
        return 2
    moved = elsewhere()
    if moved is not None:
        return moved
    screen = Screen()
    reason = why_not()
    wrong = []
    if reason:
        print(f"The live part is left out: {reason}. {WHAT_TO_DO if os.geteuid() == 0 else 'Try: sudo make demo'}")
    else:
        screen.title("A home with a laptop and an infected TV box, behind a router that runs cpe-filter")
        wrong = live(screen)
    if not Path(PROJECT, RECORDED).exists() or not replay(screen):
        wrong.append(f"{RECORDED} was not replayed")
    for text in wrong:
        print(f"NOT AS IT SHOULD BE: {text}", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
