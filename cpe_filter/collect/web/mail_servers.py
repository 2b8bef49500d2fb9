"""The page of devices that look like mail servers: "Is this your mail server?", with a proposed exemption for each.

Knows the list and how it is shown. Must not know HTTP or SQL. Names of devices and routers are hostile.
"""

from __future__ import annotations

from collections.abc import Sequence

from cpe_filter.collect.cases.mail_servers import MOST, MailServer
from cpe_filter.collect.web.caselist import by_dhcp, device
from cpe_filter.collect.web.layout import listing, when
from cpe_filter.texts.html import Column, count, note, shown


def page(servers: Sequence[MailServer]) -> str:
    """The page's content."""
    lead = (
        "Nothing is held against these devices. They deal with many operators of mail servers, as a mail server does. "
        "Ask the subscriber; if it is one, exempt it. Subscribers can do so themselves, with one click on their router."
    )
    parts = [f'<h1>{count(len(servers), "device")} that may be a mail server</h1><p class="lead">{lead}</p>']
    if not servers:
        return "".join([*parts, '<section class="card"><p class="none">None.</p></section>'])
    rows = [
        (
            "",
            [
                f'<span class="code">{shown(one.router)}</span>',
                device(one.dev, one.oui)
                + (note(shown(one.name)) if one.name else "")
                + (note(by_dhcp(one.kind)) if one.kind else "")
                + (note("answers mail from outside") if one.serves else ""),
                when(one.since),
                when(one.last),
                f"{one.conns:,}",
                f"{one.nets:,}",
                f"{one.msgs:,}",
            ],
        )
        for one in servers
    ]
    columns = [
        Column("Router"),
        Column("Device"),
        Column("Since", "nowrap"),
        Column("Last seen", "nowrap"),
        Column("Connections", "n"),
        Column("Networks", "n narrow-off"),
        Column("Messages", "n narrow-off"),
    ]
    most = f'<p class="note">The {MOST} busiest.</p>' if len(servers) == MOST else ""
    parts.append(f'<section class="card"><h2>Devices</h2>{listing("The busiest first", columns, rows)}{most}</section>')
    parts.append(
        '<section class="card"><h2>Proposed exemption</h2><p>On the subscriber\'s router:</p>'
        f"<p><code>{shown(servers[0].proposal, 200)}</code></p>"
        '<p class="note">Only the router knows the hardware address: <code>cpe-filter report show</code> says which '
        "device has which number.</p></section>"
    )
    return "".join(parts)
