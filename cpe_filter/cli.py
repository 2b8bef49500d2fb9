"""The commands. Knows arguments, exit codes and where output goes; every command's work is elsewhere.

Exit codes: 0 done; 1 the filter is not running (status); 2 unusable input or surroundings, one line on
stderr saying what, where, and what is allowed. Imports are made by the command that needs them: on a router each
costs memory.
"""

from __future__ import annotations

import argparse
import io
import os
import sys
from typing import NoReturn

from cpe_filter import __version__

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cpe_filter.policy import Policy
    from cpe_filter.replay import Options
    from cpe_filter.report.page import Page

EXIT_OK, EXIT_UNUSABLE = 0, 2


class Unusable(Exception):
    """Input or surroundings that a command cannot work with; the text says why."""


def main(arguments: list[str] | None = None) -> NoReturn:
    """The entry point of `cpe-filter`. Never returns; never shows a traceback for bad input."""
    if sys.stdout is None:  # started with it closed
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # names from the wire in a terminal that knows ASCII only
    try:
        try:
            code = _run(sys.argv[1:] if arguments is None else arguments)
        finally:
            sys.stdout.flush()
    except Unusable as error:
        print(f"cpe-filter: {error}", file=sys.stderr)
        code = EXIT_UNUSABLE
    except BrokenPipeError:
        # The reader of our output has gone (`| head`): nothing to say, and nobody to say it to.
        _silence()
        code = EXIT_OK
    except OSError as error:
        _silence()
        print(f"cpe-filter: {error.strerror or error}", file=sys.stderr)
        code = EXIT_UNUSABLE
    except KeyboardInterrupt:
        code = 130
    sys.exit(code)


def _silence() -> None:
    """Output that could not be written must not be tried again when Python ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="cpe-filter",
        description="An SMTP egress filter for subscribers' routers: finds the compromised device, lets mail be.",
    )
    parser.add_argument("--version", action="version", version=f"cpe-filter {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)

    run = commands.add_parser("run", help="filter live traffic (as root, on the router)")
    run.add_argument("--policy", required=True, metavar="FILE", help="the policy, TOML")
    run.set_defaults(work=_command_run)

    replay = commands.add_parser("replay", help="judge what is in capture files")
    replay.add_argument("captures", nargs="+", metavar="CAPTURE", help="a pcap or pcapng file")
    replay.add_argument("--json", action="store_true", help="one JSON object for each capture, a line each")
    replay.add_argument("--sessions", action="store_true", help="list the SMTP sessions, too")
    replay.add_argument("--addresses", action="store_true", help="show whole addresses, not only domains")
    replay.add_argument(
        "--lan", action="append", default=[], metavar="CIDR", help="only clients in this network are devices"
    )
    replay.add_argument(
        "--leases", action="append", default=[], metavar="FILE", help="name devices by this lease file of the router"
    )
    replay.add_argument("--port", action="append", default=[], metavar="N", help="count this port as mail, too")
    replay.add_argument("--policy", metavar="FILE", help="decide by this policy (default: monitor, escalating)")
    replay.add_argument("--timeline", action="store_true", help="draw how each device's score came about")
    replay.add_argument("--html", metavar="FILE", help="write a page of all that is shown, and more, to FILE")
    replay.set_defaults(work=_command_replay)

    rules = commands.add_parser("rules", help="print the ruleset that run installs")
    rules.add_argument("--policy", metavar="FILE", help="the policy, TOML")
    rules.add_argument(
        "--handoff", choices=("native", "xtables"), default="native", help="by nft's queue, or with xtables' NFQUEUE"
    )
    rules.set_defaults(work=_command_rules)

    check = commands.add_parser("check", help="check a policy file")
    check.add_argument("file", metavar="FILE")
    check.set_defaults(work=_command_check)

    explain = commands.add_parser("explain", help="answer refused mail by SMTP, saying why; take none")
    explain.add_argument("--policy", metavar="FILE", help="the policy, TOML")
    explain.add_argument("--port", metavar="N", help="listen there (default: the policy's)")
    explain.set_defaults(work=_command_explain)

    status = commands.add_parser("status", help="what the running filter sees")
    status.add_argument("--json", action="store_true", help="the status file as it is")
    status.add_argument("--policy", metavar="FILE", help="the policy that names the status file")
    status.add_argument("--file", metavar="FILE", help="the status file itself")
    status.set_defaults(work=_command_status)
    return parser


def _run(arguments: list[str]) -> int:
    options = _parser().parse_args(arguments)
    code: int = options.work(options)
    return code


def _command_run(options: argparse.Namespace) -> int:
    from cpe_filter import router

    try:
        return router.run(_policy(options.policy))
    except router.CannotRun as error:
        raise Unusable(str(error)) from None


def _command_explain(options: argparse.Namespace) -> int:
    from cpe_filter.enforce import explain

    policy = _policy(options.policy)
    if options.port is not None:
        policy = policy._replace(explain_port=_port(options.port))
    try:
        return explain.run(policy)
    except explain.CannotExplain as error:
        raise Unusable(str(error)) from None


def _port(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) < 6 and 1 <= int(text) <= 65535):
        raise Unusable(f"--port {text}: allowed are 1 to 65535")
    return int(text)


def _command_rules(options: argparse.Namespace) -> int:
    from cpe_filter.enforce import nftables
    from cpe_filter.policy import Policy

    policy = _policy(options.policy) if options.policy else Policy()
    print(nftables.render(policy, nftables.NATIVE if options.handoff == "native" else nftables.XTABLES), end="")
    return EXIT_OK


def _command_check(options: argparse.Namespace) -> int:
    policy = _policy(options.file)
    exemptions = f", {len(policy.exempt)} exemptions" if policy.exempt else ""
    print(f"{options.file}: good. Mode {policy.mode}, fail {policy.fail}, {len(policy.relays)} relays{exemptions}.")
    return EXIT_OK


def _command_status(options: argparse.Namespace) -> int:
    from cpe_filter.report import status

    path = options.file or _policy(options.policy).status_file
    return status.command(path, options.json)


def _policy(path: str | None) -> Policy:
    """The policy of a file; without a file all defaults."""
    from cpe_filter.policy import Policy, PolicyError, load

    if path is None:
        return Policy()
    try:
        return load(path)
    except PolicyError as error:
        raise Unusable(str(error)) from None


def _command_replay(options: argparse.Namespace) -> int:
    from ipaddress import ip_network

    try:
        import dpkt  # noqa: F401
    except ImportError:
        raise Unusable("replay needs dpkt: pip install 'cpe-filter[replay]'") from None
    from cpe_filter.replay import DEFAULT_POLICY, Options

    policy = _policy(options.policy) if options.policy else DEFAULT_POLICY
    policy = policy._replace(ports=tuple(dict.fromkeys((*policy.ports, *map(_port, options.port)))))
    try:
        lan = tuple(ip_network(text, strict=False) for text in options.lan)
    except ValueError as error:
        raise Unusable(f"--lan: {error}; a network such as 192.168.1.0/24 is wanted") from None
    for path in options.leases:
        if not os.path.isfile(path):
            raise Unusable(f"--leases {path}: no such file")
    how = Options(policy, lan, options.addresses, options.sessions, options.timeline, tuple(options.leases))
    if options.json and isinstance(sys.stdout, io.TextIOWrapper):
        # RFC 8259 section 8.1. Bytes of a file's name that are no UTF-8 come out as \udcXX, which is JSON's way, too.
        sys.stdout.reconfigure(encoding="utf-8", errors="backslashreplace")
    if options.html is None:
        return _replay_each(options, how, None)
    from cpe_filter.report.file import CannotWrite, Whole
    from cpe_filter.report.page import Page

    try:
        with Whole(options.html, begins=b"<!DOCTYPE html>") as file:
            page = Page()
            code = _replay_each(options, how, page)
            file.text = page.text()
    except CannotWrite as error:
        raise Unusable(f"--html {options.html}: {error}") from None
    return code


def _replay_each(options: argparse.Namespace, how: Options, page: Page | None) -> int:
    """Judges and shows one capture after the other; `page`, if there is one, takes what came of each."""
    import json

    from cpe_filter.capture import CaptureError
    from cpe_filter.replay import replay, show
    from cpe_filter.report.timeline import Timeline

    code = EXIT_OK
    for number, path in enumerate(options.captures):
        warnings: list[str] = []

        def warn(text: str, path: str = path, warnings: list[str] = warnings) -> None:
            warnings.append(text)
            print(f"cpe-filter: {path}: warning: {text}", file=sys.stderr)

        try:
            timeline = Timeline()
            traced = timeline if options.timeline or page else None
            result = replay(path, how, warn, traced)
        except (CaptureError, OSError) as error:
            reason = error.strerror if isinstance(error, OSError) and error.strerror else error
            print(f"cpe-filter: {path}: {reason}", file=sys.stderr)
            code = EXIT_UNUSABLE
            if page:
                page.failed(path, str(reason))
            continue
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
            _silence()  # the page is wanted all the same
    return code
