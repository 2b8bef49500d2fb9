"""Servers behind NAT64: an IPv6 address -> the IPv4 address in it, and the way back.

Knows RFC 6052 (the place of the four bytes), RFC 8215, and how prefixes are announced (RFC 7050, RFC 8781). Must not
know where prefixes come from. A prefix has one of `LENGTHS` bits. The bytes follow it; bits 64 to 71 are 0 and skipped.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Network, IPv6Network

LENGTHS = (32, 40, 48, 56, 64, 96)
#: 64:ff9b::/96 (RFC 6052 section 2.1).
WELL_KNOWN = IPv6Network((0x0064FF9B << 96, 96))
#: 64:ff9b:1::/48 (RFC 8215): networks take any prefix in it for translators of their own.
_LOCAL = bytes((0, 0x64, 0xFF, 0x9B, 0, 1))
#: What `ipv4only.arpa` has (RFC 7050 section 2.2).
_WELL_KNOWN_IPV4 = (bytes((192, 0, 0, 170)), bytes((192, 0, 0, 171)))
_ROUTER_ADVERTISEMENT, _OPTIONS_AT = 134, 16  # RFC 4861 section 4.2
_PREF64, _PREF64_BYTES = 38, 16
#: A prefix length code (PLC, RFC 8781 section 4) is a place in here.
_PLC = (96, 64, 56, 48, 40, 32)


def embedded(address: bytes, prefixes: Iterable[IPv6Network] = ()) -> bytes | None:
    """The packed IPv4 address in a packed IPv6 address, if that has the prefix `WELL_KNOWN` or one of `prefixes`.

    A sender cannot choose a different reading, so it may decide what passes. Raises nothing.
    """
    if len(address) != 16:
        return None
    if address.startswith(b"\0\x64\xff\x9b" + bytes(8)):
        return address[12:]
    number = int.from_bytes(address, "big")
    for prefix in prefixes:
        if (number ^ int(prefix.network_address)) >> 128 - prefix.prefixlen == 0:
            return _at(address, prefix.prefixlen)
    return None


def server(address: bytes, prefixes: Iterable[IPv6Network] = ()) -> bytes:
    """The packed address under which a server counts: the IPv4 address in it if there is one, else its own.

    This includes RFC 8215's prefix, whose length is not known. It is found from the last byte that is not 0, because
    translators leave the bytes behind the IPv4 address 0. A sender can choose the reading, so nothing passes by this.
    """
    found = embedded(address, prefixes)
    if found is None and len(address) == 16 and address.startswith(_LOCAL):
        last = len(address.rstrip(b"\0"))
        length = 48 if last <= 11 else 56 if last == 12 else 64 if last == 13 else 96
        return _at(address, length)
    return found or address


def prefix_in(address: bytes) -> IPv6Network | None:
    """The prefix in an AAAA record of `ipv4only.arpa` (RFC 7050 section 3); None if there is none.

    If several places hold the well-known address the prefix is ambiguous, and the answer is None, too.
    """
    found = [length for length in LENGTHS if len(address) == 16 and _at(address, length) in _WELL_KNOWN_IPV4]
    if len(found) != 1 or (found[0] == 96 and address[8]):
        return None
    return IPv6Network((address, found[0]), strict=False)


def announced(advertisement: bytes) -> list[tuple[IPv6Network, int]]:
    """The prefixes in a Router Advertisement (RFC 8781), each with its lifetime in seconds; 0 withdraws it.

    The message begins with the ICMPv6 header, whose checksum has been verified. Empty if an option has no length or is
    truncated, because such a message must be discarded (RFC 4861 section 6.1.2). Raises nothing.
    """
    if advertisement[:2] != bytes((_ROUTER_ADVERTISEMENT, 0)):
        return []
    found = []
    at = _OPTIONS_AT
    while at < len(advertisement):
        length = advertisement[at + 1] * 8 if at + 1 < len(advertisement) else 0
        end = at + length
        if not length or end > len(advertisement):
            return []
        if advertisement[at] == _PREF64 and length == _PREF64_BYTES:
            first = int.from_bytes(advertisement[at + 2 : at + 4], "big")
            code = first & 7
            prefix = advertisement[at + 4 : end]
            if code < len(_PLC) and not (_PLC[code] == 96 and prefix[8]):
                # The scaled lifetime counts units of 8 seconds; the low bits are the code.
                found.append((IPv6Network((prefix + bytes(4), _PLC[code]), strict=False), first - code))
        at = end
    return found


def networks(behind: Iterable[IPv4Network | IPv6Network], prefixes: Iterable[IPv6Network] = ()) -> list[IPv6Network]:
    """IPv4 networks as IPv6 networks of `WELL_KNOWN` and each prefix, for rules. IPv6 networks give nothing.

    All of IPv4 becomes the prefix itself.
    """
    return [
        _embed(network, prefix)
        for network in behind
        if isinstance(network, IPv4Network)
        for prefix in dict.fromkeys((WELL_KNOWN, *prefixes))
    ]


def _at(address: bytes, length: int) -> bytes:
    """The four bytes behind a prefix of this length."""
    at = length // 8
    return address[at:] if length == 96 else (address[at:8] + address[9:13])[:4]


def _embed(network: IPv4Network, prefix: IPv6Network) -> IPv6Network:
    length, bits = prefix.prefixlen, network.prefixlen
    number = int(network.network_address)
    if length == 96:
        return IPv6Network((int(prefix.network_address) | number, 96 + bits))
    # The eight bits that are skipped follow the first half.
    before = 64 - length
    whole = number << 96 - length
    if before < 32:
        rest = number & ((1 << 32 - before) - 1)
        whole = (number >> 32 - before) << 64 | rest << 56 - (32 - before)
    end = length + bits
    return IPv6Network((int(prefix.network_address) | whole, end + 8 if end > 64 else end))
