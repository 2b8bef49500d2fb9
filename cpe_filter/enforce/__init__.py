"""What happens to packets.

    decide       policy, device, connection -> decision. Pure
    ruleset, ruleset_*   policy -> the rules, as text. Pure; ruleset_names has the names that others need
    nftables, process, offload, watch   rulesets into the kernel: by the program nft, next to the firewall's, kept there
    nfnetlink, sets, submissions, unwatched   elements and counters of sets, by netlink
    nfqueue, nflog, packets   packets that wait for a verdict, and packets that are only shown
    conntrack    ports behind NAT

Knows policy, standings, nftables and netlink. Must not know SMTP, why a device has its standing, or what is reported of
it.
"""
