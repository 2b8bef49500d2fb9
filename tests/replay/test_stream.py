"""Streams: pipes are as good as files, compression is undone in pieces, and what is wrong with it is said."""

from __future__ import annotations

import bz2
import contextlib
import gzip
import io
import lzma
import os
import pty
import random
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn

import pytest

from cpe_filter.replay import stream
from cpe_filter.replay.capture import CaptureError, frames
from cpe_filter.replay.stream import COMPRESSIONS, Input, InputError, Reading, Stream, unpacked
from tests import build

#: Compresses a little, so that a member has several pieces.
RANDOM = random.Random(7)
DATA = b"".join(RANDOM.randbytes(3) * 7 for _ in range(9000))


def _zstd(data: bytes) -> bytes:
    try:
        from compression import zstd
    except ImportError:
        zstd = pytest.importorskip("backports.zstd")
    packed: bytes = zstd.compress(data)
    return packed


def _lz4(data: bytes) -> bytes:
    packed: bytes = pytest.importorskip("lz4.frame").compress(data)
    return packed


PACK: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "xz": lzma.compress,
    "lzma": lambda data: lzma.compress(data, lzma.FORMAT_ALONE),
    "bzip2": bz2.compress,
    "zstd": _zstd,
    "lz4": _lz4,
}
SKIPPABLE = b"\x53\x2a\x4d\x18\x05\0\0\0hello"


def of(data: bytes, piece: int = 1 << 20) -> Stream:
    """A stream that is delivered in pieces."""
    file = io.BytesIO(data)
    return Stream(lambda size: file.read(min(size, piece)))


def whole(data: bytes, piece: int = 1 << 20) -> tuple[bytes, list[str]]:
    """All that is in a stream, and what is wrong with it."""
    warnings: list[str] = []
    found = unpacked(of(data, piece), warnings.append)
    return b"".join(iter(lambda: found.read(50_000), b"")), warnings


# ── streams ─────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("piece", [1, 7, 1 << 20])
def test_a_stream_gives_what_goes_in(piece: int) -> None:
    one = of(b"0123456789" * 20, piece)
    assert one.peek(3) == b"012"
    assert one.read(4) == b"0123"
    assert one.fill(150) >= 150
    assert one.data[one.at :].startswith(b"456789")
    assert one.skip(100) == 100
    assert one.position == 104
    assert one.read(1000) == (b"0123456789" * 20)[104:]
    assert (one.read(1), one.skip(5), one.fill(1), one.position) == (b"", 0, 0, 200)


def test_what_is_there_is_not_held_back() -> None:
    """No more than one byte is waited for."""
    pieces = iter([b"ab", b"c"])
    one = Stream(lambda _: next(pieces))
    assert one.read_some(100) == b"ab"
    assert one.read_some(100) == b"c"


# ── compression ─────────────────────────────────────────────────────────────────────────────────


def test_each_compression_is_tried() -> None:
    assert {how.name for how in COMPRESSIONS} == set(PACK)


@pytest.mark.parametrize("piece", [1000, 1 << 20])
@pytest.mark.parametrize("name", PACK)
def test_compressed_data_is_unpacked(name: str, piece: int) -> None:
    assert whole(PACK[name](DATA), piece) == (DATA, [])
    assert whole(PACK[name](b"x"), 1) == (b"x", [])


@pytest.mark.parametrize("name", [name for name in PACK if name != "lzma"])  # which has no end of its own
def test_members_follow_each_other(name: str) -> None:
    pack = PACK[name]
    assert whole(pack(b"one") + pack(b"") + pack(DATA), 500) == (b"one" + DATA, [])
    assert whole(pack(b"one") + bytes(200_000)) == (b"one", [])
    data, warnings = whole(pack(b"one") + b"\0" * 512 + b"something else")
    assert data == b"one"
    assert len(warnings) == 1
    assert f"damaged {name} data: what follows byte" in warnings[0]


@pytest.mark.parametrize("name", ["zstd", "lz4"])
def test_frames_without_data_are_stepped_over(name: str) -> None:
    pack = PACK[name]
    assert whole(SKIPPABLE * 2 + pack(b"one") + SKIPPABLE + pack(b"two")) == (b"onetwo", [])


@pytest.mark.parametrize("name", PACK)
def test_what_comes_before_a_cut_is_read(name: str) -> None:
    packed = PACK[name](DATA)
    data, warnings = whole(packed[: len(packed) * 3 // 4])
    assert DATA.startswith(data)
    assert len(data) > len(DATA) // 4 or name in ("bzip2", "xz", "lzma", "zstd")  # these have large blocks
    assert warnings == [f"damaged {name} data: it is cut off"]


@pytest.mark.parametrize("name", PACK)
def test_damage_is_said_and_ends_it(name: str) -> None:
    packed = bytearray(PACK[name](DATA))
    packed[len(packed) // 2 : len(packed) // 2 + 64] = bytes(64)
    data, warnings = whole(bytes(packed))
    assert len(data) <= len(DATA) * 2
    assert len(warnings) == 1 or name in ("lzma", "zstd")  # which need not have a checksum
    assert all(text.startswith(f"damaged {name} data: ") for text in warnings)


def test_nested_compression_is_bounded() -> None:
    data = DATA
    for name in ("gzip", "xz", "bzip2", "gzip"):
        data = PACK[name](data)
    assert whole(data) == (DATA, [])
    with pytest.raises(InputError, match="more than 4 times"):
        whole(gzip.compress(data))


@pytest.mark.parametrize("name", PACK)
def test_a_bomb_takes_no_memory(name: str) -> None:
    bomb = PACK[name](bytes(50_000_000))
    found = unpacked(of(bomb), pytest.fail)
    tracemalloc.start()
    assert found.skip(50_000_000) == 50_000_000
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3 << 20


def test_a_dictionary_that_is_too_large_is_refused() -> None:
    packed = bytearray(lzma.compress(b"x", lzma.FORMAT_ALONE))
    packed[1:5] = (0xC0000000).to_bytes(4, "little")
    data, warnings = whole(bytes(packed))
    assert data == b""
    assert "emory" in warnings[0]


@pytest.mark.parametrize(("name", "unpack"), [("zstd", "zstd -dc"), ("lz4", "lz4 -dc")])
def test_a_missing_library_is_named(name: str, unpack: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> NoReturn:
        raise ImportError("none")

    ways = [how._replace(make=missing) if how.name == name else how for how in COMPRESSIONS]
    monkeypatch.setattr(stream, "COMPRESSIONS", ways)
    magic = next(how.magic for how in ways if how.name == name)
    with pytest.raises(InputError, match=rf"compressed with {name}.*{unpack} FILE \| cpe-filter replay -"):
        whole(magic + bytes(100))


# ── inputs ──────────────────────────────────────────────────────────────────────────────────────

CAPTURE = build.pcap(build.frames(build.session()))


@contextlib.contextmanager
def written(path: str | int, data: bytes, piece: int = 0) -> Iterator[None]:
    """Something writes `data` into a pipe, slowly if there is a `piece`."""

    def write() -> None:
        with open(path, "wb", 0) as pipe:
            for at in range(0, len(data), piece or len(data)):
                pipe.write(data[at : at + (piece or len(data))])
                if piece:
                    time.sleep(0.001)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        yield
    finally:
        writer.join()


@pytest.mark.parametrize("data", [CAPTURE, gzip.compress(CAPTURE)], ids=["plain", "gzip"])
def test_a_fifo_that_delivers_slowly(data: bytes, tmp_path: Path) -> None:
    path = str(tmp_path / "fifo")
    os.mkfifo(path)
    with written(path, data, 61):
        got = list(frames(path, pytest.fail))
    assert len(got) == len(build.session())


def test_a_pipe_that_does_not_block_is_waited_for() -> None:
    """ssh leaves standard input like that."""
    inside, outside = os.pipe()
    os.set_blocking(inside, False)
    with written(outside, CAPTURE, 61):
        source = Input(f"/dev/fd/{inside}")
        assert source.size is None
        os.set_blocking(source._file.fileno(), False)
        assert source.stream.read(1 << 20) == CAPTURE
        source.close()
    os.close(inside)


def test_a_terminal_is_refused() -> None:
    ours, theirs = pty.openpty()
    with pytest.raises(CaptureError, match="it is a terminal; pipe a capture into it"):
        list(frames(os.ttyname(theirs), pytest.fail))
    os.close(ours)
    os.close(theirs)


def test_a_file_is_followed_while_it_grows_and_until_it_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "growing"
    path.write_bytes(CAPTURE[:100])
    source = Input(str(path), Reading(follow=True))
    assert source.stream.read(100) == CAPTURE[:100]
    with written(str(path), CAPTURE, 200):  # opened anew: cut, and written again
        pass
    assert source.stream.read(len(CAPTURE) - 100) == CAPTURE[100:]
    path.rename(tmp_path / "older")
    path.write_bytes(b"")
    assert source.stream.read(1) == b""
    source.close()
