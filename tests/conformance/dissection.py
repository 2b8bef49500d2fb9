"""tshark's readings of a capture.

Knows tshark: its options, and the fields of its SMTP dissector. Must not know replay.

Its output is PDML, because only this has the fields of a packet in their order and each one's bytes. tshark's SMTP
dissector reassembles DATA and lines; segments out of order it puts in order when asked to. Its dissector of messages is
off: it has nothing to do with SMTP, and takes most of the time.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterable, Sequence
from tempfile import TemporaryFile
from typing import IO
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from tests.conformance.readings import PORTS, Reading, text_of, verb_of

PREFERENCES = {
    "smtp.desegment_lines": "TRUE",
    "smtp.desegment_data": "TRUE",
    "tcp.desegment_tcp_streams": "TRUE",
    "tcp.reassemble_out_of_order": "TRUE",
    "tcp.relative_sequence_numbers": "FALSE",
    "tcp.check_checksum": "FALSE",
    "ip.defragment": "TRUE",
    "ipv6.defragment": "TRUE",
}


#: What tshark says of segments that may explain a difference.
_NOTED = frozenset(
    [
        "retransmission",
        "fast_retransmission",
        "spurious_retransmission",
        "lost_segment",
        "ack_lost_segment",
        "out_of_order",
        "reused_ports",
        "zero_window_probe",
        "keep_alive",
    ]
)

_CHUNK = re.compile(r"BDAT \d+( LAST)?$", re.IGNORECASE)
_VERBS = frozenset(
    ["EHLO", "HELO", "MAIL", "RCPT", "DATA", "BDAT", "RSET", "QUIT", "NOOP", "STAR", "AUTH", "VRFY", "EXPN", "HELP"]
)


class DissectionError(Exception):
    """tshark cannot read a capture, or its output is not what it should be."""


def available() -> str:
    """The path of tshark, "" if it is not installed."""
    return shutil.which("tshark") or ""


def arguments(path: str, ports: Sequence[int] = PORTS) -> list[str]:
    """The command line that dissects a capture for the comparison. All settings but these are tshark's own."""
    tls = [port for port in ports if port == 465]
    preferences = [word for name, value in PREFERENCES.items() for word in ("-o", f"{name}:{value}")]
    decode = [word for port in ports if port not in tls for word in ("-d", f"tcp.port=={port},smtp")]
    decode += [word for port in tls for word in ("-d", f"tcp.port=={port},tls")]
    shown = f"tcp.port in {{{','.join(map(str, ports))}}}"
    what = ["-T", "pdml", "-J", "ip ipv6 tcp tcp.segments smtp tls data-text-lines"]
    return ["tshark", "-n", "-2", *preferences, *decode, "--disable-protocol", "imf", "-Y", shown, *what, "-r", path]


def of_tshark(path: str, ports: Sequence[int] = PORTS) -> list[Reading]:
    """tshark's readings of a capture, in the order of their starts. Raises `DissectionError`."""
    command = arguments(path, ports)
    # Into a file: a pipe that nobody reads would hold tshark up.
    with TemporaryFile() as complaints, subprocess.Popen(command, stdout=subprocess.PIPE, stderr=complaints) as process:
        assert process.stdout is not None
        try:
            found = _Streams(ports).read(process.stdout)
        except ElementTree.ParseError as error:
            raise DissectionError(f"{path}: tshark's PDML cannot be parsed: {error}") from None
        code = process.wait()
        complaints.seek(0)
        complaint = complaints.read().decode(errors="replace").strip()
    if code not in (0, 2):  # 2: the capture is damaged, and was read up to there
        raise DissectionError(f"{path}: tshark ended with {code}: {complaint}")
    return sorted(found, key=lambda reading: reading.start)


def _number(element: Element | None) -> int:
    return int(element.get("show", "0"), 0) if element is not None else 0


def _bytes(element: Element | None) -> bytes:
    return bytes.fromhex(element.get("value", "")) if element is not None else b""


class _Streams:
    """Packets in, readings out: one for each of tshark's TCP streams."""

    def __init__(self, ports: Sequence[int]) -> None:
        self._ports = frozenset(ports)
        self._readings: dict[int, Reading] = {}
        self._messages: dict[int, _Message] = {}
        self._first: dict[int, int] = {}  # numbers of clients' first bytes
        self._continued: set[int] = set()  # streams with a reply whose last line is to come

    def read(self, output: IO[bytes]) -> list[Reading]:
        for _, element in ElementTree.iterparse(output, events=("end",)):  # noqa: S314 - tshark's own
            if element.tag == "packet":
                self._packet(element)
                element.clear()
        for stream, message in self._messages.items():
            message.end(self._readings[stream])
        return list(self._readings.values())

    def _packet(self, packet: Element) -> None:
        layers = packet.findall("proto")
        time, source, target = 0.0, "", ""
        reading: Reading | None = None
        stream = -1
        data = payload = _Data(None, 0)
        for layer in layers:
            name = layer.get("name")
            if name == "geninfo":
                time = float(layer.find("field[@name='timestamp']").get("value", "0"))  # type: ignore[union-attr]
            elif name in ("ip", "ipv6"):
                source = layer.find(f"field[@name='{name}.src']").get("show", "")  # type: ignore[union-attr]
                target = layer.find(f"field[@name='{name}.dst']").get("show", "")  # type: ignore[union-attr]
            elif name == "tcp":
                stream, reading = self._tcp(layer, time, source, target)
            elif reading is not None and name == "tls":
                # Behind STARTTLS tshark calls everything TLS; a record is.
                reading.tls = reading.tls or layer.find("field[@name='tls.record']") is not None
            elif reading is not None and name == "smtp":
                self._smtp(layer, stream, reading, data)
                data = payload
            elif name == "fake-field-wrapper":
                data = _Data(layer.find(".//field[@name='tcp.reassembled.data']"), 0)
            if name == "tcp":
                item = layer.find("field[@name='tcp.payload']")
                data = payload = _Data(item, int(item.get("pos", "0")) if item is not None else 0)

    def _tcp(self, layer: Element, time: float, source: str, target: str) -> tuple[int, Reading]:
        ports = [_number(layer.find(f"field[@name='tcp.{side}port']")) for side in ("src", "dst")]
        stream = _number(layer.find("field[@name='tcp.stream']"))
        flags = _number(layer.find("field[@name='tcp.flags']"))
        ends = (source, ports[0]), (target, ports[1])
        reading = self._readings.get(stream)
        if reading is None:
            from_client = ports[1] in self._ports and flags & 0x12 != 0x12
            client, server = ends if from_client else ends[::-1]
            reading = self._readings[stream] = Reading(client, server, time)
            self._messages[stream] = _Message()
            if not flags & 2:
                reading.notes.add("midway")
            if flags & 2 and from_client:
                self._first[stream] = _number(layer.find("field[@name='tcp.seq']")) + 1
        from_client = ends[0] == reading.client
        if not from_client and flags & 0x10 and stream in self._first:
            octets = (_number(layer.find("field[@name='tcp.ack']")) - self._first[stream]) & 0xFFFFFFFF
            reading.octets = max(reading.octets, octets if octets < 1 << 31 else 0)
        for item in layer.iter("field"):
            name = item.get("name", "")
            if name.startswith("tcp.analysis.") and name[len("tcp.analysis.") :] in _NOTED:
                reading.notes.add(name[len("tcp.analysis.") :] + (" (client)" if from_client else " (server)"))
        return stream, reading

    def _smtp(self, layer: Element, stream: int, reading: Reading, data: _Data) -> None:
        message = self._messages[stream]
        for item in layer:
            name = item.get("name")
            if name == "data-text-lines":
                size = int(item.get("size", "0"))
                message.add(size)
                reading.early += size if "MAIL" not in reading.commands else 0
                reading.taken += _commands(_bytes(line) for line in item)
            elif name == "smtp.command_line":
                _command(item, reading)
            elif name == "smtp.response":
                self._response(item, stream, reading, data)
            elif name == "smtp.eom":
                # tshark has an empty line before the dot in the end of the message, not in the message.
                message.ended = True
                sent = data.bytes[data.place(layer) :]
                message.line_end = sent.startswith(b"\r\n.\r\n") or b"\r\n\r\n.\r\n" in sent
                reading.unshown += _commands((b"\r\n" + sent).partition(b"\r\n.\r\n")[2].splitlines())
            elif name == "smtp.data.fragments":
                message.whole = _number(item.find("field[@name='smtp.data.reassembled.length']"))
                content = b"".join(map(_bytes, item.findall("field[@name='smtp.data.fragment']")))
                reading.taken += _commands(content.splitlines())
        if message.ended:
            message.end(reading)

    def _response(self, item: Element, stream: int, reading: Reading, data: _Data) -> None:
        """Lines of a reply that come in several segments are several responses; they count once."""
        code = item.find("field[@name='smtp.response.code']")
        if code is None:
            return
        parameters = item.findall("field[@name='smtp.rsp.parameter']")
        mark = data.before(parameters[-1]) if parameters else b""
        if stream not in self._continued:
            reading.replies.append(_number(code))
        (self._continued.add if mark == b"-" else self._continued.discard)(stream)


class _Data:
    """The bytes that a dissector was given. at: their position in the frame."""

    def __init__(self, item: Element | None, at: int) -> None:
        self.bytes = _bytes(item)
        self._at = at

    def place(self, item: Element) -> int:
        return max(0, int(item.get("pos", "0")) - self._at)

    def before(self, item: Element) -> bytes:
        """The byte before a field."""
        at = self.place(item)
        return self.bytes[at - 1 : at] if at > 0 else b""


class _Message:
    """The message that is being sent: the bytes of its fragments, and its length as reassembled, -1 if it is not."""

    def __init__(self) -> None:
        self.fragments = 0
        self.whole = -1
        self.ended = self.line_end = False

    def add(self, size: int) -> None:
        self.fragments += size

    def end(self, reading: Reading) -> None:
        if self.ended or self.fragments or self.whole >= 0:
            reading.bytes.append((self.whole if self.whole >= 0 else self.fragments) + 2 * self.line_end)
        self.__init__()  # type: ignore[misc]


def _commands(lines: Iterable[bytes]) -> list[str]:
    """Of lines of content, those that are commands. A chunk of BDAT need not end with a line, and BDAT follows."""
    found = [text for text in map(text_of, lines) if verb_of(text) in _VERBS or _CHUNK.search(text)]
    return [match[0] if (match := _CHUNK.search(text)) else text for text in found]


def _command(item: Element, reading: Reading) -> None:
    line = _bytes(item).rstrip(b"\r\n")
    verb = verb_of(text_of(line))
    reading.lines.append(text_of(line))
    reading.commands.append(verb)
    rest = line[4:].strip()
    if verb in ("HELO", "EHLO"):
        reading.hello.append(rest.decode("utf-8", "replace"))
    elif verb == "MAIL":
        reading.mail.append(address_of(rest))
    elif verb == "RCPT":
        reading.rcpt.append(address_of(rest))


def address_of(rest: bytes) -> str:
    """The path behind FROM: or TO:; `<>` if it is empty."""
    _, _, path = rest.partition(b":")
    path = path.strip()
    if path.startswith(b"<"):
        path = path[1 : path.rfind(b">")] if b">" in path else path[1:]
    else:
        path = path.split(b" ")[0]
    return path.decode("utf-8", "replace") or "<>"


def version() -> str:
    """The first line of `tshark --version`."""
    done = subprocess.run(["tshark", "--version"], capture_output=True, text=True, check=True)
    return done.stdout.partition("\n")[0].rstrip(".")
