"""`python -m tests.lab.tls fingerprints|records [NAME...]` (root; gets missing programs from Debian).

`fingerprints` (3 minutes): each program is a device of its own and sends two letters, to a server with TLS 1.3, to one
with 1.2, and to one that breaks off each handshake. Prints each program's JA4, with how many connections, and how many
JA4 and lists of ciphers there are. `records` (4 minutes): what TLS records show of what became of a letter. Prints the
payload lengths of the client's records and of the server's last ones.
"""

from __future__ import annotations

import argparse
import json
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

from tests.lab import boxes
from tests.lab.clients import Letter
from tests.lab.net import PYTHON, Lab
from tests.lab.peers import ANN, BEN, LATER, NOBODY, Certificate
from tests.lab.tls.programs import BY_LETTER, MORE, PROGRAMS, Play, play

APPLICATION_DATA = 23
_LETTER = Letter(ANN, (BEN,))
SERVERS = {"TLS 1.3": (), "TLS 1.2": ("--oldest",), "breaks off": ("--break",)}
#: What may become of a letter.
CASES = {
    "recipient unknown": Letter(ANN, (NOBODY,)),
    "recipient deferred": Letter(ANN, (LATER,)),
    "sender refused": Letter("spammer@home.example", (BEN,)),
    "mail of 300 bytes": _LETTER,
    "mail of 3 kB": Letter(ANN, (BEN,), 2800),
    "3 kB refused": Letter("bulk@home.example", (BEN,), 2800),
}
#: What the server noted of a connection (`server`).
Record = dict[str, Any]


def played(plays: dict[str, Play], letters: Iterable[Letter], *options: str) -> dict[str, list[Record]]:
    """The connections of each program, in the order in which they ended. Three programs run at a time."""
    letters = list(letters)
    with Lab(devices=len(plays)) as lab:
        certificate, log = Certificate(lab.folder), lab.folder / "tls.jsonl"
        files = [str(file) for file in certificate.files]
        process = lab.start("router", [PYTHON, "-m", "tests.lab.tls.server", str(log), *files, *options])
        assert process.stdout is not None
        if process.stdout.readline().strip() != "ready":
            raise RuntimeError("the server did not start")
        devices = dict(zip(plays, lab.devices, strict=True))
        room = threading.Semaphore(3)

        def one(name: str) -> None:
            with room:
                error = play(lab, devices[name], plays[name], letters)
            if error and "--break" not in options:
                print(f"{name}: {error}", file=sys.stderr)

        threads = [threading.Thread(target=one, args=(name,)) for name in plays]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        time.sleep(1)
        by_address = {lab.address4(device): name for name, device in devices.items()}
        found: dict[str, list[Record]] = {name: [] for name in plays}
        for line in log.read_text().splitlines() if log.exists() else []:
            record = json.loads(line)
            found[by_address[record["client"]]].append(record)
    return found


def cipher_list(ja4: str) -> str:
    """The part of a JA4 that stands for the ciphers: t13i871000_c66346c74e42_24695f2957a7."""
    return ja4.split("_")[1]


def fingerprints_table(rows: dict[str, dict[str, list[str]]]) -> Iterator[str]:
    """rows: by program and server, the JA4 of its connections."""
    for name, row in rows.items():
        counted = {server: Counter(found) for server, found in row.items()}
        shown = [
            f"{server}: {', '.join(f'{ja4} x{n}' for ja4, n in found.items()) or 'none'}"
            for server, found in counted.items()
        ]
        every = {ja4 for found in counted.values() for ja4 in found}
        yield f"{name:32} {len(every)} JA4, {len({cipher_list(ja4) for ja4 in every})} lists"
        yield from (f"    {text}" for text in shown)
    every = {ja4 for row in rows.values() for found in row.values() for ja4 in found}
    users = Counter(
        ja4 for row in rows.values() for ja4 in {cipher_list(ja4) for found in row.values() for ja4 in found}
    )
    yield f"{len(rows)} programs, {len(every)} JA4, {len(users)} lists; programs with each list: {dict(users)}"


def fingerprints(names: list[str]) -> None:
    rows: dict[str, dict[str, list[str]]] = {}
    for server, options in SERVERS.items():
        plays = {name: one for name, one in PROGRAMS.items() if not names or name in names}
        for name, found in played(plays, (_LETTER, _LETTER), *options).items():
            rows.setdefault(name, {})[server] = [record["ja4"] for record in found]
    print("\n".join(fingerprints_table(rows)))


def records(names: list[str]) -> None:
    plays = {name: one for name, one in BY_LETTER.items() if not names or name in names}
    for case, letter in CASES.items():
        for name, found in played(plays, (letter,)).items():
            for record in found[:1]:  # a bounce may follow
                client, server = (
                    [size for way, kind, size in record["records"] if way == one and kind == APPLICATION_DATA]
                    for one in "><"
                )
                print(f"{case:20} {name:28} client {sum(client):5} {client} server {server[-6:]}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tests.lab.tls", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("fingerprints", "records"))
    parser.add_argument("names", nargs="*", metavar="NAME", help="only these programs")
    options = parser.parse_args()
    for name in (*boxes.PACKAGES, *MORE):
        if not (boxes.UNPACKED / name).is_dir():
            for why in boxes._unpack(boxes.PACKAGES.get(name, name), boxes.UNPACKED / name):
                print(f"could not get {name}: {why}", file=sys.stderr)
    (fingerprints if options.what == "fingerprints" else records)(options.names)


if __name__ == "__main__":
    main()
