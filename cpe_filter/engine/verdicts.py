"""The engine's verdicts: the fate of a packet, and which packets of its connection must be seen from now on.

Knows the words. Must not know how a verdict is found (engine) or carried out (live.gate, replay).
"""

from __future__ import annotations

from cpe_filter.enforce.decide import BLOCK, LIMIT
from cpe_filter.inspect.session import ENDS, EVERYTHING, NOTHING, REPLIES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Literal

    from cpe_filter.inspect.session import Visibility

    Passing = Literal["accept", "inspect-all", "skip-content", "skip-to-fin", "bypass"]
    Refusal = Literal["explain", "reset", "limit", "block"]
    Verdict = Passing | Refusal

# The packet may pass.
ACCEPT: Passing = "accept"  # nothing changes
INSPECT_ALL: Passing = "inspect-all"  # from now on every packet of this connection must be seen
SKIP_CONTENT: Passing = "skip-content"  # only FIN and RST of the client must be seen, until the server answers
SKIP_TO_FIN: Passing = "skip-to-fin"  # only FIN and RST must be seen
BYPASS: Passing = "bypass"  # nothing more of this connection must be seen

# The connection may not pass.
REDIRECT: Refusal = "explain"  # the kernel sends it to the responder
RESET_FLOW: Refusal = "reset"  # it gets a TCP reset
LIMIT_DEVICE: Refusal = "limit"  # the same; for seconds the device's new connections are refused without asking
BLOCK_DEVICE: Refusal = "block"  # the same; the device's further connections are refused without asking
REFUSALS: frozenset[Verdict] = frozenset((REDIRECT, RESET_FLOW, LIMIT_DEVICE, BLOCK_DEVICE))

#: The verdict for the packets of a connection that must still be seen.
BY_VISIBILITY: dict[Visibility, Verdict] = {
    EVERYTHING: INSPECT_ALL,
    REPLIES: SKIP_CONTENT,
    ENDS: SKIP_TO_FIN,
    NOTHING: BYPASS,
}
#: The verdict for a decision about the whole device, if the kernel can distinguish the device from others.
OF_DEVICE: dict[str, Refusal] = {BLOCK: BLOCK_DEVICE, LIMIT: LIMIT_DEVICE}
