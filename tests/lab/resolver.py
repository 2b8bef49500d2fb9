"""The home router's resolver: `python -m tests.lab.resolver ADDRESS` prints "ready", then answers by UDP.

Knows the strangers' domains: `strangerN.example` has one MX, `mx.strangerN.example`, which has stranger N's two
addresses (see `net`). Everything else does not exist. Asks nobody; ends with the lab.
"""

from __future__ import annotations

import re
import socket
import struct
import sys

from tests.lab.net import mx4, mx6

_A, _MX, _AAAA = 1, 15, 28
_TTL_S = 300
#: A pointer to the question's name, which follows the header (RFC 1035, section 4.1.4).
_SAME_NAME = b"\xc0\x0c"
_NAME = re.compile(r"(mx\.)?stranger(\d{1,3})\.example")


def domain(number: int) -> str:
    """The mail domain of stranger `number`."""
    return f"stranger{number}.example"


def answer(query: bytes) -> bytes:
    """The response to a query of one question (RFC 1035); ValueError, IndexError or struct.error at anything else."""
    ident, flags, questions = struct.unpack_from("!HHH", query)
    labels, at = [], 12
    while query[at]:
        labels.append(query[at + 1 : at + 1 + query[at]].decode("ascii"))
        at += 1 + query[at]
    kind, _ = struct.unpack_from("!HH", query, at + 1)
    if flags & 0x8000 or questions != 1:
        raise ValueError("no query of one question")
    found = _NAME.fullmatch(".".join(labels).lower())
    known = bool(found and int(found[2]) < 256)
    data = b""
    if found and known:
        number = int(found[2])
        if found[1] and kind == _A:
            data = socket.inet_pton(socket.AF_INET, mx4(number))
        elif found[1] and kind == _AAAA:
            data = socket.inet_pton(socket.AF_INET6, mx6(number))
        elif not found[1] and kind == _MX:
            data = struct.pack("!H", 10) + b"\x02mx" + _SAME_NAME
    records = _SAME_NAME + struct.pack("!HHIH", kind, 1, _TTL_S, len(data)) + data if data else b""
    # Recursion is available; 3: there is no such name.
    header = struct.pack("!6H", ident, 0x8080 | flags & 0x0100 | (0 if known else 3), 1, bool(data), 0, 0)
    return header + query[12 : at + 5] + records


def main() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as serving:
        serving.bind((sys.argv[1], 53))
        print("ready", flush=True)
        while True:
            query, client = serving.recvfrom(2048)
            try:
                serving.sendto(answer(query), client)
            except (ValueError, IndexError, struct.error, OSError):
                continue


if __name__ == "__main__":
    main()
