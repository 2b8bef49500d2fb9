"""The harness that measures the faults: it would notice what it is there to notice."""

from __future__ import annotations

import asyncio
import io
import socket
import time
from pathlib import Path

import dpkt
import pytest

from cpe_filter.inspect.packet import SYN, Segment, parse
from tests.build import START, frames, pcap, session
from tests.faults import flood, shim
from tests.faults.faults import left_between
from tests.faults.scene import Dialogue, count
from tests.faults.stream import STEPS, Client, Server


def dialogue(begun: float, lasted: float, delivered: bool = True, error: str = "", step: str = "quit") -> Dialogue:
    return Dialogue(0, begun, begun + lasted, lasted / 2, step, delivered, error)


def test_what_became_of_dialogues() -> None:
    outcome = count(
        [
            dialogue(0.0, 0.010),
            dialogue(1.0, 0.030),
            dialogue(1.9, 0.020),
            dialogue(9.9, 2.0, False, "no answer", "rcpt"),  # begun before the fault, lost by it
            dialogue(10.5, 0.1),
            dialogue(11.0, 3.0),
            dialogue(11.5, 0.2, error="reset"),  # taken, and then cut off
            dialogue(12.5, 0.5, False, "no answer", "rcpt"),  # begun after it
            dialogue(20.0, 0.050),
        ],
        (10.0, 12.0),
        [(0.0, 2.0), (19.0, 21.0)],
    )
    assert (outcome.begun, outcome.delivered, outcome.lost, outcome.cut) == (3, 3, 2, 1)
    assert outcome.errors == ["no answer after rcpt", "reset after quit"]
    delays = (outcome.median_ms, outcome.worst_ms, outcome.stall_ms, outcome.idle_median_ms, outcome.idle_worst_ms)
    assert delays == pytest.approx((200, 3000, 1500, 25, 50))
    assert outcome.idle_begun == 4


def test_no_dialogues_are_no_outcome() -> None:
    with pytest.raises(RuntimeError):
        count([dialogue(0.0, 0.01)], (10.0, 12.0), [(0.0, 2.0)])


def test_what_left_is_counted_but_for_acknowledgements(tmp_path: Path) -> None:
    packets = [packet for packet in session() if packet.from_client]
    path = tmp_path / "wan.pcap"
    path.write_bytes(pcap(frames(packets)))
    told = [segment for segment in (parse(packet.data) for packet in packets) if isinstance(segment, Segment)]
    wanted = sum(1 for segment in told if segment.payload or segment.flags & 0x07)
    assert 0 < wanted < len(told)
    assert left_between(path, [(START - 1, START + 3600)]) == wanted
    assert left_between(path, [(START - 2, START - 1)]) == 0
    assert left_between(path, [(START - 1, packets[0].time + 0.1)]) == 1  # the SYN


@pytest.mark.parametrize("number", [0, 1, 65535])
def test_a_frame_of_the_flood_is_a_syn(number: int) -> None:
    mac = bytes(6)
    data = flood.frame(mac, socket.inet_aton("192.168.1.102"), socket.inet_aton(flood.SILENT), number)
    read = dpkt.ethernet.Ethernet(data)
    assert read.src == mac
    segment = parse(data[14:])
    assert isinstance(segment, Segment)
    assert (segment.flags, segment.dport, segment.payload) == (SYN, 25, b"")
    for checksum in (read.data.sum, read.data.data.sum):
        assert checksum != 0
    whole = read.data
    told = (whole.sum, whole.data.sum)
    whole.sum = whole.data.sum = 0
    again = dpkt.ip.IP(bytes(whole))
    assert (again.sum, again.data.sum) == told


class _Pipe(asyncio.Transport):
    """What is written, and whether it was closed."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.closed = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += bytes(data)

    def close(self) -> None:
        self.closed = True

    def take(self) -> bytes:
        data, self.written = self.written, b""
        return data


def _talk(answers: list[bytes] | None = None) -> tuple[Client, str]:
    """A client against our server, or against these answers; the client, and the ids that the server took."""

    async def talk() -> tuple[Client, str]:
        taken = io.StringIO()
        client, server = Client(7, time.monotonic()), Server(taken)
        there, back = _Pipe(), _Pipe()
        client.connection_made(there)
        server.connection_made(back)
        for turn in range(len(STEPS) + 1):
            data = back.take() if answers is None else (answers[turn] if turn < len(answers) else b"")
            for at in range(len(data)):  # byte by byte
                client.data_received(data[at : at + 1])
            server.data_received(there.take())
        client.connection_lost(None)
        return client, taken.getvalue()

    return asyncio.run(talk())


def test_a_dialogue_of_the_stream() -> None:
    client, taken = _talk()
    assert (client.step, client.error, taken) == ("quit", "", "7\n")


def test_a_refusal_is_no_delivery() -> None:
    client, _ = _talk([b"220 x\r\n", b"250-x\r\n250 y\r\n", b"554 5.7.1 no\r\n"])
    assert (client.step, client.error) == ("ehlo", "told 554 5.7.1 no")


def test_a_closed_connection_is_no_delivery() -> None:
    client, _ = _talk([b"220 x\r\n", b"250 x\r\n"])
    assert (client.step, client.error) == ("ehlo", "closed by the other side")


def test_the_shifted_clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "clock"
    shim.set_ahead(path, 0.0)
    for name in ("time", "time_ns", "localtime", "gmtime"):
        monkeypatch.setattr(time, name, getattr(time, name))  # is put back at the end
    real = time.time
    shim._shift_clock(str(path))
    assert time.time() == pytest.approx(real(), abs=60)
    shim.set_ahead(path, 10 * 365.25 * 86400)
    assert time.time() - real() == pytest.approx(10 * 365.25 * 86400, abs=60)
    assert time.time_ns() / 1e9 == pytest.approx(time.time(), abs=60)
    assert time.gmtime().tm_year - time.gmtime(real()).tm_year in (9, 10)
    assert time.gmtime(0).tm_year == 1970
