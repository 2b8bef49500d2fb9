"""Whether a MAC is borrowed: by the last look at the router's neighbours, and by the kernel where it must be sure."""

from __future__ import annotations

import select

import pytest

from cpe_filter.engine import Engine
from cpe_filter.home import neighbour_table
from cpe_filter.home.leases import Leases
from cpe_filter.lean.clocks import PacketTime
from cpe_filter.live.home_watch import HomeWatch
from cpe_filter.policy.model import Policy
from tests.build import packed

MAC, OTHER = b"\2\0\0\0\0\1", b"\2\0\0\0\0\2"
ADDRESS, NEW = packed("192.168.1.66"), packed("192.168.1.67")


def test_borrowed(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel: dict[bytes, set[bytes]] = {ADDRESS: {OTHER}}
    asked: list[bytes] = []

    def macs_of(address: bytes, lan: tuple[str, ...]) -> set[bytes]:
        asked.append(address)
        return kernel.get(address, set())

    monkeypatch.setattr(neighbour_table, "confirmed", lambda lan: {ADDRESS: OTHER})
    monkeypatch.setattr(neighbour_table, "macs_of", macs_of)
    watch = HomeWatch(Policy(), Engine(Policy()), Leases(()), select.poll(), lambda line: None)
    try:
        watch.look(PacketTime(0.0))
        assert watch.neighbours() == {OTHER}
        assert watch.borrowed(ADDRESS, MAC, False)
        assert not watch.borrowed(ADDRESS, OTHER, False)
        assert not watch.borrowed(NEW, MAC, False)
        assert not watch.borrowed(ADDRESS, OTHER, True)
        assert asked == []  # the last look is enough for what agrees
        assert watch.borrowed(ADDRESS, MAC, True)
        assert not watch.borrowed(NEW, MAC, True)  # nobody has answered
        kernel[NEW] = {OTHER}
        assert watch.borrowed(NEW, MAC, True)
        kernel[NEW] = {OTHER, MAC}  # on two networks
        assert not watch.borrowed(NEW, MAC, True)
        kernel[ADDRESS] = {MAC}  # it has moved since
        assert not watch.borrowed(ADDRESS, MAC, True)

        def broken(address: bytes, lan: tuple[str, ...]) -> set[bytes]:
            raise OSError

        monkeypatch.setattr(neighbour_table, "macs_of", broken)
        assert not watch.borrowed(ADDRESS, MAC, True)
    finally:
        watch.close()
