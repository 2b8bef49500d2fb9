"""On a device: tries a stranger's mail server every 0.2 s until it is ended, and prints `in` or `out` each time."""

from __future__ import annotations

import socket
import time

from tests.lab.net import mx4

while True:
    try:
        socket.create_connection((mx4(0), 25), 0.5).close()
        print("in", flush=True)
    except OSError:
        print("out", flush=True)
    time.sleep(0.2)
