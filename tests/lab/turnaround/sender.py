"""A client that may be slow: `python -m tests.lab.turnaround.sender SERVER`, Python's smtplib and pauses.

With `--often P --pause LEAST MOST` it waits before a share P of its commands, so many milliseconds: a camera that looks
something up, or an embedded processor. One message a connection.
"""

from __future__ import annotations

import argparse
import random
import smtplib
import ssl
import sys
import time


class Slow(smtplib.SMTP):
    often, least, most = 0.0, 0.0, 0.0

    def send(self, s: object) -> None:
        self._think()
        super().send(s)  # type: ignore[arg-type]

    def docmd(self, cmd: str, args: str = "") -> tuple[int, bytes]:
        done = super().docmd(cmd, args)
        if cmd == "STARTTLS":  # the ClientHello follows
            self._think()
        return done

    def _think(self) -> None:
        if random.random() < self.often:
            time.sleep(random.uniform(self.least, self.most) / 1000)


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("server")
    parser.add_argument("--count", type=int, default=1)
    parser.add_argument("--starttls", action="store_true")
    parser.add_argument("--helo", default="smtplib.home.example")
    parser.add_argument("--often", type=float, default=0.0)
    parser.add_argument("--pause", type=float, nargs=2, default=(0.0, 0.0))
    options = parser.parse_args()
    Slow.often, (Slow.least, Slow.most) = options.often, options.pause
    failed = 0
    for _ in range(options.count):
        try:
            with Slow(options.server, 25, local_hostname=options.helo, timeout=30) as server:
                if options.starttls:
                    server.starttls(context=ssl._create_unverified_context())  # noqa: S323 - the lab's own certificate
                server.sendmail("ann@home.example", ["ben@friends.example"], "Subject: hello\r\n\r\nHello.\r\n")
        except (OSError, smtplib.SMTPException) as error:
            failed += 1
            print(f"not sent: {error!r}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
