"""Why a packet could not be looked into, in words, and what whoever captures can do about it.

Knows the reasons that `layers` counts. Must not know how a layer is read.
"""

from __future__ import annotations

_INSIDE = "capture where it is decrypted: on the router's LAN side, or on the tunnel's interface"
_ASK = "capture on the router's LAN side"
_WHOLE = "capture whole packets (tcpdump -s 0)"

#: Reason -> what it means, what to do. A number may follow the reason.
REASONS = {
    "address family": ("an address family that replay does not read", _ASK),
    "batman-adv": ("a batman-adv packet that replay does not read", _ASK),
    "capwap-fragment": ("fragments between an access point and its controller (CAPWAP)", _ASK),
    "cut": ("cut off within its headers when captured", _WHOLE),
    "damaged": ("headers that contradict themselves or end too early", "check how the capture was made"),
    "dtls": ("encrypted with DTLS", _INSIDE),
    "ERSPAN frame type": ("a mirrored frame of a kind that replay does not read", _ASK),
    "ERSPAN version": ("a version of ERSPAN that replay does not read", _ASK),
    "esp": ("encrypted with IPsec (ESP)", _INSIDE),
    "ethertype": ("a protocol or tag that replay does not read", _ASK),
    "fragment": ("fragments of packets of which others are missing", "capture all fragments: no filter by port"),
    "GRE protocol": ("a protocol in GRE that replay does not read", _ASK),
    "GRE version": ("a version of GRE that replay does not read", _ASK),
    "IP protocol": ("an IP protocol that replay does not read", _ASK),
    "ipcomp": ("compressed with IPComp", _INSIDE),
    "l2tpv3": ("an L2TPv3 session whose content replay does not recognize", _ASK),
    "link type": ("a link type that replay does not read", "convert it, or capture on an Ethernet interface"),
    "LLC": ("an LLC frame that replay does not read", _ASK),
    "macsec": ("encrypted with MACsec", _INSIDE),
    "NLPID": ("a network protocol that replay does not read", _ASK),
    "not-ip": ("in place of IP something else", "check the link type of the capture"),
    "NSH protocol": ("a service chain that carries what replay does not read", _ASK),
    "openvpn": ("encrypted with OpenVPN", _INSIDE),
    "other": ("other reasons, of which there are too many to list", _ASK),
    "PPP protocol": ("a protocol in PPP that replay does not read", _ASK),
    "ppp-compressed": ("compressed or encrypted by PPP (CCP, MPPE)", _INSIDE),
    "ppp-encrypted": ("encrypted by PPP (ECP)", _INSIDE),
    "ppp-multilink": ("parts of packets in PPP Multilink", "capture on the bundle's interface"),
    "SNAP OUI": ("a vendor's protocol in LLC that replay does not read", _ASK),
    "too-deep": ("more layers than replay follows", "check how the capture was made"),
    "TZSP protocol": ("a mirrored frame of a kind that replay does not read", _ASK),
    "van-jacobson": ("TCP headers compressed by PPP", "capture on the ppp interface"),
    "VXLAN protocol": ("a protocol in VXLAN that replay does not read", _ASK),
    "wifi-encrypted": ("encrypted Wi-Fi", "capture on the access point's interface, or decrypt it first"),
    "wifi-fragment": ("fragments of Wi-Fi frames", "capture on the access point's interface"),
    "wifi-several": ("aggregated Wi-Fi frames (A-MSDU)", "capture on the access point's interface"),
    "wireguard": ("encrypted with WireGuard", _INSIDE),
}


def meaning(reason: str) -> tuple[str, str]:
    """What a counted reason means, with its number, and what to do."""
    name, _, number = reason.rpartition(" ")
    known = REASONS.get(reason)
    if known is not None:
        return known
    about, advice = REASONS[name]
    return f"{about} ({name} {number})", advice
