"""Requests as browsers, checks and others send them."""

from __future__ import annotations

import pytest

from cpe_filter.explain.http import MAX_FORM, MAX_HEAD, Request, fields, language, parse, redirect, response

HEAD = b"GET /generate_204?x=1 HTTP/1.1\r\nHost: connectivitycheck.gstatic.com\r\nAccept: */*\r\n\r\n"
FORM = (
    b"POST / HTTP/1.1\r\nHost: 192.168.1.1:2580\r\nOrigin: http://192.168.1.1:2580\r\nContent-Length: 11\r\n\r\n"
    b"answer=seen"
)


def test_a_check_and_a_form() -> None:
    assert parse(HEAD) == Request("GET", "/generate_204", "x=1", "connectivitycheck.gstatic.com", None, None, "")
    assert parse(FORM) == Request("POST", "/", "", "192.168.1.1:2580", "http://192.168.1.1:2580", None, "answer=seen")
    assert parse(b"HEAD http://a.example/b HTTP/1.0\r\n\r\n") == Request("HEAD", "/b", "", None, None, None, "")


@pytest.mark.parametrize("whole", [HEAD, FORM])
def test_what_is_incomplete_waits(whole: bytes) -> None:
    assert all(parse(whole[:size]) is None for size in range(len(whole)))


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"x" * (MAX_HEAD + 1), 431),
        (b"GET / HTTP/1.1\r\nX: " + b"x" * MAX_HEAD + b"\r\n\r\n", 431),
        (b"\r\n\r\n", 400),
        (b"GET /\r\n\r\n", 400),
        (b"GET / HTTP/2.0\r\n\r\n", 400),
        (b"GET /\0 HTTP/1.1\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\r\n\r\n", 400),
        (b"PUT / HTTP/1.1\r\n\r\n", 405),
        (b"CONNECT a.example:443 HTTP/1.1\r\n\r\n", 405),
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n folded\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: +5\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % (MAX_FORM + 1), 413),
    ],
)
def test_what_is_refused(data: bytes, code: int) -> None:
    assert parse(data) == code


def test_answers() -> None:
    assert fields("a=1&b=&c&a=2") == {"a": "2", "b": "", "c": ""}
    found = response(200, "für").decode()
    assert found.endswith("\r\n\r\nfür")
    assert "Content-Length: 4\r\n" in found
    assert "Cache-Control: no-store\r\n" in found
    assert response(200, "x", head=True).endswith(b"\r\n\r\n")
    assert b"\r\nLocation: http://[2001:db8::1]:2580/\r\n" in redirect("http://[2001:db8::1]:2580/")


@pytest.mark.parametrize(
    ("header", "found"),
    [
        ("de", "de"),
        ("de-AT, de;q=0.9, en;q=0.8", "de"),
        ("fr, TR;q=0.5, nl ; q=0.7", "nl"),
        ("en;q=0.8,de;q=0.8", "en"),
        ("de;q=0, en;q=0.001", "en"),
        ("de;q=1.000", "de"),
        ("*", None),
        ("fr-FR", None),
        ("dee, english", None),
        ("", None),
        (None, None),
        ("de;q=2", None),
        ("de;q=-1", None),
        ("de;q=nan", None),
        ("de;q=1e9", None),
        ("de;q=0.9999", None),
        ("de;q=\u0661", None),
        ("de;q=0.\u0661", None),
        ("de;q=0.\xb2", None),
        ("de;level=1", None),
        (",;,=;-" * 600, None),
        ("fr," * 15 + "de", "de"),
        ("fr," * 16 + "de", None),
        ("\xff\xfe, de\x01", None),
    ],
)
def test_the_browser_s_language(header: str | None, found: str | None) -> None:
    assert language(header, ("en", "nl", "de", "tr")) == found


def test_of_several_headers_one_counts() -> None:
    data = b"GET / HTTP/1.1\r\nAccept-Language: de\r\naccept-language: tr\r\n\r\n"
    request = parse(data)
    assert isinstance(request, Request)
    assert request.languages == "tr"
