"""What becomes of simulated routers over some weeks: who they are, what they report, and when. Pure: from a seed.

Times are seconds before now (positive: ago). Rates are made up so that each chart of the page has something to show:
one model and one region are worse than the others, most infections are cleaned within days of the notice, a quarter
comes back. A share of routers is old, silent, exempt or short of room in its spool.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any, NamedTuple

DAY = 86_400
HOUR = 3600
HISTORY_DAYS = 84
#: From this day on (ago) subscribers are notified; before, infections last long.
NOTICES_SINCE = 60

#: Models: share of the fleet, and how much likelier than usual a device behind one is found.
MODELS = (
    ("tplink,archer-c7-v5", 0.34, 1.0),
    ("avm,fritzbox-7530", 0.27, 0.8),
    ("zyxel,nbg6617", 0.19, 1.1),
    ("dlink,dir-860l-b1", 0.13, 2.6),
    ("ubnt,edgerouter-x", 0.07, 0.6),
)
REGIONS = (("North", 0.31, 0.9), ("Coast", 0.24, 1.0), ("Capital", 0.28, 1.0), ("Hills", 0.17, 1.9))
VERSIONS = (("0.1.0", 0.85), ("0.0.9", 0.15))
POLICIES = (("2026.47", 0.72), ("2026.46", 0.21), ("2026.39", 0.07))
#: The devices that are found: OUI, name in DHCP, and what their bots do (indicators).
SPRAYER = ("new-destination", "helo-dynamic", "unknown-user", "dnsbl-listed", "helo-not-ehlo", "destination-burst")
CAREFUL = ("new-destination", "sender-unrelated", "refused", "many-recipients", "breadth", "declines-tls")
PROXY = ("new-destination", "helo-rotates", "residential-line", "early-talk", "mx-foreign", "connect-timeout")
DEVICES = (
    ("001e06", "android-tv-box", SPRAYER, 5),
    ("b827eb", "raspberrypi", CAREFUL, 2),
    ("5c6a80", "nas-attic", CAREFUL, 2),
    ("9c8ecd", "camera-door", PROXY, 3),
    ("3c5282", "laptop-hp", SPRAYER, 3),
    ("", "", PROXY, 2),
)


#: What people answer to the notice; half of them nothing.
_ANSWERS = ("", "seen", "", "cleaned", "", "mistake", "", "", "seen", "server")


class Incident(NamedTuple):
    """ago: of opened, raised and closed (None: open still), seconds before now. why: it closed. seen, answered: the
    same of the notice on the router (None: not), by_home: at another device first; answer: the last."""

    id: str
    dev: str
    oui: str
    name: str
    indicators: tuple[str, ...]
    opened: int
    raised: int | None
    closed: int | None
    why: str
    seen: int | None = None
    answered: int | None = None
    answer: str = ""
    by_home: bool = False


@dataclass
class Life:
    """One router. up: seconds since its boot. silent: not heard of for so many seconds. bad: sends rubbish."""

    router: str
    model: str
    region: str
    ver: str
    pol: str
    boot: str
    up: int
    dropped: int
    exempt: int
    silent: int
    bad: bool
    incidents: list[Incident] = field(default_factory=list)


def fleet(count: int, seed: int = 1) -> list[Life]:
    """`count` routers, the same for the same seed. The last is a bad one."""
    rng = random.Random(seed)
    lives = []
    for number in range(count):
        model, region = _pick(rng, MODELS), _pick(rng, REGIONS)
        life = Life(
            router=f"cpe-{number + 1:05d}",
            model=str(model[0]),
            region=str(region[0]),
            ver=str(_pick(rng, VERSIONS)[0]),
            pol=str(_pick(rng, POLICIES)[0]),
            boot=_uuid(rng),
            up=(HISTORY_DAYS + rng.randrange(1, 60)) * DAY + rng.randrange(DAY),
            dropped=rng.choice((3, 17, 60)) if rng.random() < 0.03 else 0,
            exempt=rng.choice((1, 1, 2)) if rng.random() < 0.06 else 0,
            silent=rng.choice((2, 5, 20)) * DAY if rng.random() < 0.06 else 0,
            bad=number == count - 1 and count > 1,
        )
        while rng.random() < 0.5 * float(model[2]) * float(region[2]) / (1 + 2 * len(life.incidents)):
            life.incidents += _story(rng, len({one.dev for one in life.incidents}))
            if len(life.incidents) > 6:
                break
        if life.silent:  # what it has not told is not known
            life.incidents = [one for one in life.incidents if (one.raised or one.opened) > life.silent]
            life.incidents = [
                one._replace(closed=None) if one.closed is not None and one.closed < life.silent else one
                for one in life.incidents
            ]
        lives.append(life)
    return lives


def _story(rng: random.Random, device: int) -> list[Incident]:
    """One device: found, cleaned perhaps, found again perhaps."""
    oui, name, indicators, _ = rng.choices(DEVICES, [one[3] for one in DEVICES])[0]
    dev = f"{rng.getrandbits(60) << 4 | device & 15:016x}"
    out: list[Incident] = []
    at = rng.randrange(2 * HOUR, HISTORY_DAYS * DAY)
    while True:
        raised: int | None = at - int(rng.expovariate(1 / (3 * HOUR)))
        if rng.random() < 0.12:
            raised = None  # a suspect, no more
        if raised is not None and raised < HOUR:
            raised = HOUR // 2
        lasts = int(rng.expovariate(1 / (22 * DAY)))
        seen_after, answered_after, answer = None, None, ""
        if at < NOTICES_SINCE * DAY:
            # The better known the notice, the sooner it is heeded; most of all by those who have opened it.
            lasts = int(HOUR * 6 + rng.expovariate(1 / ((6 + 9 * at / (NOTICES_SINCE * DAY)) * DAY)))
            if raised is not None and rng.random() < 0.62:
                seen_after = int(120 + rng.expovariate(1 / (9 * HOUR)))
                lasts = seen_after + int(HOUR + rng.expovariate(1 / (3 * DAY)))
                if rng.random() < 0.66:
                    answered_after = seen_after + rng.randrange(20, 1800)
                    answer = rng.choices(("seen", "cleaned", "mistake", "server"), (45, 40, 8, 7))[0]
        closed: int | None = (raised if raised is not None else at) - lasts
        if closed is not None and closed < HOUR:
            closed = None
        why = rng.choices(("cleared", "released", "expired"), (5, 4, 1))[0]
        chosen = tuple(one for one in indicators if rng.random() < 0.8) or indicators[:1]
        one = Incident(f"{rng.getrandbits(64):016x}", dev, oui, name, chosen, at, raised, closed, why)
        out.append(_noticed(one, seen_after, answered_after, answer, rng.random() < 0.2))
        if closed is None or rng.random() > 0.27:
            return out
        at = closed - int(rng.expovariate(1 / (9 * DAY))) - HOUR
        if at < 2 * HOUR:
            return out


def _noticed(one: Incident, seen: int | None, answered: int | None, answer: str, by_home: bool) -> Incident:
    """What becomes of its notice, so many seconds after it was raised; nothing that is yet to come."""
    raised = one.raised
    if raised is None or seen is None or raised - seen < 60:
        return one
    one = one._replace(seen=raised - seen, by_home=by_home)
    if answered is None or raised - answered < 60:
        return one
    return one._replace(answered=raised - answered, answer=answer)


def notice(one: Incident, ago: int) -> dict[str, Any] | None:
    """What a report of this time says of the notice."""
    if one.seen is None or one.seen < ago:
        return None
    found: dict[str, Any] = {"shown": 0, "others": 1} if one.by_home and ago > (one.answered or 0) else {"shown": 1}
    if one.by_home:
        found["others"] = 1
    if one.answered is not None and one.answered >= ago:
        found["answer"] = one.answer
    return found


def events(life: Life, rng: random.Random) -> list[dict[str, Any]]:
    """All that a router has reported in these weeks, in order of time and with its sequence numbers."""
    found: list[tuple[int, dict[str, Any]]] = []
    for one in life.incidents:
        found += _incident_events(life, one, rng)
    for ago in range(max(life.silent, rng.randrange(DAY)), 8 * DAY, DAY):
        found.append((ago, heartbeat(life, ago)))
    found.sort(key=lambda pair: -pair[0])
    return [{"seq": seq, **event} for seq, (_, event) in enumerate(found, 1)]


def _incident_events(life: Life, one: Incident, rng: random.Random) -> list[tuple[int, dict[str, Any]]]:
    moments: list[tuple[int, str, str]] = [(one.opened, "opened", "suspected")]
    if one.raised is not None:
        moments.append((one.raised, "raised", "compromised"))
        end = one.closed if one.closed is not None else max(life.silent, 600)
        moments += [
            (end + int((one.raised - end) * part), "updated", "compromised")
            for part in sorted((rng.random() for _ in range(3)), reverse=True)
        ]
        moments += [(at, "updated", "compromised") for at in (one.seen, one.answered) if at is not None and at > end]
    if one.closed is not None:
        moments.append((one.closed, "closed", "clear"))
    moments.sort(key=lambda moment: -moment[0])
    out = []
    conns = 0
    for ago, kind, standing in moments:
        conns += rng.randrange(4, 60)
        out.append((ago, incident(life, one, ago, kind, standing, conns, rng)))
    return [pair for pair in out if pair[0] >= life.silent]


def incident(
    life: Life, one: Incident, ago: int, kind: str, standing: str, conns: int, rng: random.Random
) -> dict[str, Any]:
    """An event without its number, as in cpe_filter/collect/report-v1.schema.json."""
    up = life.up - ago
    event: dict[str, Any] = {
        "up": up,
        "kind": kind,
        "id": one.id,
        "dev": one.dev,
        "standing": standing,
        "first": life.up - one.opened - 600,
        "last": up - rng.randrange(1, 300),
        "conns": conns,
        "nets": max(1, conns * 3 // 4),
        "msgs": conns // 5,
        "rcpts": conns * 2,
        "refused": 0 if standing == "suspected" else conns // 2,
        "ind": {name: max(1, conns // (at + 2)) for at, name in enumerate(one.indicators)},
        "act": {"clear": "monitor", "suspected": "limit"}.get(standing, "explain"),
        "sp": [{"up": up - 30, "port": rng.randrange(1024, 65_536), "family": 4}],
    }
    if (noticed := notice(one, ago)) is not None:
        event["notice"] = noticed
    if one.oui:
        event["oui"] = one.oui
    if one.name:
        event["name"] = one.name
    if kind == "closed":
        event["why"] = one.why
    number = int(one.id[:4], 16)
    if kind in ("updated", "closed") and one.opened < NOTICES_SINCE * DAY and number % 3:
        event["notice"] = {"shown": 1 + number % 5}
        if answer := _ANSWERS[number % len(_ANSWERS)]:
            event["notice"]["answer"] = answer
    return event


def heartbeat(life: Life, ago: int) -> dict[str, Any]:
    """A heartbeat without its number."""

    def now(one: Incident, start: int | None) -> bool:
        return start is not None and start >= ago and (one.closed is None or one.closed < ago)

    compromised = sum(now(one, one.raised) for one in life.incidents)
    return {
        "up": life.up - ago,
        "kind": "heartbeat",
        "devices": 1 + compromised,
        "suspected": sum(now(one, one.opened) for one in life.incidents) - compromised,
        "compromised": compromised,
        "exempt": life.exempt,
        "mode": "block",
        "fail": "open",
        "packets": 20 * (life.up - ago) // 900,
        "failures": 0,
        "restored": int(life.dropped > 10),
    }


def _pick(rng: random.Random, table: tuple[tuple[Any, ...], ...]) -> tuple[Any, ...]:
    return rng.choices(table, [row[1] for row in table])[0]


def _uuid(rng: random.Random) -> str:
    text = f"{rng.getrandbits(128):032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
