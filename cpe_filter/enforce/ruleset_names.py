"""The names by which userspace speaks with the ruleset: table, sets, counters; and sizes and times.

Knows names and numbers. Must not know nft's language, or what the rules do with a set.
"""

from __future__ import annotations

TABLE = "cpe_filter"
#: The chain that hands packets to the queue. Where nft has no `queue`, nftables fills it with xtables' NFQUEUE.
HAND_OFF = "hand_off"
NATIVE, XTABLES = "nft queue", "xtables NFQUEUE"

#: Seconds after which a filter that no longer refreshes its element counts as dead.
ALIVE_S = 10
#: Seconds for which the kernel refuses a device's new connections without the filter, after it exceeded its limit.
LIMITED_S = 10
#: How many of a blocked device's connections the responder still gets, at once and in a minute.
EXPLAINED_BURST, EXPLAINED_PER_MINUTE = 2, 6
#: New connections a second, of all devices, that are redirected to the responder; the others get a reset.
EXPLAINED_PER_SECOND = 20
#: How many more SYNs than the limit of connections a device may send at once.
SYNS_MORE = 4
#: New connections a second of all strangers together (no lease, no past). A flood with made-up MACs must not take the
#: queue, conntrack or the responder from the devices of the home.
STRANGERS_PER_SECOND = 100
#: New HTTP connections a second of a device that lead to the notice; more go where they were meant to. And those of all
#: devices that reach the server, redirected or not; more are dropped.
NOTICED_PER_SECOND, SERVED_PER_SECOND = 10, 50
#: Connections that a set holds: more than the engine follows, so the engine's bound is reached first.
CONNECTIONS = 8192
DEVICES = 1024
#: The hook's priority behind all other programs' chains for forwarded packets: what they drop is not seen.
LAST = 10000
#: The priority in prerouting at which other programs have set their marks, and no address has been translated.
MARKED = -110
#: Interfaces by which mail leaves unwatched, and seconds for which the last of it is remembered.
WAYS, WAY_S = 32, 86400
#: Pairs of device and server that are let alone, and connections between them.
PAIRS = 4096
#: Seconds for which a connection of such a pair is recognised without packets.
QUIET_S = 7440  # conntrack's time for an established connection on OpenWrt

#: Sets that the filter fills (enforce.sets): by device, by connection, by pair of device and server; and switches,
#: whose one element is the protocol of all mail.
BLOCKED, ASKED, LIMITED, FAMILIAR = "blocked", "asked", "limited", "familiar"
REFUSED, REFUSED_NEW, CONTENT, ENDS = "refused", "refused_new", "content", "ends"
KNOWN = "known"
ALIVE, ROUTER_BLOCKED = "alive", "router_blocked"
#: Switches of the home, for every device that is not `familiar`.
HOME_BLOCKED, HOME_ASKED = "home_blocked", "home_asked"
ADDRESS_BLOCKED = "address_blocked"
#: A switch: where a packet will leave cannot be known before it has been routed.
UNCLEAR = "unclear"
#: Connections that leave by interfaces which are not watched; and these interfaces, with a count of the connections.
ELSEWHERE, UNWATCHED = "elsewhere", "unwatched"
#: Interfaces in neither list from which mail comes that leaves by a watched one, with a count of the connections.
UNLISTED = "unlisted"
#: The chain of submission, and its sets by device: connections, servers, answered, short. Devices that take mail.
SUBMISSIONS = "submission"
SUBMITTED = ("submission_connections", "submission_servers", "submission_answered", "submission_short")
SERVING = "serving"
#: Seconds that a count stays without a packet; seconds in which a server counts once for a device, and such pairs.
SUBMISSION_S, PAIR_S, SUBMISSION_PAIRS = 7200, 86400, 1024
#: A client that has sent no more, headers included, has sent no message (docs/detect.md has what was measured).
SHORT_PACKETS, SHORT_BYTES = 14, 3000
#: Devices whose plain HTTP leads to the notice; and the switch that says that the server answers.
NOTICED, NOTICE_SERVED = "noticed", "notice_served"
#: Devices that the firewall keeps from the notice, and seconds for which it is not tried again.
NOTICE_SHUT, SHUT_S = "notice_shut", 3600
#: Who speaks with the notice's server: address and MAC of a client, of its frames; and seconds that it is remembered.
NOTICE_CLIENTS, CLIENT_S = "notice_clients", 30
#: Devices in quarantine; the seconds for which it holds without the filter; and packets to DNS servers that such a
#: device may send in a second.
QUARANTINED, QUARANTINE_S, QUESTIONS_PER_SECOND = "quarantined", 60, 20
#: What a device in quarantine reaches: of the policy; and by name, which a resolver fills: its sizes, seconds.
HELPFUL, HELPFUL_NAMES, HELPFUL_NAMED, HELPFUL_NAMES_S = "helpful", "helpful_names", 256, 86400
BY_DEVICE = (BLOCKED, ASKED, LIMITED, FAMILIAR, NOTICED, QUARANTINED)
BY_CONNECTION = (REFUSED, REFUSED_NEW, CONTENT, ENDS)
SWITCHES = (ALIVE, HOME_BLOCKED, HOME_ASKED, ROUTER_BLOCKED, UNCLEAR, NOTICE_SERVED)

#: The named counters. observed: packets shown to the filter; queued: those that waited for its verdict. unobserved:
#: passed unseen, beyond the rate guard. refused, blocked, limited: resets. undecided: dropped without a decision.
#: explained: connections to the responder. known: connections of pairs that are let alone. flooded: SYNs of strangers
#: beyond the guard, dropped. led: HTTP connections that were led to the notice. quarantine: packets of devices in
#: quarantine, refused.
COUNTERS = (
    "observed",
    "queued",
    "unobserved",
    "refused",
    "blocked",
    "limited",
    "undecided",
    "explained",
    "known",
    "flooded",
    "led",
    "quarantine",
)

#: Families: the end of a set's name, and the protocol's name in rules.
FAMILIES = (("4", "ip"), ("6", "ip6"))
