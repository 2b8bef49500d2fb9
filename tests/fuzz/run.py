"""Runs the fuzz targets: `python -m tests.fuzz.run [TARGET...] [--runs N] [--seed S]`; `make fuzz` runs 16 million.

Inputs are mutations of seeds: the lab's captures, those of the captures folder where present, and SMTP's own words;
inputs that reach new lines of the code are kept as seeds (coverage by sys.settrace on a sample, so that most inputs
run at full speed). Deterministic for a seed. An input that fails is written, shortened, to the folder fuzz-failures;
exit 1. With `--atheris` the same targets run under that coverage-guided fuzzer instead (`pip install atheris`).
"""

from __future__ import annotations

import argparse
import itertools
import random
import sys
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

from cpe_filter.detect import rates
from cpe_filter.detect.detector import Detector
from cpe_filter.detect.device import Device
from cpe_filter.detect.evidence import INDICATORS
from cpe_filter.detect.saved import encode
from cpe_filter.detect.score import CLEAR, COMPROMISED, SUSPECTED
from cpe_filter.inspect.packet import parse
from cpe_filter.replay.capture import CaptureError, frames
from tests.build import CLIENT, CLIENT6, OPT, SERVER, SERVER6, dns_query, tcp, udp
from tests.conftest import captures_folder
from tests.fuzz.encapsulated import Generator
from tests.fuzz.targets import LINKS as LINK_TYPE_NUMBERS
from tests.fuzz.targets import TARGETS, Target
from tests.home.test_lease_file import DNSMASQ, ODHCPD
from tests.ip_packets import network_layer
from tests.lab.net import PROJECT
from tests.signed import making

WORDS = [
    *(f"{verb}\r\n".encode() for verb in ("DATA", "RSET", "QUIT", "NOOP", "STARTTLS", "AUTH LOGIN", "HELP", "VRFY x")),
    b"EHLO a.example\r\n",
    b"HELO \r\n",
    b"MAIL FROM:<a@b.example> SIZE=1\r\n",
    b"MAIL FROM:<>\r\n",
    b'RCPT TO: <"x y>"@c.example>\r\n',
    b"RCPT TO:<@r,@s:d@e>\r\n",
    b"BDAT 3\r\nabc",
    b"BDAT 0 LAST\r\n",
    b"BDAT 99999999999999999999 LAST\r\n",
    b"BDAT x\r\n",
    b"\r\n.\r\n",
    b"\n.\n",
    b".\r\n",
    b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00",
    b"220 mx\r\n",
    b"220-mx\r\n",
    b"250-PIPELINING\r\n",
    b"250 CHUNKING\r\n",
    b"250-X-ANONYMOUSTLS\r\n250 XEXCH50\r\n",
    b"X-ANONYMOUSTLS\r\n",
    b"XEXCH50 3 1\r\n",
    b"220 go\r\n",
    b"250 ok\r\n",
    b"354 go\r\n",
    b"334 VXNlcg==\r\n",
    b"235 ok\r\n",
    b"421 bye\r\n",
    b"450 later\r\n",
    b"550 5.1.1 <a@b.example>: unknown\r\n",
    b"221 bye\r\n",
    b"999 what\r\n",
    b"\xff\x00\x80",
    b"A" * 600,
]
SLOWEST_KEPT = 5
SAMPLE = 64
LONGEST = 6000


def packets_of(path: Path) -> list[bytes]:
    """The IP packets of a capture."""
    out = []
    try:
        for frame in frames(str(path), lambda _: None):
            found = network_layer(frame)
            if found:
                out.append(found[1])
            if len(out) >= 400:
                break
    except (CaptureError, OSError):
        pass
    return out


def seeds(target: str) -> Iterator[bytes]:
    """First inputs of a target, in its own form."""
    files = sorted((PROJECT / "pcaps").glob("*.pcap")) + sorted(captures_folder().glob("*/*.pcap"))
    for path in files:
        packets = packets_of(path)
        if target == "packet":
            yield from packets[:12]
        elif target == "engine":
            yield b"".join(len(p).to_bytes(2, "big") + b"\x04\x09" + p for p in packets[:24])[:LONGEST]
        elif target == "smtp":
            yield dialogue_of(packets)[:LONGEST]
    if target == "layers":
        generator = Generator(1)
        for _ in range(400):
            case = generator.case()
            link = LINK_TYPE_NUMBERS.index(case.link).to_bytes(1, "big")
            yield b"".join(link + len(f).to_bytes(2, "big") + f for f in case.frames)[:LONGEST]
    if target == "saved":
        for count in (0, 1, 3):
            yield encode(itertools.islice(known_devices(), count), 1e9, 7)
    if target == "data":
        yield making.rates_text(0.1).encode()
        yield rates.encode({name: rates.Row(row.bot, row.usual) for name, row in INDICATORS.items()})[:LONGEST]
        yield b"mailbox-full: quota exhausted\ndnsbl-listed: blocked by our own sensors + 5xx + !=spamcop"
        yield b"mixed-list: =bl + 5.7.*\nunknown-user: user unknown"
    if target == "leases":
        yield DNSMASQ.encode()
        yield ODHCPD.encode()
        end, head = b"1790043200 c0a80109 32 192.168.1.9/32", b"# br-lan 02deadbeef01 ipv4 x"
        yield b"a b %s\n%s %s" % (end, head, end)
        yield b"evil\n# br-lan 0003000102deadbeef01 1 x 1790043200 20 128 2001:db8::20/128\n%s" % head
        yield b"evil\n1790043200 02:de:ad:be:ef:01 192.168.1.20 victim *\nx"
    if target == "dns":
        for client, resolver in ((CLIENT, SERVER), (CLIENT6, SERVER6)):
            for opt in OPT.values():
                message = dns_query(opt=opt)
                yield udp(client, resolver, 40000, 53, message)
                yield tcp(client, resolver, 40000, 53, 1, 1, 0x18, len(message).to_bytes(2, "big") + message)
    if target == "smtp":
        yield b"".join(piece(bool(n % 2), word) for n, word in enumerate(WORDS))
    yield bytes(range(256))
    yield b""


def known_devices() -> Iterator[Device]:
    """Devices with something to save."""
    detector = Detector()
    for number in range(3):
        device = Device(bytes((2, 0, 0, 0, 0, number)), 1e9 - 5000)
        for n in range(9):
            detector.opened(device, bytes((198, 18, n, 25)), 1e9 - 100 + n)
        device.addresses = [bytes((192, 168, 1, number)), bytes(16)]
        device.score.restore((CLEAR, SUSPECTED, COMPROMISED)[number], device.score.sums, device.score.tallies)
        device.suspected_at = (1e9 - 90, 4) if number else None
        yield device


def dialogue_of(packets: list[bytes]) -> bytes:
    """Payloads of the packets in the form that `fuzz_smtp` reads."""
    out = b""
    for data in packets:
        segment = parse(data)
        if not isinstance(segment, str) and segment.payload and 25 in (segment.sport, segment.dport):
            out += piece(segment.sport == 25, segment.payload[:600])
    return out


def piece(server: bool, data: bytes) -> bytes:
    """Bytes of one side, cut into pieces with their head byte."""
    out = b""
    for at in range(0, len(data), 252):
        part = data[at : at + 252]
        size = (len(part) + 3) // 4
        out += bytes([(0x80 if server else 0) | size]) + part.ljust(size * 4, b"\n")
    return out


def mutate(data: bytes, other: bytes, rng: random.Random, target: str) -> bytes:
    """A few random changes."""
    out = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 3, 6, 12))):
        how = rng.randrange(9)
        at = rng.randrange(len(out) + 1)
        if how == 0 and out:
            out[at % len(out)] ^= 1 << rng.randrange(8)
        elif how == 1 and out:
            out[at % len(out)] = rng.randrange(256)
        elif how == 2:
            del out[at : at + rng.choice((1, 1, 2, 4, 16, 64))]
        elif how == 3:
            out[at:at] = rng.randbytes(rng.choice((1, 2, 4, 20)))
        elif how == 4:
            start = rng.randrange(len(other) + 1)
            out[at:at] = other[start : start + rng.choice((4, 16, 64, 256))]
        elif how == 5:
            out[at:at] = out[at : at + rng.choice((4, 16, 64))] * rng.choice((1, 2, 5))
        elif how == 6:
            word = rng.choice(WORDS)
            out[at:at] = piece(bool(rng.randrange(2)), word) if target == "smtp" else word
        elif how == 7:
            del out[rng.randrange(len(out) + 1) :]
        elif out:
            out[at % len(out)] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, 0x0A, 0x0D, 0x20, 0x2D))
    return bytes(out[:LONGEST])


def lines_reached(target: Target, data: bytes) -> set[tuple[str, int]]:
    """Runs an input and says which lines of the project it reached."""
    reached: set[tuple[str, int]] = set()

    def trace(frame: FrameType, event: str, argument: Any) -> Any:
        name = frame.f_code.co_filename
        if "cpe_filter" not in name:
            return None
        if event == "line":
            reached.add((name, frame.f_lineno))
        return trace

    sys.settrace(trace)
    try:
        target(data)
    finally:
        sys.settrace(None)
    return reached


def shorten(target: Target, data: bytes) -> bytes:
    """A shorter input that still fails."""
    step = max(1, len(data) // 2)
    while step:
        at = 0
        while at < len(data):
            shorter = data[:at] + data[at + step :]
            try:
                target(shorter)
                at += step
            except Exception:  # still fails, in whichever way
                data = shorter
        step //= 2
    return data


def fuzz(name: str, runs: int, seed: int, folder: Path, progress: bool = False) -> dict[str, Any]:
    """Runs one target; returns figures. Raises what an input raised, after writing the input down."""
    rng = random.Random(f"{name}-{seed}")
    target = TARGETS[name]
    corpus = list(seeds(name))
    reached: set[tuple[str, int]] = set()
    slowest: list[tuple[float, int]] = []
    begun = time.monotonic()
    for number in range(runs):
        if number < len(corpus):
            data = corpus[number]
        else:
            data = mutate(rng.choice(corpus), rng.choice(corpus), rng, name)
        started = time.perf_counter()
        try:
            if number % SAMPLE == 0 or number < len(corpus):
                new = lines_reached(target, data) - reached
                if new and number >= len(corpus):
                    corpus.append(data)
                reached |= new
            else:
                target(data)
                spent = (time.perf_counter() - started) / (len(data) + 64) * 1e6
                if len(slowest) < SLOWEST_KEPT or spent > slowest[-1][0]:
                    slowest = sorted([*slowest, (spent, len(data))], reverse=True)[:SLOWEST_KEPT]
        except Exception:
            folder.mkdir(exist_ok=True)
            path = folder / f"{name}-{seed}-{number}"
            path.write_bytes(shorten(target, data))
            print(f"{name}: input {number} fails; written, shortened, to {path}", file=sys.stderr)
            raise
        if progress and number % 100000 == 99999:
            print(f"{name}: {number + 1} inputs, {time.monotonic() - begun:.0f} s", flush=True)
    return {
        "target": name,
        "inputs": runs,
        "seconds": round(time.monotonic() - begun, 1),
        "corpus": len(corpus),
        "lines": len(reached),
        "slowest_us_per_byte": round(slowest[0][0], 2) if slowest else 0.0,
    }


def with_atheris(name: str, runs: int, seed: int) -> int:
    """Hands a target to atheris (libFuzzer); it ends the process itself."""
    import importlib
    import tempfile

    import atheris

    with atheris.instrument_imports(include=["cpe_filter"]):
        for module in [m for m in sys.modules if m.startswith("cpe_filter")]:
            del sys.modules[module]
        from tests.fuzz import targets

        importlib.reload(targets)
    corpus = tempfile.mkdtemp(prefix="cpe-filter-corpus-")
    for number, data in enumerate(seeds(name)):
        Path(corpus, str(number)).write_bytes(data)
    atheris.Setup(["fuzz", f"-runs={runs}", f"-seed={seed}", f"-max_len={LONGEST}", corpus], targets.TARGETS[name])
    atheris.Fuzz()
    return 0


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("targets", nargs="*", choices=[*TARGETS, []], default=[])
    parser.add_argument("--runs", type=int, default=20000, help="inputs for each target")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--atheris", action="store_true", help="coverage-guided, one target, until --runs")
    options = parser.parse_args()
    if options.atheris:
        return with_atheris((options.targets or ["smtp"])[0], options.runs, options.seed)
    for name in options.targets or TARGETS:
        try:
            print(fuzz(name, options.runs, options.seed, Path("fuzz-failures"), progress=True), flush=True)
        except Exception:
            traceback.print_exc()
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
