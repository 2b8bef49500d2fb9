"""`cpe-filter replay`: checks its options and judges its captures one after the other.

Not in a router's package.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import sys
from ipaddress import ip_network

from cpe_filter.lean.output_file import OutputFile, OutputFileError
from cpe_filter.outcome import EXIT_INCOMPLETE, EXIT_OK, EXIT_UNUSABLE, UsageError, complain, silence
from cpe_filter.policy.model import Policy
from cpe_filter.replay.capture import CaptureError
from cpe_filter.replay.page import Page
from cpe_filter.replay.replay import DEFAULT_POLICY, Options, replay, show
from cpe_filter.replay.timeline import Timeline


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
    how = Options(policy, lan, options.addresses, options.sessions, options.timeline, tuple(options.leases))
    if options.json and isinstance(sys.stdout, io.TextIOWrapper):
        # RFC 8259 section 8.1. Bytes of a file name that are not UTF-8 become \udcXX, which is valid in JSON, too.
        sys.stdout.reconfigure(encoding="utf-8", errors="backslashreplace")
    if options.html is None:
        return _replay_each(options, how, None)
    try:
        with OutputFile(options.html, begins=b"<!DOCTYPE html>") as file:
            page = Page()
            code = _replay_each(options, how, page)
            file.text = page.text()
    except OutputFileError as error:
        raise UsageError(f"--html {options.html}: {error}") from None
    return code


def _replay_each(options: argparse.Namespace, how: Options, page: Page | None) -> int:
    """Judges and shows one capture after the other; `page`, if there is one, gets each result."""
    code = EXIT_OK
    for number, path in enumerate(options.captures):
        warnings: list[str] = []

        def warn(text: str, path: str = path, warnings: list[str] = warnings) -> None:
            warnings.append(text)
            complain(f"{path}: warning: {text}")

        try:
            timeline = Timeline()
            traced = timeline if options.timeline or page else None
            result = replay(path, how, warn, traced)
        except (CaptureError, OSError) as error:
            reason = error.strerror if isinstance(error, OSError) and error.strerror else error
            complain(f"{path}: {reason}")
            code = EXIT_UNUSABLE
            if page:
                page.failed(path, str(reason))
            continue
        if not result["accounting"]["complete"]:
            code = code or EXIT_INCOMPLETE
        if page:
            page.add(result, timeline, warnings)
        try:
            if options.json:
                print(json.dumps(result, ensure_ascii=False))
            else:
                if number:
                    print()
                show(result, print, timeline if options.timeline else None, sys.stdout.encoding)
        except BrokenPipeError:
            if page is None:
                raise
            silence()  # the page is written all the same
    return code
