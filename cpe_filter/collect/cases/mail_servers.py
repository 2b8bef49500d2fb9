"""Devices that look like mail servers, for the desk: whose they are, and the exemption that is proposed for each.

Knows the tables `incident` and desk_*, and the subscriber map. Must not know HTTP. A router reports such a device as an
incident of standing `unusual`. It makes no case, and no notification or export has it.
"""

from __future__ import annotations

from typing import NamedTuple

from cpe_filter.collect.store.base import Store

#: Devices in a list.
MOST = 500


class MailServer(NamedTuple):
    """A device. kind: what it is by DHCP. since: POSIX seconds. The counts are those of its incident."""

    router: str
    dev: str
    oui: str | None
    name: str | None
    since: int
    last: int
    act: str
    conns: int
    nets: int
    msgs: int
    serves: int | None
    kind: str | None

    @property
    def proposal(self) -> str:
        """What exempts it, on its router; only the router knows the hardware address."""
        return "cpe-filter exempt add --device MAC --reason 'mail server of the subscriber'"


async def listed(store: Store) -> list[MailServer]:
    """Those that look like mail servers now, the busiest first. Raises `StoreError`."""
    rows = await store.read(
        "SELECT router, dev, oui, name, opened_at, last_at, act, conns, nets, msgs, serves, class FROM incident"
        " WHERE standing = 'unusual' AND closed_at IS NULL AND raised_at IS NULL"
        " ORDER BY conns DESC, router, dev LIMIT :most",
        most=MOST,
    )
    return [MailServer(*row.values()) for row in rows]
