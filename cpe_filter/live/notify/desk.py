"""The notice in the subscriber's way, as a part of the daemon: whose HTTP leads there, and what follows from an answer.

Knows devices, the gate's sets, the channel to the server, and requests to the control. Must not know HTTP or words
(explain), or when a device is shown it (showing). Loaded only while `[notice] show` is not off.

A device is known by its MAC: the one in the client's frames, if the table of neighbours has it for the client's
address, too. A neighbour can forge either, by frames or by ARP; no field of a request says who asks. The elements in
the kernel last for seconds and are refreshed only while the server answers, so if the filter or the server is gone,
HTTP goes where it was meant to. So do the quarantine's, which last for a minute: a filter that is restarted, or
upgraded, holds the device, and one that is gone releases it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable

from cpe_filter.detect.device import HOME, ROUTER, Device
from cpe_filter.detect.score import COMPROMISED, against
from cpe_filter.enforce.decide import effective_mode
from cpe_filter.enforce.ruleset_names import NOTICE_SERVED, NOTICE_SHUT
from cpe_filter.enforce.sets import elements, notice_client
from cpe_filter.home import neighbour_table
from cpe_filter.lean import plain_socket as socket
from cpe_filter.lean.clocks import PacketTime
from cpe_filter.lean.files import read
from cpe_filter.lean.json_text import decode, encode
from cpe_filter.lean.log import Log, err, notice
from cpe_filter.live.device_search import called
from cpe_filter.live.notify.channel import NAME, NoticeChannel
from cpe_filter.live.notify.showing import ANSWERS, Showing
from cpe_filter.live.part import Part
from cpe_filter.policy.model import parse_mac

TYPE_CHECKING = False
if TYPE_CHECKING:
    import select
    from typing import Any

    from cpe_filter.detect.detector import StandingChanged
    from cpe_filter.detect.mac_rotation import DeviceRekeyed
    from cpe_filter.engine import Engine
    from cpe_filter.live.gate import Gate
    from cpe_filter.live.notify.holding import Holding
    from cpe_filter.live.notify.showing import Notified
    from cpe_filter.live.state import State
    from cpe_filter.policy.model import Policy

    Answer = dict[str, Any]
    #: (verb, who asks, request, what gets the answer) -> whether the control has time for it.
    Ask = Callable[[str, str, Answer, Callable[[Answer], None]], bool]

#: Seconds that elements in the kernel last, and between two refreshes.
LASTS_S, REFRESH_S = 8.0, 2.0
#: The end of the name under which the state keeps the answers; the most bytes of them.
SUFFIX, MOST_BYTES = ".notice", 1 << 18
#: Devices that are named to another device of the home.
MOST_NAMED = 8
#: Indicators that the page gets; some mean the same in plain words.
MOST_FOUND = 12
#: Seconds within which a device has sent mail that still sends.
SENDS_S = 86400.0


class NoticeDesk(Part):
    """neighbours: the MACs of the home now. ask: has the control do something."""

    def __init__(
        self,
        engine: Engine,
        gate: Gate,
        neighbours: Callable[[], set[bytes]],
        host_name: Callable[[Device], str],
        ask: Ask,
        state: State,
        poll: select.poll,
        log: Log,
    ) -> None:
        self.showing = Showing()
        #: Once the policy has a quarantine: most have none, and memory is scarce.
        self._holding: Holding | None = None
        self._stays: list[Any] = []  # that were saved
        self._engine = engine
        self._gate = gate
        self._neighbours = neighbours
        self._host_name = host_name
        self._ask = ask
        self._log = log
        folder = os.path.dirname(engine.policy.status.status_file)
        self._channel = NoticeChannel(os.path.join(folder, NAME), poll, self._handle, log)
        self._led: set[bytes] = set()
        #: Those that the firewall keeps from the server now; and those of which that was logged.
        self._shut: set[bytes] = set()
        self._told: set[bytes] = set()
        self._next = 0.0
        self._now = PacketTime(0.0)
        self._serves = False
        self._state = state
        self._saved = engine.policy.state.state_file + SUFFIX
        self._load()
        state.companions[SUFFIX] = lambda now: encode(self._plain()).encode()
        self._counts = dict.fromkeys(("shown", "shown_to_others", "refused", *ANSWERS), 0)

    def _load(self) -> None:
        """What was answered before a restart."""
        try:
            saved = decode(read(self._saved, MOST_BYTES).decode())
            if not isinstance(saved, list):
                raise ValueError("not what was saved")
            self.showing.restore(saved[:2])
            self._stays = saved[2] if len(saved) > 2 else []
        except FileNotFoundError:
            pass
        except (OSError, ValueError) as error:
            self._log(err(f"answers to the notice not read: {self._saved}: {error}"))

    def __contains__(self, fd: int) -> bool:
        return fd >= 0 and fd == self._channel.fd

    def serve(self, fd: int) -> None:
        self._channel.serve()

    # ── whose HTTP leads there ──────────────────────────────────────────────────────────────────

    def tick(self, now: PacketTime) -> None:
        self._now = now
        self._channel.tick(now)
        if self._holding is not None:
            self._holding.tick()
        if now >= self._next or self._channel.answers != self._serves:
            self._look()

    def standing_changed(self, event: StandingChanged) -> None:
        self._now = max(self._now, event.time)
        self._look()

    def device_rekeyed(self, event: DeviceRekeyed) -> None:
        self.showing.rekeyed(event.before, event.device.key)
        if self._holding is not None:
            self._holding.quarantine.rekeyed(event.before, event.device.key)
        self._look()

    def reload(self, policy: Policy) -> None:
        self._look()

    def _look(self) -> None:
        """Brings the kernel's elements up to date, and refreshes them."""
        now, engine, sets = self._now, self._engine, self._gate.sets
        self._next = now + REFRESH_S
        policy = engine.policy
        compromised = [device for device in engine.devices if device.score.standing == COMPROMISED]
        self.showing.look([(device.key, (device.compromised_at or (0.0,))[0]) for device in compromised], now)
        for device in compromised:
            one = self.showing.notified.get(device.key)
            if one is not None:
                one.sends = now - device.last_seen < SENDS_S
        spared = {rule.device for rule in policy.exempt if rule.device and not rule.destination}
        spared.update(filter(None, map(parse_mac, policy.notice.emergency)))
        alone = {one.key for one in compromised if len(one.key) == 6 and not engine.devices.behind(one.key)} - spared
        alone -= {ROUTER, HOME}
        others = self._neighbours() - spared if policy.notice.show == "home" and compromised else set()
        self._serves = self._channel.answers
        self._hold(compromised, alone, now)
        led = set()
        if self._serves and compromised:
            held = self._holding.held if self._holding is not None else ()
            led = self.showing.led_devices(policy.notice, alone, others, time.localtime().tm_hour, now, held)
        for mac in self._led - led:
            sets.end_notice(mac)
        if led:
            sets.switch(NOTICE_SERVED, True, LASTS_S)
            sets.show_notice(led, LASTS_S)
        elif self._led:
            sets.switch(NOTICE_SERVED, False, 1.0)
        self._led = led
        self._see_shut()

    def _hold(self, compromised: list[Device], alone: set[bytes], now: PacketTime) -> None:
        """Brings the quarantine up to date, and what reports say of the notice."""
        if self._holding is None and self._engine.policy.notice.quarantine:
            self._begin_holding()
        changed = []
        if self._holding is not None:
            changed = self._holding.look(compromised, alone, self._serves, self._unreachable(), now)
        for device in compromised:
            one = self.showing.notified.get(device.key)
            shown, answer = (one.shown, one.answer) if one is not None else (0, "")
            device.notice = (shown, answer, self._state_of(device.key))
            device.notice_elsewhere = (one.others, one.by_other) if one is not None else (0, False)
        for device, stay in changed:
            # One that is no longer compromised keeps what its incident ends with.
            device.notice = (*device.notice[:2], stay.who or self._state_of(device.key))
            self._state.changed(device, now)

    def _begin_holding(self) -> None:
        from cpe_filter.live.notify.holding import Holding

        self._holding = Holding(self._engine, self._gate.sets, self._log)
        try:
            self._holding.quarantine.restore(self._stays)
        except ValueError as error:
            self._log(err(f"quarantines not read: {self._saved}: {error}"))

    def _plain(self) -> list[Any]:
        return [*self.showing.plain(), self._holding.quarantine.plain() if self._holding is not None else self._stays]

    def _state_of(self, key: bytes) -> str:
        """A device's quarantine, as `Device.notice` has it."""
        return self._holding.state(key) if self._holding is not None else ""

    def end_quarantine(self, key: bytes) -> bool:
        """The ISP's desk ends a device's quarantine, not its standing. False: it is not in quarantine."""
        if self._holding is None or not self._holding.quarantine.by_desk(key):
            return False
        self._look()
        return True

    def _until(self, key: bytes) -> float | None:
        """When it ends in any case, in the engine's seconds; None if the device is not in quarantine."""
        return self._holding.until(key) if self._holding is not None else None

    def _by_users(self, key: bytes, release: bool) -> None:
        if self._holding is not None:
            self._holding.quarantine.by_users(key, release)

    def _unreachable(self) -> set[bytes]:
        """Devices that the firewall keeps from the notice, as far as is known: it has never been opened there."""
        notified = self.showing.notified
        return {mac for mac in self._shut if mac in notified and not notified[mac].shown}

    def _see_shut(self) -> None:
        """Those that the firewall keeps from the server; each is logged once.

        Also those whose stay lasts and that are not held for this reason, or the next look would hold them again.
        """
        shut: set[bytes] = set()
        looked = self._led | (self._holding.quarantine.held if self._holding is not None else set())
        if looked:
            try:
                shut = elements(NOTICE_SHUT) & looked
            except OSError:
                pass  # no ruleset: its guard restores it
        port = self._engine.policy.notice.show_port
        for mac in shut - self._told:
            device = mac.hex(":")
            self._log(
                err(
                    f"notice not shown to device {device}: the firewall refuses it TCP port {port}. "
                    "Its HTTP passes; open the port to its network"
                )
            )
        self._told = (self._told | shut) & looked
        self._shut = shut

    # ── requests of the server ──────────────────────────────────────────────────────────────────

    def _handle(self, request: Answer) -> Answer | None:
        """led: a request was led there; page: the page is opened; about: a program asks for what it says; else an
        answer of people's."""
        mac, verb = self._mac(request.get("client")), request.get("do")
        if verb == "led":
            if mac:
                self.showing.led(mac, self._now)
            return None
        answer: Answer | None = None
        if verb == "page":
            answer = self._page(mac, self.showing.opened(mac, self._now) if mac else None)
            self._counts["shown"] += answer["to"] == "own"
            if answer["to"] == "other":
                self._counts["shown_to_others"] += 1
                self.showing.opened_elsewhere()
        elif verb == "about":
            answer = self._page(mac, self.showing.notified.get(mac))
        elif verb in ANSWERS:
            answer = self._answer(mac, verb, request.get("id"))
        if answer is None:
            return None
        answer["id"] = request.get("id")
        answer["reports"] = bool(self._engine.policy.report.url)
        if verb in ANSWERS or (verb == "page" and self._engine.policy.notice.show == "home"):
            self._look()
        return answer

    def _mac(self, client: object) -> bytes:
        """The MAC that speaks from this address and is answered there; b"" if none is known, or several are."""
        if not isinstance(client, str) or len(client) > 64:
            return b""
        text = client.partition("%")[0]
        try:
            packed = socket.inet_pton(socket.AF_INET6 if ":" in text else socket.AF_INET, text)
            mac = notice_client(packed)
            return mac if mac == neighbour_table.mac_of(packed, self._engine.policy.network.lan) else b""
        except (OSError, ValueError):
            return b""

    def _page(self, mac: bytes, one: Notified | None) -> Answer:
        """What the page needs to know: `own` at a compromised device; `other` at one that may see it, too; `unknown`:
        which device it is is unknown."""
        policy = self._engine.policy.notice
        if one is not None:
            device = self._engine.devices.find(mac)
            left = self.showing.releases_left(mac, policy.self_release, self._now)
            about = {"releases": left, "exempt": policy.self_exempt, "answer": one.answer}
            until = self._until(mac)
            if until is not None:
                about["until"] = round(until + time.time() - self._now)
            return {"to": "own", "devices": [self._about_own(device)] if device else [], **about}
        notified = self.showing.notified
        if policy.show == "home" and notified and mac:
            found = [self._engine.devices.find(key) for key in list(notified)[:MOST_NAMED]]
            return {"to": "other", "devices": [self._about(device) for device in found if device]}
        return {"to": "none" if mac else "unknown", "devices": []}

    def _about(self, device: Device) -> Answer:
        """What any device of the home may read: what it takes to find the device."""
        own = device.key if len(device.key) == 6 else b""
        name = self._host_name(device)
        return {
            "name": name,
            "place": "router" if device.key == ROUTER else "home" if device.key == HOME else "",
            "tail": "" if name else own[4:].hex(":").upper(),
        }

    def _about_own(self, device: Device) -> Answer:
        """What the device itself may read in addition: what was found, when and how much."""
        since, policy, shift = device.compromised_at, self._engine.policy, time.time() - self._now
        return {
            **self._about(device),
            "tail": device.key[4:6].hex(":").upper(),
            "since": round(since[0] + shift) if since else None,
            "last": round(device.last_seen + shift),
            "found": list(against(device.score, MOST_FOUND)),
            "counts": [device.connections, device.refused],
            "mode": policy.filter.mode,
            "in_force": "held" if device.notice[2] == "held" else effective_mode(policy, device),
        }

    def _answer(self, mac: bytes, answer: Any, number: Any) -> Answer | None:
        """An answer of people's. None: it takes a moment."""
        if not mac or not self.showing.may_answer(mac, self._now):
            self._counts["refused"] += 1
            return {"result": "busy" if mac else "refused"}
        if mac not in self.showing.notified:
            if self._engine.policy.notice.show != "home" or answer != "seen" or not self.showing.notified:
                self._counts["refused"] += 1
                return {"result": "refused"}
            self.showing.seen_by_other()
            for key in self.showing.notified:
                other = self._engine.devices.find(key)
                if other is not None:
                    self._state.changed(other, self._now)
            self._counts["seen"] += 1
            self._log(notice("the notice was seen at another device of the home"))
            return {"result": "seen"}
        device = self._engine.devices.find(mac)
        if device is None:
            return {"result": "refused"}
        self._counts[answer] += 1
        name = called(device, self._host_name(device))
        self._log(notice(f"device {name} answers the notice: {answer}"))
        self.showing.answer(mac, answer, self._now)
        self._state.changed(device, self._now)
        # Before a release closes its incident.
        device.notice = (self.showing.notified[mac].shown, answer, self._state_of(mac))
        policy = self._engine.policy.notice
        if answer == "cleaned" and self.showing.releases_left(mac, policy.self_release, self._now):
            self.showing.released(mac, self._now)  # at once, because the release saves what it counts
            request = {"device": mac.hex(":"), "reason": "cleaned, by the notice"}
            return self._have_done("release", "released", mac, request, number)
        if answer == "server" and policy.self_exempt:
            request = {"device": mac.hex(":"), "reason": "a mail server, by the notice"}
            return self._have_done("exempt", "exempted", mac, request, number)
        return {"result": answer, "held": self._until(mac) is not None}

    def _have_done(self, verb: str, result: str, mac: bytes, request: Answer, number: Any) -> Answer | None:
        self._by_users(mac, True)

        def failed() -> Answer:
            if verb == "release":
                self.showing.not_released(mac)
            return {"id": number, "result": "failed"}

        def done(answer: Answer) -> None:
            self._look()
            self._by_users(mac, False)
            self._channel.send(failed() if "error" in answer else {"id": number, "result": result})

        if not self._ask(verb, f"the device {mac.hex(':')} itself", request, done):
            self._by_users(mac, False)
            return failed()
        return None

    # ── the end, and the status ─────────────────────────────────────────────────────────────────

    def facts(self) -> dict[str, Any]:
        shift = time.time() - self._now
        devices = []
        for key, one in self.showing.notified.items():
            device = self._engine.devices.find(key)
            stay = self._holding.quarantine.stays.get(key) if self._holding is not None else None
            times = {
                "quarantined": stay.began if stay is not None else 0.0,
                "quarantine_ends": self._until(key),
                "quarantine_ended": stay.ended if stay is not None else 0.0,
                "led": one.led_at,
                "first_shown": one.first_shown_at,
                "shown": one.shown_at,
                "answered": one.answered_at,
            }
            devices.append(
                {
                    "device": device.name if device else "",
                    "leads": key in self._led and key not in self._shut,
                    "shut_out": key in self._shut,
                    "quarantine": self._state_of(key) or None,
                    "releases": self.showing.releases_left(key, self._engine.policy.notice.self_release, self._now),
                    "times_shown": one.shown,
                    "answer": one.answer or None,
                    **{f"{name}_at": round(at + shift, 3) if at else None for name, at in times.items()},
                }
            )
        figures: dict[str, Any] = {"served": self._serves, "led": len(self._led)}
        counts = dict(self._counts)
        if self._holding is not None:
            figures["quarantined"] = len(self._holding.held)
            counts.update(self._holding.counts)
        return {"notice": {**figures, "counts": counts, "devices": devices}}

    def close(self) -> None:
        sets = self._gate.sets
        if self._led:
            sets.switch(NOTICE_SERVED, False, 1.0)
        for mac in self._led:
            sets.end_notice(mac)
        if self._holding is not None:
            self._holding.close()
        self._channel.close()
        self._state.companions.pop(SUFFIX, None)
