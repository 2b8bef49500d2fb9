"""Whether the running filter has the documents in force that it was given, by its status file.

Knows the status file. Must not know documents. A status that is not new says nothing: it is written at intervals.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cpe_filter.policy.model import Policy

#: Bytes of a status file. One of 256 devices has 400 kB.
_LONGEST = 4 << 20


def lacks_documents(policy: Policy, since: float) -> bool:
    """Whether a status of a later time than `since` (POSIX seconds) has other documents than the policy."""
    import json

    try:
        with open(policy.status.status_file, "rb") as file:
            content = json.loads(file.read(_LONGEST))
        return float(content["updated"]) > since and content.get("signed", {}) != policy.signed.names
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return False
