"""E-mail addresses of subscribers and of the ISP: which are usable, as they go over SMTP, and shortened for people.

Must not know where an address comes from. An address is `dot-atom@domain` (RFC 5321 section 4.1.2, RFC 6531 for letters
outside US-ASCII). Quoted local-parts and address literals are refused: no mailbox needs them, and they have
characters that other programs misread. No error contains the address.
"""

from __future__ import annotations

import re

import idna

#: Octets (RFC 5321 sections 4.5.3.1.1, 4.5.3.1.3; the path has two more).
MAX_LOCAL, MAX_ADDRESS = 64, 254
#: atext of RFC 5322 section 3.2.3; further letters and digits as RFC 6531 allows them.
_ATOM = re.compile(r"[0-9A-Za-z!#$%&'*+/=?^_`{|}~-]|[^\W\x00-\x7f]")


def problem(address: str) -> str | None:
    """What is wrong with an address; None if it is usable."""
    local, at, domain = address.rpartition("@")
    if not at or not local or not domain:
        return "not like name@example.net"
    if not all(atom and all(map(_ATOM.fullmatch, atom)) for atom in local.split(".")):
        return "characters before the @ that a mailbox cannot have"
    try:
        octets = len(local.encode())
        host = ascii_domain(domain)
    except (ValueError, UnicodeError):
        return "what follows the @ is not a domain"
    if "." not in host or host.replace(".", "").isdecimal():
        return "what follows the @ is not a domain"
    if octets > MAX_LOCAL or octets + 1 + len(host) > MAX_ADDRESS:
        return "too long"
    return None


def ascii_domain(domain: str) -> str:
    """A domain as DNS has it (IDNA 2008, RFC 5891). Raises `ValueError` if it is not one."""
    if domain.isascii():
        labels = domain.split(".")
        if len(domain) > 253 or not all(re.fullmatch(r"(?!-)[0-9A-Za-z-]{1,63}(?<!-)", label) for label in labels):
            raise ValueError("not a domain")
        return domain.lower()
    return idna.encode(domain, uts46=True).decode("ascii")


def wire(address: str) -> str:
    """A usable address as it goes over SMTP: the domain in US-ASCII. The local-part may need SMTPUTF8."""
    local, _, domain = address.rpartition("@")
    return f"{local}@{ascii_domain(domain)}"


def shortened(address: str) -> str:
    """For the desk: the first letter and the domain."""
    local, _, domain = address.rpartition("@")
    return f"{local[:1]}\N{HORIZONTAL ELLIPSIS}@{domain}"
