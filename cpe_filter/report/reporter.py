"""Reports of the running filter: finds incidents, numbers their events, and leaves them for `cpe-filter send`.

Knows the engine's devices and connections, conntrack, the spool's folder and when things are due. Must not know the
network: it sends nothing. A failure is logged once, and the filter goes on.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from cpe_filter import __version__
from cpe_filter.detect.device import Device
from cpe_filter.enforce.conntrack import wan_port
from cpe_filter.engine import Engine, Flow
from cpe_filter.lean import files
from cpe_filter.lean.checksum import CorruptStateError
from cpe_filter.lean.clocks import PacketTime
from cpe_filter.lean.log import Log, LogOnce, err, warning
from cpe_filter.lean.named_tuple import NamedTuple
from cpe_filter.policy.model import Policy
from cpe_filter.report import document_news, key, spool_dir
from cpe_filter.report.document_news import DocumentNews
from cpe_filter.report.events import DOCUMENT, HEARTBEAT, document_event, heartbeat, instruction_event
from cpe_filter.report.incident import EXAMPLES, Example, Incident
from cpe_filter.report.persistence import SavedIncidents, encode, parse
from cpe_filter.report.spool import MOST_BYTES, Spool, SpoolHeader, Waiting
from cpe_filter.report.spool_dir import uptime
from cpe_filter.report.tracker import IncidentTracker

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


#: Suffixes of the state file's name: the open incidents on flash, and the secret of the pseudonyms.
INCIDENTS_SUFFIX, KEY_SUFFIX = ".incidents", ".key"
#: Seconds between two checks of what has arrived, and of documents; from a failure to write to the next try.
ARRIVED_S, RETRY_S = 5.0, 30.0
#: Seconds to the first heartbeat, between two while none is sent, and from one that has arrived to the next.
FIRST_BEAT_S, FRESH_BEAT_S, BEAT_S = 60.0, 3600.0, 43200.0
#: Seconds after a device was last seen in which conntrack may still know its connection's port.
_LATELY_S = 120.0


class Saved(NamedTuple):
    """What the files hold when reporting begins, as plain values (`read_saved`).

    secret: of the pseudonyms. recent: the open incidents in memory, of this boot; flash: those on flash, read if
    there are no recent ones; None if there are none. spool: of this boot, as `spool_file.decode` has it. problems: for
    the log.
    """

    secret: bytes
    recent: dict[str, Any] | None
    flash: dict[str, Any] | None
    spool: tuple[tuple[Any, ...], list[tuple[Any, ...]]] | None
    problems: list[str]


def read_saved(policy: Policy) -> tuple[Any, ...]:
    """`Saved`, without its type. Slow (flash) and large (json): for a child process. Raises OSError."""
    boot = spool_dir.boot_id()
    problems: list[str] = []
    folder, state_file = spool_dir.folder(policy.status.status_file), policy.state.state_file
    try:
        secret = key.load(state_file + KEY_SUFFIX)
    except OSError as error:
        raise OSError(f"{error.filename or state_file + KEY_SUFFIX}: {error.strerror}") from None
    recent = _incidents_in(_in_memory(folder, spool_dir.INCIDENTS), "in memory", problems)
    if recent is not None and recent.get("boot") != boot:
        recent = None
    flash = None
    if recent is None:
        flash = _incidents_in(_on_flash(state_file + INCIDENTS_SUFFIX, problems), "on flash", problems)
    return secret, recent, flash, _spool_in(_in_memory(folder, spool_dir.SPOOL), boot, problems), problems


def _in_memory(folder: str, name: str) -> bytes | None:
    try:
        return spool_dir.read(os.path.join(folder, name), 2 * MOST_BYTES)
    except OSError:
        return None


def _on_flash(path: str, problems: list[str]) -> bytes | None:
    try:
        return files.read(path, 2 * MOST_BYTES)
    except FileNotFoundError:
        return None
    except OSError as error:
        problems.append(f"open incidents not read: {path}: {error.strerror}")
        return None


def _incidents_in(data: bytes | None, where: str, problems: list[str]) -> dict[str, Any] | None:
    if data is None:
        return None
    try:
        content = parse(data)
        SavedIncidents(content)
    except CorruptStateError as error:
        problems.append(f"open incidents {where} not used: {error}")
        return None
    return content


def _spool_in(data: bytes | None, boot: str, problems: list[str]) -> Any:
    if data is None:
        return None
    from cpe_filter.report.spool_file import decode

    try:
        header, events = decode(data)
    except CorruptStateError as error:
        problems.append(f"reports that waited are lost: the spool is {error}")
        return None
    return (tuple(header), [tuple(event) for event in events]) if header.boot == boot else None


class Reporter:
    """Made when reporting begins. `tick` every second, `rekeyed` when a device's key changes, `close` at the end."""

    def __init__(
        self,
        policy: Policy,
        engine: Engine,
        named: Callable[[Device], str],
        figures: Callable[[], dict[str, Any]],
        log: Log,
        now: PacketTime,
        saved: Saved,
    ) -> None:
        """named: a device's name of its own; figures: for heartbeats (see report.events). Raises OSError."""
        self._policy = policy
        self._engine = engine
        self._named = named
        self._figures = figures
        self._log = log
        self._log_once = LogOnce(log)
        self._boot = spool_dir.boot_id()
        self._pseudonym: Callable[[bytes], str] = lambda device: key.pseudonym(saved.secret, device)
        self._incidents = IncidentTracker(self._pseudonym, PacketTime(now - uptime()))
        self._writer = self._spool_writer()
        self._writer.make()
        self._next_arrived = self._next_write = self._next_example = float("-inf")
        self._next_beat = now + FIRST_BEAT_S
        for problem in saved.problems:
            log(warning(problem))
        self._spool = self._restored(saved, now)
        self._incidents.begin(engine.devices, now)

    def _spool_writer(self) -> spool_dir.SpoolWriter:
        folder = spool_dir.folder(self._policy.status.status_file)
        return spool_dir.SpoolWriter(folder, self._policy.report.user, self._log)

    # ── across restarts ─────────────────────────────────────────────────────────────────────────

    def _restored(self, saved: Saved, now: PacketTime) -> Spool:
        """Restores the spool and the incidents; after a reboot only the incidents."""
        recent = SavedIncidents(saved.recent) if saved.recent is not None else None
        # No seq may come twice in a boot. If none is known, assume an event a second, which is more than there were.
        seq = recent.seq if recent else max(1, int(uptime()))
        spool, whole = Spool(self._boot, seq), False
        if saved.spool is not None:
            header, events = SpoolHeader(*saved.spool[0]), [Waiting(*event) for event in saved.spool[1]]
            whole = recent is not None and header.next >= recent.seq
            spool.restore(header, events)
        incidents = recent or (SavedIncidents(saved.flash) if saved.flash is not None else None)
        mark = document_news.restored(incidents.news if incidents is not None else None, whole)
        self._documents = DocumentNews(self._policy.state.state_file, mark)
        if incidents is not None:
            try:
                incidents.restore(self._incidents, self._boot, now, lost=not whole)
            except CorruptStateError as error:
                self._log(warning(f"open incidents are not known any more: {error}"))
        return spool

    def encoded(self, now: PacketTime) -> bytes:
        """The open incidents, for the file on flash."""
        return encode(self._incidents, self._boot, self._spool.next, now, self._documents.mark)

    # ── while it runs ───────────────────────────────────────────────────────────────────────────

    def reload(self, policy: Policy) -> None:
        """Uses this policy from now on."""
        user = self._policy.report.user
        self._policy = policy
        if policy.report.user != user:
            self._writer = self._spool_writer()
            try:
                self._writer.make()
            except OSError as error:
                text = f"reports cannot be left for {policy.report.user}: {error.strerror}"
                self._log_once.changed("folder", err(text))
        self._spool.changed = True  # the policy's version is in it

    def rekeyed(self, before: bytes, after: bytes) -> None:
        """A device continues under another key."""
        device = self._engine.devices.find(after)
        if device is not None:  # else it has been forgotten since, and its incident ends
            self._incidents.rekeyed(before, device)

    def tick(self, now: PacketTime) -> bool:
        """Does what is due. True: what is kept on flash has changed, and a reboot must not lose that."""
        arrived = False
        if now >= self._next_arrived:
            self._next_arrived = now + ARRIVED_S
            self._take_arrived(now)
            waiting = any(event.kind == DOCUMENT for event in self._spool.events)
            arrived = not waiting and self._documents.arrived()
            self._take_news()
        self._look(now)
        if self._policy.report.heartbeat and now >= self._next_beat:
            self._next_beat = now + FRESH_BEAT_S
            self._spool.add(self._heartbeat())
        if self._spool.changed and now >= self._next_write:
            self._write(now)
        return arrived

    def find(self, dev: str) -> Device | None:
        """The device with this pseudonym."""
        key = self._incidents.key_of(dev)
        if key is not None:
            return self._engine.devices.find(key)
        return next((device for device in self._engine.devices if self._pseudonym(device.key) == dev), None)

    def instructions(self) -> str:
        """The path of the signed documents that `send` has left."""
        return self._writer.instructions()

    def answer(self, digest: str, outcome: str, action: str, dev: str) -> None:
        """Reports what has become of an instruction (see report.events)."""
        self._spool.add(instruction_event(uptime(), digest, outcome, action, dev))

    def ask(self, asks: bool) -> None:
        """Whether the desk may have instructions for this router."""
        self._incidents.asks = asks

    def _heartbeat(self) -> dict[str, Any]:
        figures = self._figures()
        submission = [(self._pseudonym(mac), *counts) for mac, *counts in figures.get("submission", ())]
        # A document that is not laid over the router's policy any more is left out; while another is tried, it is not.
        docs = [one for one in self._documents.in_force if one[0] in self._policy.signed.names]
        figures = {**figures, "submission": submission, "docs": docs}
        return heartbeat(self._engine.devices, self._policy, uptime(), figures)

    def _take_news(self) -> None:
        """What has become of documents since the last look."""
        try:
            for one in self._documents.look():
                self._spool.add(document_event(uptime(), one))
        except (OSError, CorruptStateError) as error:
            self._log(warning(f"outcomes of signed documents not reported: {self._documents.path}: {error}"))

    def close(self, now: PacketTime) -> None:
        """The filter stops, or does not report any more."""
        self._take_arrived(now)
        self._look(now)
        self._write(now)

    def _look(self, now: PacketTime) -> None:
        devices, policy = self._engine.devices, self._policy

        def opening(incident: Incident, device: Device) -> None:
            self._seek(incident, device, now)

        for event in self._incidents.look(devices, policy, now, self._named, opening):
            self._spool.add(event)
        self._seek_more(now)

    def _take_arrived(self, now: PacketTime) -> None:
        for event in self._spool.arrived(self._writer.arrived(self._boot)):
            if event.kind == HEARTBEAT:
                self._next_beat = now + BEAT_S
            else:
                self._incidents.arrived(event.number, event.kind)

    def _write(self, now: PacketTime) -> None:
        policy = self._policy
        try:
            # In this order: after a crash the seq shows what the spool lacks, and it is reported again.
            self._writer.write(spool_dir.INCIDENTS, self.encoded(now))
            self._writer.write(spool_dir.SPOOL, self._spool.encode(policy.filter.version, __version__), 0o640)
        except OSError as error:
            self._next_write = now + RETRY_S
            self._log_once.changed("spool", err(f"reports not written: {error.strerror}"))
            return
        self._spool.changed = False
        self._log_once.clear("spool")

    # ── examples of connections ─────────────────────────────────────────────────────────────────

    def _seek_more(self, now: PacketTime) -> None:
        """Looks for examples for one of the active incidents that lack them, in turns."""
        lacking = [one for one in self._incidents if len(one.examples) < EXAMPLES and now - one.last < _LATELY_S]
        if lacking:
            incident = lacking[int(now) % len(lacking)]
            device = self._engine.devices.find(incident.key)
            if device is not None:
                self._seek(incident, device, now)

    def _seek(self, incident: Incident, device: Device, now: PacketTime) -> None:
        """Asks conntrack for the ports of a few of its connections, once a second for all devices together."""
        if now < self._next_example:
            return
        self._next_example = now + 1.0
        lookups = 0
        for flow in self._engine.flows_of(device):
            session = flow.session
            start = PacketTime(session.start)
            connection = start, session.client_port
            if not _went_out(flow) or connection in incident.examined:
                continue
            port = wan_port(session.client, session.client_port, session.server, session.server_port)
            if port is None and len(session.client) == 16:
                port = session.client_port
            family = 4 if len(session.client) == 4 else 6
            example = Example(start, port, family) if port is not None else None
            incident.examine(connection, example)
            lookups += 1
            if lookups >= EXAMPLES or len(incident.examples) >= EXAMPLES:
                break


def _went_out(flow: Flow) -> bool:
    """Whether its server has seen it: not one that was refused at once, or that the responder answers."""
    return flow.session.spoken and not flow.explained
