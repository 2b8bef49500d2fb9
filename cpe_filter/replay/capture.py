"""Inputs -> frames: whatever a capture comes from, and whichever format it has.

Knows how inputs are opened (`stream`), the readers of formats, and how other inputs are named (`foreign`). Must not
know link layers (`layers` does), TCP or SMTP. The formats are read by our own code: a damaged file must give what can
be read, no length field may decide how much memory or time is taken, and it is done for each packet.
"""

from __future__ import annotations

from collections.abc import Iterator

from cpe_filter.replay import foreign, pcap, pcapng
from cpe_filter.replay.frame import CaptureError, Frame, NoCaptureError, Warn
from cpe_filter.replay.stream import Input, InputError, Reading, Stream, unpacked

__all__ = ["CaptureError", "Frame", "NoCaptureError", "Warn", "frames"]


def frames(path: str, warn: Warn, reading: Reading = Reading()) -> Iterator[Frame]:  # noqa: B008
    """Reads a pcap or pcapng file, a pipe, or standard input (`-`); also compressed.

    Damage after the first packets is a warning; what follows it is read as far as it can be found. A file that is
    followed and gets another name is followed by the new one.
    Raises `CaptureError` for an input that is not a capture, `OSError` for one that cannot be read.
    """
    while True:
        try:
            source = Input(path, reading)
        except InputError as error:
            raise CaptureError(str(error)) from None
        try:
            yield from _read(source, warn)
        finally:
            source.close()
        if not source.replaced:
            break


def _read(source: Input, warn: Warn) -> Iterator[Frame]:
    """The frames of an open input. Raises as `frames` does."""
    damages: list[str] = []
    usable = False

    def say(text: str) -> None:
        if not source.interrupted:  # what is cut off then, we have cut off
            warn(text)

    try:
        stream = unpacked(source.stream, damages.append)
        for frame in _capture(stream, source.size if stream is source.stream else None, say):
            usable = True
            if source.interrupted and len(frame.data) < frame.length:
                continue
            yield frame
        if damages and not usable:
            raise CaptureError(damages[0])
    except (InputError, CaptureError) as error:
        if source.interrupted:
            return
        if isinstance(error, CaptureError) and not (damages and not usable):
            raise
        raise CaptureError(damages[0] if damages else str(error)) from None
    for text in damages:
        say(text)


def _capture(stream: Stream, size: int | None, warn: Warn) -> Iterator[Frame]:
    """size: of the stream, if it is known."""
    magic = stream.peek(4)
    if not magic:
        raise NoCaptureError("the input is empty")
    if magic == pcapng.MAGIC:
        return pcapng.frames(stream, size, warn)
    if magic in pcap.VARIANTS:
        return pcap.frames(stream, warn)
    known = foreign.described(stream.peek(foreign.HEAD))
    if known:
        error = CaptureError if known.holds_packets else NoCaptureError
        raise error(f"not a capture that replay reads: this is {known.text}")
    short = len(stream.peek(24)) < 24
    raise NoCaptureError(f"not a capture: {'too short for a header' if short else 'neither pcap nor pcapng'}")
