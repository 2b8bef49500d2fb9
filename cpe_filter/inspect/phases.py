"""How far a connection got, and which of its packets must still be seen: words that the engine and the detector use.

Knows the words. Must not know how a phase is found, or what follows from it.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Literal

    Phase = Literal["trying", "open", "closed", "refused", "reset", "lost"]
    Visibility = Literal["everything", "replies", "ends", "nothing"]

# How far the connection got.
TRYING: Phase = "trying"  # a SYN and nothing else
OPEN: Phase = "open"
CLOSED: Phase = "closed"  # FINs, or 221 to QUIT
REFUSED: Phase = "refused"  # RST to the SYN
RESET: Phase = "reset"
LOST: Phase = "lost"  # no answer to the SYN
# Which packets of it still have to be seen.
EVERYTHING: Visibility = "everything"
REPLIES: Visibility = "replies"  # only FIN and RST of the client, until the server's next reply
ENDS: Visibility = "ends"  # FIN and RST of both
NOTHING: Visibility = "nothing"
