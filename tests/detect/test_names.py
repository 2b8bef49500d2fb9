"""HELO names -> their kind. A new form is one line here."""

from __future__ import annotations

import pytest

from cpe_filter.detect.names import kind_of_name, registered_domain

NAMES = [
    ("", "empty"),
    ("  ", "empty"),
    (".", "empty"),
    ("[192.168.1.5]", "literal-private"),
    ("[10.0.0.1]", "literal-private"),
    ("[172.31.9.9]", "literal-private"),
    ("[172.32.9.9]", "literal"),
    ("[127.0.0.1]", "literal-private"),
    ("[0.0.0.0]", "literal-private"),
    ("[169.254.7.7]", "literal-private"),
    ("[198.51.100.7]", "literal"),
    ("[IPv6:fe80::1]", "literal-private"),
    ("[IPv6:2001:db8::1]", "literal"),
    ("10.0.0.45", "bare-address"),
    ("198.51.100.7", "bare-address"),
    ("2001:db8::7", "bare-address"),
    ("localhost", "localhost"),
    ("localhost.localdomain", "localhost"),
    ("LOCALHOST", "localhost"),
    ("bob-pc", "bare-word"),
    ("WIN-7KQ2J0", "bare-word"),
    ("mail.example.com", "plain"),
    ("mx1.example.com", "plain"),
    ("mx10.example.co.uk", "plain"),
    ("mail.example.com.", "plain"),
    ("smtp2.mail.example.org", "plain"),
    ("15.120.16.95.dynamic.example.es", "dynamic"),
    ("host-198-51-100-7.example.net", "dynamic"),
    ("p5b0a1c2d.dip0.example-ipconnect.de", "dynamic"),
    ("198-51-100-7.static.example.net", "dynamic"),
    ("c-198-51-100-7.hsd1.ca.example.net", "dynamic"),
    ("dsl-7-200.example.net", "dynamic"),
    ("pool-12.example.net", "dynamic"),
    ("ppp198051100007.example.net", "dynamic"),
    ("cable.example.net", "plain"),
    ("user7.example.net", "dynamic"),
    ("dsl-0200.example.net", "plain"),  # no octet: it has four digits
]


@pytest.mark.parametrize(("name", "kind"), NAMES)
def test_kind(name: str, kind: str) -> None:
    assert kind_of_name(name) == kind


@pytest.mark.parametrize(
    ("name", "domain"),
    [
        ("mail.example.com", "example.com"),
        ("Mail.Example.COM.", "example.com"),
        ("a.b.c.example.co.uk", "example.co.uk"),
        ("example.com", "example.com"),
        ("localhost", "localhost"),
        ("mx.example.de", "example.de"),
    ],
)
def test_registered_domain(name: str, domain: str) -> None:
    assert registered_domain(name) == domain
