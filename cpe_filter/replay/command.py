"""`cpe-filter replay`: checks its options and judges its captures one after the other, or as one.

Knows the options, and in which form results are shown. Must not know formats of captures. Not in a router's package.
"""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from ipaddress import ip_network
from typing import Any

from cpe_filter.lean.output_file import OutputFile, OutputFileError
from cpe_filter.outcome import (
    EXIT_INCOMPLETE,
    EXIT_INTERRUPTED,
    EXIT_OK,
    EXIT_UNUSABLE,
    UsageError,
    complain,
    silence,
)
from cpe_filter.policy.model import Policy
from cpe_filter.replay.capture import CaptureError, Frame, NoCaptureError, Warn, frames
from cpe_filter.replay.follow import verdicts
from cpe_filter.replay.interrupt import Interrupt
from cpe_filter.replay.output import Output, make_output
from cpe_filter.replay.progress import Progress, on_terminal
from cpe_filter.replay.replay import DEFAULT_POLICY, Options, replay
from cpe_filter.replay.sources import FolderError, Joined, Source, expand
from cpe_filter.replay.stream import Reading, label
from cpe_filter.replay.timeline import Timeline

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cpe_filter.replay.page import Page


def run(options: argparse.Namespace, policy: Policy | None, ports: tuple[int, ...]) -> int:
    """Judges what the options name; the exit code. policy: none is the default's. ports: to look at, too.

    Raises `UsageError`.
    """
    policy = policy or DEFAULT_POLICY
    ports = tuple(dict.fromkeys((*policy.network.ports, *ports)))
    policy = policy._replace(network=policy.network._replace(ports=ports))
    try:
        lan = tuple(ip_network(text, strict=False) for text in options.lan)
    except ValueError as error:
        raise UsageError(f"--lan: {error}; expected a network such as 192.168.1.0/24") from None
    for path in options.leases:
        if not os.path.isfile(path):
            raise UsageError(f"--leases {path}: no such file")
    form = _form(options)
    how = Options(policy, lan, options.addresses, options.sessions, options.timeline, tuple(options.leases))
    if form != "table" and isinstance(sys.stdout, io.TextIOWrapper):
        # RFC 8259 section 8.1. Bytes of a file name that are not UTF-8 become \udcXX, which is valid in JSON, too.
        sys.stdout.reconfigure(encoding="utf-8", errors="backslashreplace")
    page = None
    if options.html is not None or form == "html":
        from cpe_filter.replay.page import Page  # and OpenSSL, 5 MB

        page = Page()
    output = make_output(form, options.timeline, options.sessions, options.color)
    with Interrupt() as interrupt:
        judging = _Judging(options, how, output, page, interrupt)
        if options.html is None:
            code = judging.run()
        else:
            try:
                with OutputFile(options.html, begins=b"<!DOCTYPE html>") as file:
                    code = judging.run()
                    assert page is not None  # noqa: S101
                    file.text = page.text()
            except OutputFileError as error:
                raise UsageError(f"--html {options.html}: {error}") from None
    if form == "html" and page is not None:
        sys.stdout.write(page.text())
    return code


def _form(options: argparse.Namespace) -> str:
    """The form of the output; checks what cannot go together. Raises `UsageError`."""
    form: str = options.format or ("json" if options.json else "table")
    if options.json and form != "json":
        raise UsageError(f"--json and --format {form} exclude each other")
    if options.captures.count("-") > 1:
        raise UsageError("standard input (-) can be read only once")
    if options.follow and len(options.captures) > 1:
        raise UsageError("--follow takes one input, such as a pipe or the file that tcpdump writes")
    if options.follow and os.path.isdir(options.captures[0]):
        raise UsageError(f"--follow: {options.captures[0]} is a folder; expected a pipe or a file")
    if options.follow and form in ("csv", "html"):
        raise UsageError(f"--follow writes a table or JSON, not {form}")
    return form


class _Judging:
    """All captures of one call. page: gets each result, too, if there is one."""

    def __init__(
        self, options: argparse.Namespace, how: Options, output: Output, page: Page | None, interrupt: Interrupt
    ) -> None:
        self._options, self._how, self._output, self._page = options, how, output, page
        self._interrupt = interrupt
        quiet = options.json or options.format == "json" or options.follow
        self._progress: Progress | None = None if quiet else on_terminal()
        self._reading = Reading(options.follow, interrupt, self._progress)
        self._code = EXIT_OK
        self._judged = False

    def run(self) -> int:
        """Judges and shows all; the exit code. Raises `UsageError`, and `OSError` of a folder."""
        try:
            sources = expand(self._options.captures, self._skipped)
        except FolderError as error:
            raise UsageError(str(error)) from None
        if self._options.join:
            self._judge_joined(sources)
        else:
            for source in sources:
                if not self._interrupt.happened:
                    self._judge(source)
            if not (self._judged or self._code or self._interrupt.happened):
                self._code = EXIT_UNUSABLE
                self._say("none of the files is a capture")
        if self._interrupt.happened:
            self._say("interrupted; this is what was found so far")
            return EXIT_INTERRUPTED
        return self._code

    def _judge(self, source: Source) -> None:
        path = source.path
        self._show(path, lambda warn: frames(path, warn, self._reading), lambda error: self._failed(source, error))

    def _judge_joined(self, sources: Sequence[Source]) -> None:
        joined = Joined(sources, self._reading, self._failed)
        first, more = sources[0].path, len(sources) - 1
        name = f"{label(first)} and {more} more" if more else first

        def all_frames(warn: Warn) -> Iterable[Frame]:
            yield from joined.frames(lambda path, text: warn(text if path == name else f"{label(path)}: {text}"))

        def failed(error: Exception) -> None:
            self._code = EXIT_UNUSABLE
            self._say(f"--join: {error}")

        self._show(name, all_frames, failed)
        for text in joined.notes:
            self._say(f"--join: {text}")

    def _show(self, path: str, source: Callable[[Warn], Iterable[Frame]], failed: Callable[[Exception], None]) -> None:
        """Judges one capture and shows the result."""
        warnings: list[str] = []

        def warn(text: str) -> None:
            warnings.append(text)
            self._say(f"{label(path)}: warning: {text}")

        timeline = Timeline()
        traced = timeline if self._options.timeline or self._page else None
        watch = verdicts(self._output.as_json, _flushed) if self._options.follow else None
        try:
            result = replay(path, self._how, warn, traced, source, watch)
        except BrokenPipeError:  # of a verdict; inputs are only read
            raise
        except (CaptureError, OSError) as error:
            failed(error)
            return
        if not result["accounting"]["complete"]:
            self._code = self._code or EXIT_INCOMPLETE
        if self._page:
            self._page.add(result, timeline, warnings)
        self._write(result, timeline)

    def _write(self, result: dict[str, Any], timeline: Timeline) -> None:
        self._judged = True
        if self._progress:
            self._progress.clear()
        try:
            self._output.add(result, timeline)
        except BrokenPipeError:
            if self._page is None:
                raise
            silence()  # the page is written all the same

    def _failed(self, source: Source, error: Exception) -> None:
        """An input cannot be used. In a folder there may be other files."""
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        if source.found and isinstance(error, NoCaptureError):
            self._skipped(source.path, reason)
            return
        self._code = EXIT_UNUSABLE
        self._say(f"{label(source.path)}: {reason}")
        if self._page:
            self._page.failed(source.path, reason)

    def _skipped(self, path: str, reason: str) -> None:
        self._say(f"{path}: skipped: {reason}")

    def _say(self, text: str) -> None:
        if self._progress:
            self._progress.clear()
        complain(text)


def _flushed(text: str) -> None:
    print(text, flush=True)
