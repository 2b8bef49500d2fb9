"""(policy, device, connection) -> decision with its reason. Pure.

Knows modes, limits and exemptions. Must not know packets or the kernel. Exemptions come first. Then comes the mode,
which the device's standing raises (suspected: limit, compromised: block; unusual: not) and never lowers. A stranger's
standing is the worse of its own and the home's. A limit needs a token from the stranger's own bucket and from each that
it shares (see detect.home).

Exemptions are looked up in an `Index`, which is built once for a policy.
"""

from __future__ import annotations

from cpe_filter.detect.device import HOME, Device
from cpe_filter.detect.score import CLEAR, COMPROMISED, SUSPECTED, UNUSUAL
from cpe_filter.inspect import nat64
from cpe_filter.lean.named_tuple import NamedTuple
from cpe_filter.lean.token_bucket import level as token_level
from cpe_filter.policy.model import Exemption, Policy

_SHARED = ", shared with other devices"
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Literal

    from cpe_filter.detect.score import Standing
    from cpe_filter.lean.clocks import PacketTime

    Action = Literal["pass", "refuse", "limit", "explain", "block"]

PASS: Action
REFUSE: Action
LIMIT: Action
EXPLAIN: Action
BLOCK: Action
PASS, REFUSE, LIMIT, EXPLAIN, BLOCK = "pass", "refuse", "limit", "explain", "block"


class Decision(NamedTuple):
    """What happens to a connection, and why.

    action: pass; refuse (it gets a reset); limit (the same, and so do the device's next connections, for seconds);
    explain (it goes to the responder); block (all connections of the device are refused for a while; the responder gets
    a few of them).
    """

    action: Action
    reason: str


MONITORED = Decision(PASS, "mode monitor")
WITHIN_LIMITS = Decision(PASS, "within limits")
WITHIN_LIMITS_NEW = Decision(PASS, "within limits, server new to it")
UNSEEN_START = Decision(PASS, "began before it was watched")
COMPROMISED_DEVICE = Decision(BLOCK, "device compromised")
_COMPROMISED_HOME = f"{HOME.decode()} is compromised"


class Index:
    """Exemptions by device and destination. A look-up takes the same time for any number of exemptions.

    For one device and one destination an exemption is kept only if it outlasts the ones before it; any other is never
    the first that is in force. lookups: the number of table look-ups, for tests.
    """

    def __init__(self, rules: tuple[Exemption, ...]) -> None:
        self.rules = rules
        self.lookups = 0
        # For each device (None: any) and each (bytes of an address, bits that do not count) of a network, with 0 bytes
        # for any destination: the bits that count -> positions of rules, in the policy's order and by their expiry.
        self._tables: dict[bytes | None, dict[tuple[int, int], dict[int, list[int]]]] = {}
        for position, rule in enumerate(rules):
            where = rule.destination
            size, shift, bits = 0, 0, 0
            if where is not None:
                size, shift = where.max_prefixlen // 8, where.max_prefixlen - where.prefixlen
                bits = int(where.network_address) >> shift
            found = self._tables.setdefault(rule.device, {}).setdefault((size, shift), {}).setdefault(bits, [])
            if not found or _until(rule) > _until(rules[found[-1]]):
                found.append(position)

    def find(self, mac: bytes | None, server: bytes, time: PacketTime) -> Exemption | None:
        """The first that covers a device and a server (packed address) at `time`."""
        if not self._tables:
            return None
        number, size = int.from_bytes(server, "big"), len(server)
        first = len(self.rules)
        for device in (None, mac) if mac is not None else (None,):
            self.lookups += 1
            for (bytes_, shift), table in self._tables.get(device, {}).items():
                if bytes_ in (0, size):
                    self.lookups += 1
                    found = table.get(number >> shift if bytes_ else 0)
                    if found:
                        first = min(first, self._in_force(found, time))
        return self.rules[first] if first < len(self.rules) else None

    def _in_force(self, positions: list[int], time: PacketTime) -> int:
        """The first of these that has not expired; past the end if all have."""
        low, high = 0, len(positions)
        while low < high:
            self.lookups += 1
            middle = (low + high) // 2
            if time > _until(self.rules[positions[middle]]):
                low = middle + 1
            else:
                high = middle
        return positions[low] if low < len(positions) else len(self.rules)


def _until(rule: Exemption) -> float:
    return rule.until if rule.until is not None else float("inf")


#: The index of the last policy, because one policy is in force. A tuple of exemptions never changes, so it is the key.
_last = Index(())


def index(policy: Policy) -> Index:
    """The index of a policy's exemptions. Building it takes time, so call this as soon as the policy changes."""
    global _last  # noqa: PLW0603
    if _last.rules is not policy.exempt:
        _last = Index(policy.exempt)
    return _last


def standing(device: Device) -> Standing:
    """A device's standing; a stranger's is not better than the home's."""
    own = device.score.standing
    if device.home is None or own == COMPROMISED:
        return own
    shared = device.home.score.standing
    return shared if own == CLEAR or shared == COMPROMISED or (own == UNUSUAL and shared == SUSPECTED) else own


def effective_mode(policy: Policy, device: Device) -> str:
    """The policy's mode, raised by the device's standing, or the home's for a stranger."""
    table = policy.filter
    if table.escalate:
        now = standing(device)
        if now == COMPROMISED:
            return "block"
        if now == SUSPECTED and table.mode == "monitor":
            return "limit"
    return table.mode


def exempt(policy: Policy, device: Device, server: bytes, time: PacketTime) -> Decision | None:
    """The exemption that covers device and server at `time`, as a decision; None if there is none.

    It is the first in the policy's order. For a host behind a second router the MAC counts, as in the kernel's
    exemptions. A server behind NAT64 is covered by its IPv4 address, too.
    """
    found = index(policy)
    rule = found.find(device.mac, server, time)
    if rule is None and len(server) == 16:
        behind = nat64.embedded(server, policy.network.nat64)
        rule = found.find(device.mac, behind, time) if behind else None
    if rule is None:
        return None
    return Decision(PASS, f"exempt: {rule.reason}" if rule.reason else "exempt")


def exempt_everywhere(policy: Policy, device: Device) -> bool:
    """Whether everything it sends is exempt. `policy` holds the exemptions that are in force."""
    mac = device.mac
    return any(rule.device is not None and rule.device == mac and not rule.destination for rule in policy.exempt)


def on_connection(policy: Policy, device: Device, server: bytes, new_server: bool, time: PacketTime) -> Decision:
    """A device opens a connection. `time` is also the wall's, for exemptions."""
    free = exempt(policy, device, server, time)
    if free:
        return free
    mode = effective_mode(policy, device)
    if mode == "monitor":
        return MONITORED
    if device.score.standing == COMPROMISED and mode == "block":
        return COMPROMISED_DEVICE
    # In mode block this does not limit mail but the packets that the filter sees: the kernel refuses a flood.
    limits = policy.limits
    over = _over(device, "connections", limits.connections_per_hour, limits.connections_burst, time)
    if over:
        return Decision(LIMIT, over)
    if mode == "block":
        return Decision(EXPLAIN if policy.filter.refusal == "explain" else REFUSE, _why_blocked(policy, device))
    if new_server:
        over = _over(
            device, "destinations", limits.destinations_per_hour, limits.destinations_burst, time, "new servers"
        )
        if over:
            return Decision(REFUSE, over)
        return WITHIN_LIMITS_NEW
    return WITHIN_LIMITS


def give_back(policy: Policy, device: Device, decision: Decision) -> None:
    """Gives back the tokens of a connection that was never completed: any host may have begun it in this name."""
    names = {WITHIN_LIMITS: ("connections",), WITHIN_LIMITS_NEW: ("connections", "destinations")}.get(decision, ())
    for name in names:
        burst = policy.limits.connections_burst if name == "connections" else policy.limits.destinations_burst
        for pool in (device.buckets, *device.shares):
            if name in pool:
                level, since = pool[name]
                pool[name] = (min(float(burst), level + 1.0), since)


def on_message(policy: Policy, device: Device, server: bytes, time: PacketTime) -> Decision | None:
    """A MAIL in a running session. Returns a decision only if it ends the session."""
    limits = policy.limits
    return _on_command(policy, device, server, time, "messages", limits.messages_per_hour, limits.messages_burst)


def on_recipient(policy: Policy, device: Device, server: bytes, time: PacketTime) -> Decision | None:
    """A RCPT in a running session. Returns a decision only if it ends the session."""
    limits = policy.limits
    return _on_command(policy, device, server, time, "recipients", limits.recipients_per_hour, limits.recipients_burst)


def _on_command(
    policy: Policy, device: Device, server: bytes, time: PacketTime, name: str, per_hour: int, burst: int
) -> Decision | None:
    if effective_mode(policy, device) != "limit":
        return None
    over = "" if exempt(policy, device, server, time) else _over(device, name, per_hour, burst, time)
    return Decision(REFUSE, over) if over else None


def on_sight(
    policy: Policy, device: Device, server: bytes, messages: int, recipients: int, time: PacketTime
) -> Decision | None:
    """So many MAIL and RCPT wait for their replies. Returns a decision only if there are fewer tokens."""
    if effective_mode(policy, device) != "limit" or exempt(policy, device, server, time):
        return None
    for name, count, per_hour, burst in (
        ("messages", messages, policy.limits.messages_per_hour, policy.limits.messages_burst),
        ("recipients", recipients, policy.limits.recipients_per_hour, policy.limits.recipients_burst),
    ):
        for number, pool in enumerate((device.buckets, *device.shares)):
            if count > token_level(pool.get(name), float(burst), per_hour, time):
                return Decision(REFUSE, f"over the limit of {per_hour} {name}/h" + (_SHARED if number else ""))
    return None


def on_running(policy: Policy, device: Device, server: bytes, time: PacketTime) -> Decision | None:
    """A connection runs whose start was not seen, or whose device's standing has just risen.

    Returns a decision only if it ends the connection. It is too late for an explanation.
    """
    if effective_mode(policy, device) != "block" or exempt(policy, device, server, time):
        return None
    if device.score.standing == COMPROMISED:
        return COMPROMISED_DEVICE
    return Decision(REFUSE, _why_blocked(policy, device))


def _why_blocked(policy: Policy, device: Device) -> str:
    """The reason to refuse a device that is not compromised itself."""
    by_home = policy.filter.escalate and standing(device) == COMPROMISED
    return _COMPROMISED_HOME if by_home else "mode block: no direct mail"


def _over(device: Device, name: str, per_hour: int, burst: int, time: PacketTime, unit: str = "") -> str:
    """Takes one token from the device's bucket of `burst` that fills at `per_hour`, and from each that it shares.

    It takes from all, or from none; then it returns the reason, else "". unit: the name of what is counted, if it is
    not `name`.
    """
    over = ""
    pools = (device.buckets, *device.shares)
    for number, pool in enumerate(pools):
        tokens = token_level(pool.get(name), float(burst), per_hour, time)
        pool[name] = (tokens, time)
        if tokens < 1.0 and not over:
            over = f"over the limit of {per_hour} {unit or name}/h" + (_SHARED if number else "")
    if not over:
        for pool in pools:
            tokens, since = pool[name]
            pool[name] = (tokens - 1.0, since)
    return over
