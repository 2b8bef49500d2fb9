"""What is read of nftables by netlink: messages byte by byte, and lists and news of the real kernel."""

from __future__ import annotations

import errno
import struct
import subprocess
from collections.abc import Iterator

import pytest

from cpe_filter.enforce import nfnetlink
from cpe_filter.enforce.nfnetlink import ANY, Change, changes, listing
from cpe_filter.lean import plain_socket as socket
from cpe_filter.lean.netlink import attributes, messages, name
from tests.lab.alone import network


@pytest.fixture
def alone(live: None) -> Iterator[None]:
    with network():
        yield


def nft(rules: str) -> None:
    subprocess.run(["nft", "-f", "-"], input=rules, text=True, check=True)


# ── bytes ───────────────────────────────────────────────────────────────────────────────────────────


def test_attributes_are_padded_and_flags_left_out() -> None:
    data = struct.pack("=HH", 7, 1) + b"abc\0" + struct.pack("=HH", 8, 0x8002) + b"wxyz"
    assert list(attributes(data)) == [(1, b"abc"), (2, b"wxyz")]


@pytest.mark.parametrize(
    "data",
    [b"", b"\1", b"\0\0\1\0", b"\3\0\1\0", b"\x40\0\1\0abc", struct.pack("=HH", 0xFFFF, 1)],
    ids=["empty", "one byte", "length 0", "length 3", "cut off", "too long"],
)
def test_damaged_attributes_end_it(data: bytes) -> None:
    assert list(attributes(data)) == []


def test_messages_of_a_datagram() -> None:
    one = struct.pack("=IHHII", 18, 0xA0F, 2, 7, 0) + b"ab"
    assert list(messages(one + b"\0\0" + one)) == [(0xA0F, 2, 7, b"ab")] * 2
    assert list(messages(one[:-1])) == []
    assert list(messages(struct.pack("=IHHII", 4, 0, 0, 0, 0))) == []


def test_name_ends_with_its_nul() -> None:
    assert name(b"fw4\0") == b"fw4"
    assert name(b"") == b""


class Answers:
    """A netlink socket that answers each request with the next of these datagrams."""

    def __init__(self, *answers: list[tuple[int, int, bytes]]) -> None:
        self._answers = list(answers)
        self._datagram = b""
        self._sequence = 0

    def __enter__(self) -> Answers:
        return self

    def __exit__(self, *_: object) -> None: ...

    def settimeout(self, seconds: float) -> None: ...

    def bind(self, address: tuple[int, int]) -> None: ...

    def send(self, request: bytes) -> int:
        (self._sequence,) = struct.unpack_from("=I", request, 8)
        self._datagram = b"".join(
            struct.pack("=IHHII", 16 + len(content), kind, flags, self._sequence, 0) + content
            for kind, flags, content in self._answers.pop(0)
        )
        return len(request)

    def recv(self, size: int) -> bytes:
        return self._datagram


_TABLE_MESSAGE, _DONE, _ERROR = 0xA00, 3, 2
_WHOLE = [(_TABLE_MESSAGE, 2, b"\1\0\0\0abcd"), (_DONE, 2, bytes(4))]
_INTERRUPTED = [(_TABLE_MESSAGE, 2 | 0x10, b"\1\0\0\0half"), (_DONE, 2, bytes(4))]
_BROKEN_OFF = [(_DONE, 2, struct.pack("=i", -errno.EINTR))]


@pytest.mark.parametrize("first", [[], [_INTERRUPTED], [_BROKEN_OFF], [_INTERRUPTED] * 3])
def test_a_list_during_a_change_is_asked_for_again(
    first: list[list[tuple[int, int, bytes]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket, "socket", lambda *_: Answers(*first, _WHOLE))
    assert listing(nfnetlink.TABLE, ANY) == [(nfnetlink.INET, b"abcd")]


def test_a_list_that_is_never_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "socket", lambda *_: Answers(*[_INTERRUPTED] * 9))
    with pytest.raises(OSError, match="faster than it can be read"):
        listing(nfnetlink.TABLE, ANY)


def test_an_error_of_the_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    refused = [(_ERROR, 0, struct.pack("=i", -errno.EPERM) + bytes(16))]
    monkeypatch.setattr(socket, "socket", lambda *_: Answers(refused))
    with pytest.raises(PermissionError):
        listing(nfnetlink.TABLE, ANY)


# ── the kernel ──────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.live
def test_lists_what_nft_made(alone: None) -> None:
    assert listing(nfnetlink.TABLE, ANY) == []
    nft("table inet a { chain c { counter; accept; }; }")
    nft("table ip b { set s { type ipv4_addr; elements = { 192.0.2.1 }; }; }")
    tables = {(family, name(dict(attributes(data))[1])) for family, data in listing(nfnetlink.TABLE, ANY)}
    assert tables == {(nfnetlink.INET, b"a"), (nfnetlink.IPV4, b"b")}
    assert [family for family, _ in listing(nfnetlink.TABLE, nfnetlink.IPV4)] == [nfnetlink.IPV4]
    rules = listing(nfnetlink.RULE, nfnetlink.INET, (1, b"a\0"))
    assert [name(dict(attributes(data))[2]) for _, data in rules] == [b"c", b"c"]
    elements = listing(nfnetlink.ELEMENT, nfnetlink.IPV4, (1, b"b\0"), (2, b"s\0"))
    assert any(b"\xc0\x00\x02\x01" in data for _, data in elements)


@pytest.mark.live
def test_a_set_that_is_not_there(alone: None) -> None:
    with pytest.raises(FileNotFoundError):
        listing(nfnetlink.ELEMENT, nfnetlink.INET, (1, b"none\0"), (2, b"none\0"))


@pytest.mark.live
def test_a_list_of_many_datagrams_is_whole(alone: None) -> None:
    rules = "\n".join(f"tcp dport {n} accept" for n in range(1, 3001))
    nft(f"table inet a {{\nchain c {{\n{rules}\n}}\n}}\n")
    handles = [dict(attributes(data))[3] for _, data in listing(nfnetlink.RULE, nfnetlink.INET, (1, b"a\0"))]
    assert len(set(handles)) == 3000


@pytest.mark.live
def test_news_of_each_kind_of_change(alone: None) -> None:
    with nfnetlink.news() as told:
        with pytest.raises(BlockingIOError):
            changes(told)
        made = (
            "table inet a { set s { type ipv4_addr; }; counter n { }; chain c { accept; }; }\n"
            "add element inet a s { 192.0.2.1 }"
        )
        for step, expected in (
            (made, [0, 3, 6, 9, 12, 18]),
            ("delete element inet a s { 192.0.2.1 }", [nfnetlink.ELEMENT]),
            ("flush chain inet a c", [nfnetlink.RULE]),
            ("delete counter inet a n", [nfnetlink.OBJECT]),
            ("delete chain inet a c", [nfnetlink.CHAIN]),
            ("delete table inet a", [nfnetlink.TABLE, nfnetlink.SET]),
        ):
            nft(step)
            found: list[Change] = []
            while not found or found[-1].what != nfnetlink.GENERATION:
                found += changes(told)
            by = found.pop().by
            assert by.startswith("nft (pid ")
            assert {change.what for change in found} == set(expected), step
            assert {(change.family, change.table) for change in found} == {(nfnetlink.INET, b"a")}


@pytest.mark.live
def test_what_rules_add_to_sets_is_no_news(alone: None) -> None:
    nft(
        "table inet a { set s { type ipv4_addr; flags dynamic,timeout; timeout 1s; }\n"
        "chain c { type filter hook output priority 0\nadd @s { ip daddr }\n}\n}\n"
    )
    with nfnetlink.news() as told:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.sendto(b"x", ("127.0.0.1", 9))
        assert listing(nfnetlink.ELEMENT, nfnetlink.INET, (1, b"a\0"), (2, b"s\0"))
        with pytest.raises(BlockingIOError):
            changes(told)
