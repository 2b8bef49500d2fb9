"""tshark's readings of some of pcaps/, recorded: the comparison where tshark is not installed.

`python -m tests.conformance.recorded` writes them again. Must not know replay.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from tests.conformance.dissection import of_tshark
from tests.conformance.readings import Reading

PCAPS = Path(__file__).parents[2] / "pcaps"
FILE = Path(__file__).with_name("dissections.json")
#: Each of another kind: a bot, refused recipients, TLS, AUTH, BDAT, pipelining, several messages, IPv6, a lost segment.
NAMES = (
    "bot-sprayer-ipv6",
    "bot-starttls",
    "legit-appliance-refused",
    "peer-curl-to-opensmtpd-null-sender",
    "peer-exim-to-exim-session",
    "peer-exim-to-postfix-refused",
    "peer-postfix-to-exim-large",
    "peer-postfix-to-exim-refused",
    "peer-smtplib-to-aiosmtpd-auth-cram-md5",
    "peer-swaks-to-exim-pipelining",
    "peer-swaks-to-postfix-starttls",
)


def read() -> dict[str, list[Reading]]:
    stored = json.loads(FILE.read_text())
    return {name: [_reading(values) for values in readings] for name, readings in stored.items()}


def _reading(values: dict[str, object]) -> Reading:
    reading = Reading(**values)  # type: ignore[arg-type]
    reading.client, reading.server = tuple(reading.client), tuple(reading.server)  # type: ignore[assignment]
    reading.notes = set(reading.notes)
    return reading


def write() -> None:
    found = {}
    for name in NAMES:
        readings = []
        for reading in of_tshark(str(PCAPS / f"{name}.pcap")):
            values = asdict(reading)
            empty = [key for key, value in values.items() if not value]
            readings.append({key: value for key, value in values.items() if key not in empty})
            readings[-1]["notes"] = sorted(reading.notes)
        found[name] = readings
    lines = [
        f' "{name}": [\n  ' + ",\n  ".join(json.dumps(one) for one in readings) + "\n ]"
        for name, readings in found.items()
    ]
    FILE.write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    write()
