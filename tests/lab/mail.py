"""Mail from the lab's devices: a person's program and the bot, run to their end.

Knows these two programs and what they print. Must not know the filter.
"""

from __future__ import annotations

import json
from typing import Any

from tests.lab.net import PYTHON, Lab


def send(lab: Lab, server: str, *options: str, device: str = "device1") -> list[str]:
    """Sends mail; a line "sent ..." or "not sent: ..." for each message."""
    return lab.run(device, [PYTHON, "-m", "tests.lab.send", server, *options], check=False).stdout.splitlines()


def sent(lab: Lab, server: str, *options: str, device: str = "device1") -> bool:
    """Whether all of it was taken."""
    return all(line.startswith("sent") for line in send(lab, server, *options, device=device))


def bot(lab: Lab, *options: str, device: str = "device2") -> list[dict[str, Any]]:
    """Runs the bot; an object for each of its connections (see tests.lab.bot)."""
    done = lab.run(device, [PYTHON, "-m", "tests.lab.bot", "--pause", "0.02", *options])
    return [json.loads(line) for line in done.stdout.splitlines()]
