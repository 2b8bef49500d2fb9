"""Whether a change of the policy refuses mail that passed before it, by what the running filter knows of its devices.

Knows the status file and two policies. Must not know documents. Only devices in good standing count: what a suspected
device sends may be refused at any time, and says nothing about a policy. Which refusals count:

- A device whose mail servers took before, and that was never refused, is refused once.
- A device that was refused before is refused three times, and at least twice as often as before.
- In mode block, before and after: a device that was never refused is refused, whether it was seen before or not. Mail
  to relays passes unseen, so a relay or an exemption that is missing looks like this.

A document that raises the mode to block asks for all direct mail to be refused, so nothing is compared then.
"""

from __future__ import annotations

from cpe_filter.detect.score import CLEAR, UNUSUAL
from cpe_filter.lean.named_tuple import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cpe_filter.policy.model import Policy

#: Bytes of a status file. One of 256 devices has 400 kB.
_LONGEST = 4 << 20
#: Refusals that count where there were some before.
_MANY = 3
_BLOCK = "block"


class Sender(NamedTuple):
    """Counts of a device since the filter has known it: messages seen, connections, and those that were refused.

    good: whether it is in good standing.
    """

    messages: int
    connections: int
    refused: int
    good: bool = True


#: Devices by their name in the status.
Senders = dict[str, Sender]
_NEW = Sender(0, 0, 0)


def in_status(policy: Policy) -> Senders | None:
    """The devices of the status file; None if there is none that can be read."""
    import json

    try:
        with open(policy.status.status_file, "rb") as file:
            devices = json.loads(file.read(_LONGEST))["devices"]
        return {
            str(one["device"]): Sender(
                int(one["messages"]),
                int(one["connections"]),
                int(one["refused"]),
                one["standing"] in (CLEAR, UNUSUAL),
            )
            for one in devices
        }
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def compares(before: Policy, after: Policy) -> bool:
    """Whether this change may refuse mail that it should not."""
    if after.filter.mode == _BLOCK != before.filter.mode:
        return False
    return _decides(before) != _decides(after)


def is_hurt(before: Senders, after: Senders, mode: str) -> bool:
    """Whether mail of a device is refused more than before. mode: of the policy before."""
    return any(_is_hurt(before.get(name, _NEW), now, mode) for name, now in after.items())


def _is_hurt(was: Sender, now: Sender, mode: str) -> bool:
    refused, connections = now.refused - was.refused, now.connections - was.connections
    if not (was.good and now.good):  # one that is cleared meanwhile has old refusals
        return False
    if refused <= 0 or connections < 0:  # nothing, or it was forgotten, and is new again
        return False
    if not was.refused:
        return was.messages > 0 or mode == _BLOCK
    return refused >= _MANY and refused * was.connections >= 2 * was.refused * connections


def _decides(policy: Policy) -> tuple[object, ...]:
    """What decides on mail."""
    return policy.filter, policy.limits, policy.network, policy.exempt
