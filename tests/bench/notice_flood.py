"""How the notice and the responder answer while a device floods the notice's port as fast as this machine can.

    python -m tests.bench.notice_flood [--seconds 5]

Knows the lab. Must not know how the server is bounded. Needs root. Two runs: with the filter's rules, as on a router;
and without, so that all of the flood meets the process. The flood comes from another device of the home, and stays in
the lab's namespaces. `requests` are those that the device has sent (with rules: connections that it tried to open).
"""

from __future__ import annotations

import argparse
import json
import re
import time
from pathlib import Path

from tests.lab.mail import bot
from tests.lab.net import PYTHON, Lab

#: Opens connections, or sends whole requests, until the time is over; prints how many, and how many were answered.
FLOOD = """
import socket, sys, time
whole, end = sys.argv[1] == "whole", time.monotonic() + float(sys.argv[2])
request = b"GET / HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n"
tried = answered = 0
while time.monotonic() < end:
    s = socket.socket()
    tried += 1
    try:
        if whole:
            s.settimeout(2)
            s.connect(("192.168.1.1", 2580))
            s.sendall(request)
            answered += s.recv(100).startswith(b"HTTP/1.1 302")
        else:
            s.setblocking(False)
            s.connect_ex(("192.168.1.1", 2580))
    except OSError:
        pass
    s.close()
print(tried, answered)
"""
#: Asks now and then; prints how long each answer took, in ms, or null.
ASK = """
import json, socket, sys, time
address, port, request, good, every, end = sys.argv[1:]
end = time.monotonic() + float(end)
times = []
while time.monotonic() < end:
    began = time.monotonic()
    try:
        with socket.create_connection((address, int(port)), 10) as s:
            s.sendall(request.encode())
            data = b""
            while chunk := s.recv(65536):
                data += chunk
                if good == "220":
                    break
        times.append((time.monotonic() - began) * 1000 if good.encode() in data[:200] else None)
    except OSError:
        times.append(None)
    time.sleep(max(0.0, float(every) - (time.monotonic() - began)))
print(json.dumps(times))
"""


def measure(seconds: float, rules: bool) -> str:
    """One run. rules: with the filter."""
    with Lab(devices=3) as lab:
        lab.start_servers()
        policy = lab.policy('[filter]\nmode = "monitor"\n')
        responder = lab.start_responder(policy)
        if rules:
            running = lab.start_filter(policy)
            bot(lab, device="device1")
            running.wait_for(f"device {lab.mac('device1')} is now compromised")
            time.sleep(5)
        page = "GET / HTTP/1.1\r\nHost: 192.168.1.1:2580\r\n\r\n" if rules else "GET / HTTP/1.1\r\nHost: y\r\n\r\n"
        good = " 200 " if rules else " 302 "
        how = [PYTHON, "-c", FLOOD, "open" if rules else "whole", str(seconds)]
        floods = [lab.start("device2", how) for _ in range(2 if rules else 1)]
        ask, most = [PYTHON, "-c", ASK], str(seconds)
        askers = [
            lab.start("device1", [*ask, "192.168.1.1", "2580", page, good, "0.9", most]),
            lab.start("router", [*ask, "127.0.0.1", "2525", "", "220", "0.2", most]),
        ]
        outs = [process.communicate(timeout=seconds + 60)[0] for process in floods + askers]
        counted = [tuple(map(int, out.split())) for out in outs[: len(floods)]]
        tried, answered = (sum(column) for column in zip(*counted, strict=True))
        which = "with the rules" if rules else "without"
        lines = [f"{which}: {tried / seconds:,.0f} requests/s, {answered / seconds:,.0f} answered/s"]
        for name, out in zip(("the notice, at another device", "SMTP"), outs[len(floods) :], strict=True):
            times = json.loads(out)
            took = sorted(one for one in times if one is not None)
            middle, longest = (took[len(took) // 2], took[-1]) if took else (0.0, 0.0)
            lines.append(f"    {name}: {len(took)} of {len(times)}, median {middle:.0f} ms, longest {longest:.0f} ms")
        status = Path(f"/proc/{responder.pid}/status").read_text()
        rss = re.search(r"VmRSS:\s+(\d+)", status)
        lines.append(
            f"    memory of the responder afterwards: {int(rss[1]) / 1000:.1f} MB" if rss else "    it has ended"
        )
        return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=5.0, help="1 to 10")
    seconds = min(10.0, max(1.0, parser.parse_args().seconds))
    for rules in (True, False):
        print(measure(seconds, rules), flush=True)


if __name__ == "__main__":
    main()
