"""(policy, device, connection) -> decision with its reason. Pure.

Knows modes, limits and exemptions. Must not know packets or the kernel. Order: exemptions first, then the mode,
raised by the device's standing (suspected: limit, compromised: block) and never lowered by it.
"""

from __future__ import annotations

from ipaddress import ip_address

from cpe_filter.detect.device import Device
from cpe_filter.detect.score import COMPROMISED, SUSPECTED
from cpe_filter.inspect import nat64
from cpe_filter.named_tuple import NamedTuple
from cpe_filter.policy import Policy

PASS, REFUSE, LIMIT, EXPLAIN, BLOCK = "pass", "refuse", "limit", "explain", "block"


class Decision(NamedTuple):
    """What becomes of a connection, and why.

    what: pass; refuse (it gets a reset); limit (the same, and so do the device's next ones, for seconds); explain (it
    goes to the responder); block (the whole device is refused for a while; of that the responder gets a few).
    """

    what: str
    reason: str


MONITORED = Decision(PASS, "mode monitor")
WITHIN_LIMITS = Decision(PASS, "within limits")
UNSEEN_START = Decision(PASS, "began before it was watched")
COMPROMISED_DEVICE = Decision(BLOCK, "device compromised")


def effective_mode(policy: Policy, device: Device) -> str:
    """The policy's mode, raised by the device's standing."""
    if policy.escalate:
        standing = device.score.standing
        if standing == COMPROMISED:
            return "block"
        if standing == SUSPECTED and policy.mode == "monitor":
            return "limit"
    return policy.mode


def exempt(policy: Policy, device: Device, server: bytes, wall: float) -> Decision | None:
    """The exemption that covers device and server at POSIX time `wall`, as a decision; None if there is none.

    A server behind NAT64 is covered by its IPv4 address, too.
    """
    behind = nat64.embedded(server, policy.nat64) if policy.exempt and len(server) == 16 else None
    for rule in policy.exempt:
        if rule.until is not None and wall > rule.until:
            continue
        if rule.device is not None and rule.device != device.mac:  # the kernel's exemptions go by the MAC, too
            continue
        where = rule.destination
        if where is None or ip_address(server) in where or (behind and ip_address(behind) in where):
            return Decision(PASS, f"exempt: {rule.reason}" if rule.reason else "exempt")
    return None


def on_connection(policy: Policy, device: Device, server: bytes, new_server: bool, time: float) -> Decision:
    """A device opens a connection. `time` is also the wall's, for exemptions."""
    free = exempt(policy, device, server, time)
    if free:
        return free
    mode = effective_mode(policy, device)
    if mode == "monitor":
        return MONITORED
    if device.score.standing == COMPROMISED and mode == "block":
        return COMPROMISED_DEVICE
    # In mode block this is no limit of mail, but of asking: a flood is refused in the kernel.
    if not _take(device, "connections", policy.connections_per_hour, policy.connections_burst, time):
        return Decision(LIMIT, f"over the limit of {policy.connections_per_hour} connections/h")
    if mode == "block":
        return Decision(EXPLAIN if policy.refusal == "explain" else REFUSE, "mode block: no direct mail")
    if new_server and not _take(device, "destinations", policy.destinations_per_hour, policy.destinations_burst, time):
        return Decision(REFUSE, f"over the limit of {policy.destinations_per_hour} new servers/h")
    return WITHIN_LIMITS


def on_message(policy: Policy, device: Device, server: bytes, time: float) -> Decision | None:
    """A MAIL in a running session. A decision only where it ends the session."""
    return _on_command(policy, device, server, time, "messages", policy.messages_per_hour, policy.messages_burst)


def on_recipient(policy: Policy, device: Device, server: bytes, time: float) -> Decision | None:
    """A RCPT in a running session. A decision only where it ends the session."""
    return _on_command(policy, device, server, time, "recipients", policy.recipients_per_hour, policy.recipients_burst)


def _on_command(
    policy: Policy, device: Device, server: bytes, time: float, name: str, per_hour: int, burst: int
) -> Decision | None:
    if effective_mode(policy, device) != "limit":
        return None
    if exempt(policy, device, server, time) or _take(device, name, per_hour, burst, time):
        return None
    return Decision(REFUSE, f"over the limit of {per_hour} {name}/h")


def on_running(policy: Policy, device: Device, server: bytes, time: float) -> Decision | None:
    """A connection runs that was not seen to begin, or whose device's standing has just risen.

    A decision only where it ends the connection: it is too late for an explanation.
    """
    if effective_mode(policy, device) != "block" or exempt(policy, device, server, time):
        return None
    if device.score.standing == COMPROMISED:
        return COMPROMISED_DEVICE
    return Decision(REFUSE, "mode block: no direct mail")


def _take(device: Device, name: str, per_hour: int, burst: int, time: float) -> bool:
    """One token from a bucket of `burst` that fills at `per_hour`."""
    level, since = device.buckets.get(name, (float(burst), time))
    level = min(float(burst), level + max(0.0, time - since) * per_hour / 3600.0)
    if level < 1.0:
        device.buckets[name] = (level, time)
        return False
    device.buckets[name] = (level - 1.0, time)
    return True
