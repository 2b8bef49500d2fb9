r"""Where lines of the log go: to syslog's socket, to systemd's journal, or to stderr.

Knows syslog's datagrams (RFC 3164, as logd and other syslogs read them), systemd's `<N>` on stderr, and terminals. Must
not know what is logged. Python's module syslog takes 30 kB less, but it waits in send(2) for a syslog that hangs, and
loses the lines that one does not take.

- stderr is a terminal, a file, or `CPE_FILTER_LOG=stderr`: stderr, `cpe-filter: ` and the text.
- stderr is systemd's journal (JOURNAL_STREAM): stderr, with the severity as `<N>`.
- Otherwise, as under procd, which logs all of stderr as errors, and with `CPE_FILTER_LOG=syslog`, as in a service's
  script: syslog's socket if it is there, else stderr.

Nothing here waits, because packets do. A line that cannot be written now waits in a bounded queue. What does not fit is
counted, and the number is logged. A socket that is gone comes back when syslog is restarted. In a jail it does not,
because the mount is of the old one: after `GIVE_UP_S` stderr is used, and the socket is tried now and then.

A line is one line of at most `MAX_BYTES`: what cannot be printed is written as `\xNN` or `\uNNNN`.
"""

from __future__ import annotations

import os
import select
import stat
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket

#: Severities of syslog that the filter uses (RFC 5424 section 6.2.1).
ERROR, WARNING, NOTICE, INFO = 3, 4, 5, 6
#: Syslog's name for the program.
PROGRAM = "cpe-filter"
SOCKET = "/dev/log"
#: Bytes of a line's text. logd reads 1023 bytes of a datagram; up to 45 are in front of the text.
MAX_BYTES = 960
#: Lines that wait.
MAX_WAITING = 64
#: Seconds without a socket until lines go to stderr, and between two looks for it from then on.
GIVE_UP_S, LOOK_S = 10.0, 30.0
#: Seconds that the end of the program waits for lines to be taken.
FINISH_S = 1.0
#: The facility `daemon`.
_DAEMON = 3 << 3


class Output:
    """The log of a process. Call `flush` now and then while `is_waiting`, and `finish` at the end."""

    def __init__(self, path: str = SOCKET) -> None:
        self._path = path
        self._kind = ""
        self._waiting: list[tuple[int, str, str]] = []  # severity, time, text
        self._lost = 0
        self._socket: socket.socket | None = None
        self._was_there = False  # the socket, once
        self._gone_since: float | None = None
        self._next_look = 0.0

    @property
    def is_waiting(self) -> bool:
        return bool(self._waiting or self._lost)

    def write(self, severity: int, text: str) -> None:
        """Writes a line, or keeps it until `flush`."""
        line = (severity, _stamp(), one_line(text))
        if (self._waiting and not self._flush()) or not self._put(*line):
            if len(self._waiting) < MAX_WAITING:
                self._waiting.append(line)
            else:
                self._lost += 1

    def flush(self) -> None:
        """Writes what waits, as far as that is possible now."""
        if self.is_waiting:
            self._flush()

    def finish(self) -> None:
        """At the end of the process: gives what waits a moment, then writes it to stderr."""
        end = time.monotonic() + FINISH_S
        while not self._flush() and time.monotonic() < end:
            time.sleep(0.02)
        if self.is_waiting and self._kind == "syslog":
            self._kind = "stderr"
            self._flush()

    def use_stderr(self) -> None:
        """For a command that a person or a script has started: what it says is an answer."""
        self._kind = "stderr"

    def _flush(self) -> bool:
        """Whether nothing waits any more."""
        while self._waiting:
            if not self._put(*self._waiting[0]):
                return False
            del self._waiting[0]
        if self._lost:
            if not self._put(WARNING, _stamp(), f"{self._lost} lines lost: the log did not take them"):
                return False
            self._lost = 0
        return True

    def _put(self, severity: int, stamp: str, text: str) -> bool:
        self._kind = self._kind or _kind_of_stderr()
        if self._kind == "syslog":
            done = self._send(f"<{_DAEMON | severity}>{stamp} {PROGRAM}[{os.getpid()}]: {text}".encode())
            if done is not None:
                return done
        return _to_stderr(f"<{severity}>{text}" if self._kind == "journal" else f"{PROGRAM}: {text}")

    # ── syslog ──────────────────────────────────────────────────────────────────────────────────────

    def _send(self, datagram: bytes) -> bool | None:
        """False: not now. None: there is no syslog to wait for."""
        now = time.monotonic()
        if self._has_given_up(now) and now < self._next_look:
            return None
        for _ in range(2):  # syslog may have been restarted since the last line
            try:
                if self._socket is None:
                    self._socket = _connected(self._path)
                self._socket.send(datagram)
            except BlockingIOError:
                return False
            except OSError:
                self._close()
                continue
            self._was_there, self._gone_since = True, None
            return True
        if self._gone_since is None:
            self._gone_since = now
        if self._has_given_up(now):
            self._next_look = now + LOOK_S if self._was_there else 0.0
            return None
        return False

    def _has_given_up(self, now: float) -> bool:
        return self._gone_since is not None and (not self._was_there or now - self._gone_since >= GIVE_UP_S)

    def _close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None


def one_line(text: str) -> str:
    """The text as one line that harms no terminal, of at most `MAX_BYTES` in UTF-8."""
    shown = text[:MAX_BYTES]
    if not shown.isprintable():
        shown = "".join([c if c.isprintable() else _escaped(ord(c)) for c in shown])
    data = shown.encode()
    if len(data) <= MAX_BYTES and len(text) <= MAX_BYTES:
        return shown
    return data[: MAX_BYTES - 3].decode("utf-8", "ignore") + "..."


def _escaped(code: int) -> str:
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}" if code < 65536 else f"\\U{code:08x}"


def _stamp() -> str:
    return time.strftime("%b %e %H:%M:%S")  # the C locale's names of months, as RFC 3164 has them


def _connected(path: str) -> socket.socket:
    """Raises OSError."""
    from cpe_filter.lean import plain_socket as socket

    made = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        made.setblocking(False)
        made.connect(path)
    except BaseException:
        made.close()
        raise
    return made


def _kind_of_stderr() -> str:
    """One of: syslog, journal, stderr."""
    chosen = os.environ.get("CPE_FILTER_LOG")
    if chosen in ("stderr", "syslog"):
        return chosen
    try:
        status = os.fstat(2)
    except OSError:
        return "syslog"
    if os.environ.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}":
        return "journal"
    # A person who has sent stderr elsewhere has a terminal left.
    if stat.S_ISREG(status.st_mode) or any(os.isatty(number) for number in range(3)):
        return "stderr"
    return "syslog"


def _to_stderr(line: str) -> bool:
    """False: its reader does not read."""
    try:
        if _is_pipe(2):
            poll = select.poll()
            poll.register(2, select.POLLOUT)
            if not poll.poll(0):
                return False
        sys.stderr.write(f"{line}\n")
        sys.stderr.flush()
    except (OSError, ValueError, AttributeError):
        pass  # closed, now or from the start; the packets still need their verdicts
    return True


def _is_pipe(number: int) -> bool:
    mode = os.fstat(number).st_mode
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)
