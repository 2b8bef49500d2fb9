"""Keeps the subscriber's page up to date: when it is written, and which devices are on it.

Knows the engine's devices, `[notice]` of the policy, and the history of devices that were not clear. Must not know HTML
or words (page, texts.notice). A child process loads those and writes the page (lean.forked), and is not waited for. So
the running filter keeps none of it in memory, and no packet waits.

The page is written after a change of standing, at most twice within `HASTE_S`; otherwise once a minute if something on
it has changed. It is in tmpfs and is removed when the filter stops, because a page that is not updated would soon be
wrong. The history of at most `PAST` devices is known, since the filter's start.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable

from cpe_filter.detect.detector import RELEASED as BY_HAND
from cpe_filter.detect.device import HOME, Device
from cpe_filter.detect.score import CLEAR, COMPROMISED, UNUSUAL
from cpe_filter.lean import files
from cpe_filter.lean.clocks import PacketTime, Posix
from cpe_filter.lean.forked import BackgroundCall, CallFailedError
from cpe_filter.lean.log import Log, LogOnce, err
from cpe_filter.policy.model import Policy

#: Seconds between two writings: where a standing has changed, and else.
HASTE_S, MINUTE_S = 5.0, 60.0
#: Seconds that a child may take; 30 times what it takes here for 256 devices.
WAIT_S = 15.0
#: And when the filter stops: killed, it would leave half a page behind.
LEAVE_S = 2.0
#: Devices whose past is kept, and for how long, seconds.
PAST, PAST_S = 64, 30 * 86400.0

#: The one subject of what is logged.
_PAGE = "page"

CLEARED, RELEASED = "cleared", "released"


class NoticeError(Exception):
    """The page is as it was; the text says why."""


class Notice:
    """`changed` with each change of a standing, `tick` every second, `close` at the end. Times are the engine's.

    named: a device's name in DHCP. addresses: the router's own in the LAN. log: takes a line.
    """

    def __init__(self, named: Callable[[Device], str], addresses: Callable[[Policy], list[str]], log: Log) -> None:
        self._named = named
        self._addresses = addresses
        self._past: dict[bytes, tuple[str, PacketTime]] = {}
        self._due = True
        self._not_before = self._next = float("-inf")
        self._shows = 0
        self._call: BackgroundCall | None = None
        self._path = ""  # of the page that is there
        self._failed = False
        self._log_once = LogOnce(log)

    def changed(self, device: Device, indicator: str, now: PacketTime) -> None:
        """The device has another standing, because of this indicator."""
        standing = device.score.standing
        if indicator == BY_HAND:
            self._past[device.key] = RELEASED, now
        elif standing in (COMPROMISED, UNUSUAL):
            self._past.pop(device.key, None)
        elif standing == CLEAR and self._past.get(device.key, ("",))[0] == RELEASED:
            self._past[device.key] = CLEARED, now
        while len(self._past) > PAST:
            del self._past[next(iter(self._past))]
        self._due = True

    def rekeyed(self, before: bytes, after: bytes) -> None:
        """A device continues under another key."""
        if before in self._past:
            self._past[after] = self._past.pop(before)
        self._due = True

    def reload(self) -> None:
        """The policy is another one."""
        self._due = True

    def tick(self, devices: Iterable[Device], policy: Policy, now: PacketTime) -> None:
        """Writes the page when it is time; returns at once. devices: read at once."""
        if self._call is not None and not self._is_done(self._call):
            return
        if self._path != policy.notice.page:
            self._take_away()
        if not policy.notice.page or now < (self._not_before if self._due else self._next):
            return
        self._past = {key: past for key, past in self._past.items() if now - past[1] < PAST_S}
        known = list(devices)
        shows = hash(tuple((one.key, one.score.standing, one.connections, self._named(one)) for one in known))
        self._next = now + MINUTE_S
        if not self._due and shows == self._shows:
            return
        self._due, self._shows, self._not_before = False, shows, now + HASTE_S
        self._path = policy.notice.page
        try:
            self._call = BackgroundCall(
                lambda: _make(known, policy, self._named, self._addresses, self._past, now), NoticeError, WAIT_S
            )
        except CallFailedError as error:
            self._fail(str(error))

    def close(self) -> None:
        """The filter stops: removes the page."""
        if self._call is not None:
            self._call.stop(LEAVE_S)
            self._call = None
        self._take_away()

    def _is_done(self, call: BackgroundCall) -> bool:
        if not call.poll():
            return False
        self._call = None
        try:
            call.result()
            self._failed = False
            self._log_once.clear(_PAGE)
        except (NoticeError, CallFailedError) as error:
            self._fail(str(error))
        return True

    def _fail(self, reason: str) -> None:
        """Logged once; tried again when it is time."""
        self._shows = 0
        self._failed = True
        self._log_once.changed(_PAGE, err(f"page for subscribers not written: {self._path}: {reason}"))

    def _take_away(self) -> None:
        path, self._path = self._path, ""
        if path and not self._failed:  # otherwise the file may not be ours
            try:
                os.unlink(path)
            except OSError:
                pass


def _make(
    devices: list[Device],
    policy: Policy,
    named: Callable[[Device], str],
    addresses: Callable[[Policy], list[str]],
    past: dict[bytes, tuple[str, PacketTime]],
    now: PacketTime,
) -> None:
    """In the child: makes and writes the page. Raises `NoticeError`."""
    from cpe_filter.notice import devices as notice_devices
    from cpe_filter.notice import page as notice_page

    os.nice(10)  # packets first
    time.tzset()
    settings = notice_page.PageSettings(
        policy.notice.language,
        policy.notice.provider,
        policy.notice.help_url,
        policy.filter.mode,
        bool(policy.report.url),
        policy.report.hostnames,
        policy.notice.help_phone,
        ()
        if policy.notice.show == "off"
        else tuple(f"http://{one}:{policy.notice.show_port}/" for one in addresses(policy)),
    )
    shift = time.time() - now  # the engine's clock does not follow the wall's when that is set
    entries = [
        notice_devices.entry(device, policy, named(device), past.get(device.key, ("", PacketTime(0.0))), shift)
        for device in devices
        # The unknown device of the home is on the page only where there is something to do.
        if device.key != HOME or device.score.standing == COMPROMISED or device.key in past
    ]
    write(policy.notice.page, notice_page.page(settings, entries, Posix(now + shift)))


def write(path: str, text: str) -> None:
    """Replaces the page in one step, readable by all. Makes its folder. Raises `NoticeError`.

    It replaces nothing but a page of its own, and only in a folder that no other user can write to.
    """
    from cpe_filter.lean import output_file

    os.umask(0o022)
    try:
        files.make_folder(path)
        with output_file.OutputFile(path, begins=b"<!DOCTYPE html>", durable=False) as page:
            page.text = text
    except OSError as error:
        raise NoticeError(error.strerror) from None
    except output_file.OutputFileError as error:
        raise NoticeError(str(error)) from None
