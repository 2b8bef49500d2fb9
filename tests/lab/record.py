"""Records the captures of pcaps/, writes the expected JSON beside each: `python -m tests.lab.record [NAME...]` (root)

A scenario plays in the lab with no filter running; tcpdump listens on the home's bridge. Before a JSON is written, what
replay saw is checked against what the mail servers logged: HELO, sender, recipients, outcome and bytes.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cpe_filter.replay import Options, replay
from tests.lab.net import PROJECT, PYTHON, RELAY4, RELAY6, Lab, mx4, mx6

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
    """Both at once: the devices must be told apart."""
    laptop = lab.start("device1", [PYTHON, "-m", "tests.lab.send", mx4(0), "--count", "5", "--pause", "0.3"])
    lab.run("device2", [PYTHON, "-m", "tests.lab.bot", "--count", "16", "--first", "20"])
    laptop.wait(30)


SCENARIOS: dict[str, Callable[[Lab], None]] = {
    "bot-sprayer": bot_sprayer,
    "bot-sprayer-ipv6": bot_sprayer_ipv6,
    "legit-laptop": legit_laptop,
    "home-bot-beside-laptop": home_bot_beside_laptop,
}


def expected(path: Path) -> dict[str, Any]:
    """What replay sees, whole addresses included (all of them are the lab's own)."""
    warnings: list[str] = []
    result = replay(str(path), Options(sessions=True, addresses=True), warnings.append)
    if warnings:
        raise RuntimeError(f"{path}: {warnings}")
    result["capture"] = path.name
    return result


def compare(seen: list[dict[str, Any]], logged: list[dict[str, Any]]) -> list[str]:
    """Differences between replay's sessions and the mail servers' records."""

    def from_seen(session: dict[str, Any]) -> list[Any]:
        accepted = [
            [t["mail_from"], t["rcpt_to"], t["bytes"]] for t in session["transactions"] if t["outcome"] == "accepted"
        ]
        rcpt = sorted(r for t in session["transactions"] for r in t["rcpt_to"])
        return [session["server"], session["helo"], rcpt, accepted]

    def from_log(record: dict[str, Any]) -> list[Any]:
        accepted = [[m["mail_from"], m["rcpt_to"], m["bytes"]] for m in record["messages"]]
        return [record["server"], record["helo"], sorted(r for r, _ in record["rcpt"]), accepted]

    ours = sorted(map(from_seen, seen), key=json.dumps)
    theirs = sorted((from_log(r) for r in logged if r["helo"] is not None), key=json.dumps)
    return [f"saw {a}, logged {b}" for a, b in zip(ours, theirs, strict=False) if a != b] + (
        [f"{len(ours)} sessions seen, {len(theirs)} logged"] if len(ours) != len(theirs) else []
    )


def record(name: str) -> list[str]:
    """Records one scenario; returns differences to the servers' logs (none is right)."""
    with Lab(devices=2) as lab:
        lab.start_servers()
        path = lab.folder / f"{name}.pcap"
        tcpdump = lab.capture("router", "br-lan", path)
        SCENARIOS[name](lab)
        time.sleep(0.5)
        lab.stop(tcpdump)
        seen = expected(path)
        differences = compare(seen["sessions"], lab.mail())
        if not differences:
            (PCAPS / path.name).write_bytes(path.read_bytes())
            (PCAPS / f"{name}.json").write_text(json.dumps(seen, indent=1, ensure_ascii=False) + "\n")
        return differences


def main() -> int:
    names = sys.argv[1:] or list(SCENARIOS)
    code = 0
    for name in names:
        if name not in SCENARIOS:
            print(f"unknown scenario {name}; known: {', '.join(SCENARIOS)}", file=sys.stderr)
            return 2
        differences = record(name)
        print(f"{name}: {'recorded' if not differences else 'NOT recorded'}")
        for text in differences:
            print(f"  {text}", file=sys.stderr)
            code = 1
    return code


if __name__ == "__main__":
    sys.exit(main())
