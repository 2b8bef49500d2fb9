"""What happens to packets.

Knows policy, standings, nftables and NFQUEUE. `decide` is pure; only `nftables` and `nfqueue` touch the kernel.
Must not know why a device has its standing, or what is reported of it.
"""
