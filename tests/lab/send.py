"""A person's mail program in the lab: `python -m tests.lab.send SERVER [--count N]`, Python's own smtplib.

Prints "sent" for each message that the server took, else why not; exit 1 if any was not.
"""

from __future__ import annotations

import argparse
import smtplib
import sys
import time


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("server")
    parser.add_argument("--port", type=int, default=25)
    parser.add_argument("--count", type=int, default=1)
    parser.add_argument("--size", type=int, default=200)
    parser.add_argument("--helo", default="laptop.home.example")
    parser.add_argument("--sender", default="ann@home.example")
    parser.add_argument("--recipient", default="ben@friends.example")
    parser.add_argument("--pause", type=float, default=0.0)
    parser.add_argument("--source", default="", help="the address to send from")
    options = parser.parse_args()
    failed = 0
    for number in range(options.count):
        begun = time.monotonic()
        try:
            source = (options.source, 0) if options.source else None
            with smtplib.SMTP(
                options.server, options.port, local_hostname=options.helo, timeout=10, source_address=source
            ) as server:
                body = ("A line of the message.\r\n" * (options.size // 24 + 1))[: options.size]
                server.sendmail(options.sender, [options.recipient], f"Subject: hello {number}\r\n\r\n{body}\r\n")
            print(f"sent {1000 * (time.monotonic() - begun):.1f} ms", flush=True)
        except (OSError, smtplib.SMTPException) as error:
            failed += 1
            print(f"not sent: {error}", flush=True)
        time.sleep(options.pause)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
