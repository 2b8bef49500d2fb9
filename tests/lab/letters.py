"""Python's smtplib as a peer: `python -m tests.lab.letters SERVER [options]` sends letters in one connection.

Stdin is JSON: the password, then [sender, recipients, text] for each letter. Goes on after a letter that was refused.
"""

from __future__ import annotations

import argparse
import json
import smtplib
import ssl
import sys


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("server")
    parser.add_argument("--helo", required=True)
    parser.add_argument("--starttls", action="store_true")
    parser.add_argument("--auth", choices=("PLAIN", "LOGIN", "CRAM-MD5"))
    parser.add_argument("--user", default="")
    parser.add_argument("--utf8", action="store_true")
    options = parser.parse_args()
    password, *letters = json.load(sys.stdin)
    with smtplib.SMTP(options.server, 25, local_hostname=options.helo, timeout=20) as server:
        if options.starttls:
            server.starttls(context=ssl._create_unverified_context())  # noqa: S323 - the lab's own certificate
        server.ehlo()
        if options.auth:
            server.user, server.password = options.user, password
            method = getattr(server, "auth_" + options.auth.lower().replace("-", "_"))
            server.auth(options.auth, method)
        for sender, recipients, text in letters:
            extensions = ["SMTPUTF8", "BODY=8BITMIME"] if options.utf8 else []
            try:
                # Given bytes, smtplib does not make line ends CRLF.
                server.sendmail(sender, recipients, text.replace("\n", "\r\n").encode(), extensions)
            except smtplib.SMTPException as error:
                print(f"not sent: {type(error).__name__}", file=sys.stderr)


if __name__ == "__main__":
    main()
