"""For a service that prepares what it starts from: a policy with the documents that count now.

Composes place, effective and apply. Must not know the service.
"""

from __future__ import annotations

from cpe_filter.provision import effective, place
from cpe_filter.provision.apply import after_restart
from cpe_filter.provision.place import TYPES, Place, folder_of, recipient_of
from cpe_filter.uci.provision import Laid
from cpe_filter.uci.tables import toml


def over(base: str, folder: str) -> Laid:
    """The router's own policy in a file, with the documents of a folder over it. A trial that was cut short ends.

    Raises OSError, `UsageError`.
    """
    where = Place(base, "", folder, "")
    try:
        after_restart(where)
    except OSError:
        pass  # flash is full: it counts for nothing all the same
    data, policy, problems = effective.tables(where)
    documents = [effective.counting(where, kind) for kind in TYPES]
    text = toml(data).encode() if any(documents) else b""
    lasting, tried = policy, [folder_of(where, kind).trial(place.boot(), place.uptime()) for kind in TYPES]
    for document in filter(None, tried):  # one at a time is
        lasting = effective.tables(where, document)[1]
    return Laid(policy, text, lasting, problems, recipient_of(policy, where).router)
