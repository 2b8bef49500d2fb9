"""Records the captures of pcaps/, writes the expected JSON next to each: `python -m tests.lab.record [NAME...]` (root)

A scenario plays in the lab with no filter running; tcpdump listens on the home's bridge. Before a JSON is written, what
replay saw is checked against what the mail servers logged: HELO, TLS, sender, recipients, outcome and bytes.
`SCENARIOS` holds the lab's own, those of the real peers (see `peers`) and of whole devices (see `devices`).
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from cpe_filter.replay.replay import Options, replay
from tests.lab import devices, peers
from tests.lab.mtas import Sessions
from tests.lab.net import PROJECT, PYTHON, RELAY4, RELAY6, Lab, mx4, mx6
from tests.lab.peers import LOGGED
from tests.lab.turnaround.play import DEVICE, OPERATOR, Scene

PCAPS = PROJECT / "pcaps"


def bot_sprayer(lab: Lab) -> None:
    """A bot sprays 24 strangers' servers, 3 at a time: deliveries, unknown users, blocklists, greylisting, silence."""
    lab.run("device2", [PYTHON, "-m", "tests.lab.bot", "--count", "24"])


def bot_sprayer_ipv6(lab: Lab) -> None:
    """The same bot by IPv6."""
    lab.run("device2", [PYTHON, "-m", "tests.lab.bot", "--count", "16", "--six"])


def legit_laptop(lab: Lab) -> None:
    """smtplib: through the ISP's relay by IPv4 and IPv6, and to strangers that take mail; one large message."""
    for server in (RELAY4, RELAY6, mx4(0), mx6(4)):
        lab.run("device1", [PYTHON, "-m", "tests.lab.send", server])
    lab.run("device1", [PYTHON, "-m", "tests.lab.send", mx4(14), "--size", "60000"])


def home_bot_beside_laptop(lab: Lab) -> None:
    """Both at once: the devices must be distinguished."""
    laptop = lab.start("device1", [PYTHON, "-m", "tests.lab.send", mx4(0), "--count", "5", "--pause", "0.3"])
    lab.run("device2", [PYTHON, "-m", "tests.lab.bot", "--count", "16", "--first", "20"])
    laptop.wait(30)


def _among_strangers(play: Callable[[Lab], None]) -> Callable[[Lab], Sessions]:
    """A scenario with all of the lab's own mail servers."""

    def scenario(lab: Lab) -> Sessions:
        lab.start_servers()
        play(lab)
        time.sleep(0.5)
        return [record for record in lab.mail() if record["helo"] is not None]

    return scenario


def _timed(lan: str, host: str, operator_ms: float = 20.0) -> Callable[[Lab], Sessions]:
    """smtplib on a host, twice in clear and twice by STARTTLS, over networks that take their time."""

    def scenario(lab: Lab) -> Sessions:
        scene = Scene(lab, tls=True)
        try:
            scene.network(lan, operator_ms)
            for tls in (False, True):
                scene.smtplib(host, 2, tls=tls)
            time.sleep(0.5)
        finally:
            scene.close()
        return [{key: record[key] for key in LOGGED} for record in lab.mail()]

    return scenario


#: Those with real programs, which may be missing.
REAL = {**devices.SCENARIOS, **peers.SCENARIOS}
#: A scenario plays and returns what the servers logged, in the shape of replay's sessions.
SCENARIOS: dict[str, Callable[[Lab], Sessions]] = {
    "bot-sprayer": _among_strangers(bot_sprayer),
    "bot-sprayer-ipv6": _among_strangers(bot_sprayer_ipv6),
    "legit-laptop": _among_strangers(legit_laptop),
    "home-bot-beside-laptop": _among_strangers(home_bot_beside_laptop),
    "relayed": _timed("wired", OPERATOR, 60.0),
    "legit-power-saving": _timed("power saving", DEVICE),
    **REAL,
}


def needs(name: str) -> list[str]:
    """What a scenario needs and is not here."""
    return devices.needs(name) if name in devices.SCENARIOS else peers.needs(name) if name in peers.SCENARIOS else []


def expected(path: Path) -> dict[str, Any]:
    """What replay sees, whole addresses included (all of them are the lab's own)."""
    warnings: list[str] = []
    result = replay(str(path), Options(sessions=True, addresses=True), warnings.append)
    account = result.pop("accounting")
    if warnings or not account["complete"] or account["copies"]:
        raise RuntimeError(f"{path}: {warnings} {account}")
    result["capture"] = path.name
    return result


def compare(seen: Sessions, logged: Sessions) -> list[str]:
    """Differences between replay's sessions and the mail servers' records, each of which must have its counterpart.

    What a server does not know (None) is not compared: bytes of a message that it refused, recipients after a sender
    that it refused. After STARTTLS the filter knows nothing, so that transactions are not compared then.
    """

    def facts(session: dict[str, Any]) -> list[Any]:
        transactions = [] if session["tls"] else session["transactions"]
        keys = ("mail_from", "rcpt_to", "recipients_accepted", "outcome", "bytes")
        return [session["server"], session["helo"], session["tls"], [[t[key] for key in keys] for t in transactions]]

    def known(ours: Any, theirs: Any) -> Any:
        """`ours`, without what `theirs` does not know."""
        if isinstance(ours, list) and isinstance(theirs, list):
            return [known(a, b) for a, b in zip(ours, theirs, strict=False)] + ours[len(theirs) :]
        return None if theirs is None else ours

    unseen = [facts(session) for session in logged]
    unlogged = []
    for session in map(facts, seen):
        match = next((theirs for theirs in unseen if known(session, theirs) == theirs), None)
        if match is None:
            unlogged.append(session)
        else:
            unseen.remove(match)
    return [f"saw, not so logged: {session}" for session in unlogged] + [
        f"logged, not so seen: {session}" for session in unseen
    ]


def record(name: str, folder: Path) -> list[str]:
    """Records one scenario into a folder; returns differences to the servers' logs (none is right)."""
    with Lab(devices=2) as lab:
        path = lab.folder / f"{name}.pcap"
        tcpdump = lab.capture("router", "br-lan", path, "port 25 or port 53")
        try:
            logged = SCENARIOS[name](lab)
        except RuntimeError as error:
            return [str(error)]
        time.sleep(0.3)
        lab.stop(tcpdump)
        seen = expected(path)
        differences = compare(seen["sessions"], logged)
        if not differences:
            (folder / path.name).write_bytes(path.read_bytes())
            _write(folder / f"{name}.json", seen)
        return differences


def record_all(names: list[str], folder: Path) -> tuple[int, int, int]:
    """Records scenarios, several at a time; returns how many agree with the servers' logs, differ, are left out."""

    def one(name: str) -> list[str] | None:
        lacking = needs(name)
        if lacking:
            print(f"{name}: left out: {', '.join(lacking)} (make peers)", flush=True)
            return None
        differences = record(name, folder)
        print("\n  ".join([f"{name}: {'differs' if differences else 'agrees'}", *differences]), flush=True)
        return differences

    # They mostly wait, each in a lab of its own.
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(one, names))
    return results.count([]), sum(map(bool, results)), results.count(None)


def judge_again(names: list[str]) -> int:
    """Writes the JSON of recorded captures again, for a detector that judges otherwise; returns how many.

    Refused where the facts of a session differ: these were checked against the servers' logs, so record them again.
    """
    written = 0
    for name in names:
        seen, path = expected(PCAPS / f"{name}.pcap"), PCAPS / f"{name}.json"
        differences = compare(seen["sessions"], json.loads(path.read_text())["sessions"])
        if differences:
            print("\n  ".join([f"{name}: not written", *differences]))
        else:
            _write(path, seen)
            written += 1
    return written


def _write(path: Path, seen: dict[str, Any]) -> None:
    path.write_text(json.dumps(seen, indent=1, ensure_ascii=False) + "\n")


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--judge-again", action="store_true", help="only write the JSON of recorded captures again")
    parser.add_argument("names", nargs="*", metavar="NAME", help="only these scenarios")
    options = parser.parse_args()
    names = options.names or list(SCENARIOS)
    for name in names:
        if name not in SCENARIOS:
            print(f"unknown scenario {name}; known: {', '.join(SCENARIOS)}", file=sys.stderr)
            return 2
    done = judge_again(names) if options.judge_again else record_all(names, PCAPS)[0]
    print(f"{done} of {len(names)} {'judged again' if options.judge_again else 'recorded'}")
    return 0 if done == len(names) else 1


if __name__ == "__main__":
    sys.exit(main())
