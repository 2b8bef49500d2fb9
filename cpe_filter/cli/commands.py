"""The commands besides `run`: their arguments, and the way to their work, which is elsewhere.

Each command makes its own imports. `main` handles what is raised here, exit codes and output.
"""

from __future__ import annotations

import argparse
import os
import sys

from cpe_filter import __version__
from cpe_filter.cli.run import policy_of, run_filter
from cpe_filter.cli.values import port, seconds
from cpe_filter.outcome import EXIT_OK, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cpe_filter.cli.control import Filter
    from cpe_filter.policy.model import Policy


def run(arguments: list[str]) -> int:
    """Does what the arguments say; returns the exit code. Wrong arguments and `--help` end the process."""
    options = _parser().parse_args(arguments)
    code: int = options.work(options)
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="cpe-filter",
        description="An SMTP egress filter for subscribers' routers: finds the compromised device, lets mail be.",
    )
    parser.add_argument("--version", action="version", version=f"cpe-filter {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)

    run = commands.add_parser("run", help="filter live traffic (as root, on the router)")
    run.add_argument("--policy", required=True, metavar="FILE", help="the policy, TOML")
    run.add_argument("--version", action="version", version=f"cpe-filter {__version__}")
    run.set_defaults(work=lambda options: run_filter(options.policy))

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

    _control_commands(commands)

    rules = commands.add_parser("rules", help="print the ruleset that run installs, or remove what is left of one")
    rules.add_argument("--policy", metavar="FILE", help="the policy, TOML")
    rules.add_argument(
        "--handoff", choices=("native", "xtables"), default="native", help="by nft's queue, or with xtables' NFQUEUE"
    )
    rules.add_argument("--remove", action="store_true", help="take out what a filter in fail closed has left")
    rules.add_argument("--force", action="store_true", help="with --remove: also while a filter runs")
    rules.add_argument("--socket", metavar="PATH", help="the running filter's control socket (default: the policy's)")
    rules.set_defaults(work=_command_rules)

    check = commands.add_parser("check", help="check a policy file")
    check.add_argument("file", metavar="FILE")
    check.add_argument("--service", action="store_true", help="say what a supervisor has to know of it, for scripts")
    check.set_defaults(work=_command_check)

    explain = commands.add_parser("explain", help="answer refused mail by SMTP, saying why; take none")
    explain.add_argument("--policy", metavar="FILE", help="the policy, TOML")
    explain.add_argument("--port", metavar="N", help="listen there (default: the policy's)")
    explain.set_defaults(work=_command_explain)

    _report_commands(commands)

    status = commands.add_parser("status", help="what the running filter sees")
    status.add_argument("--json", action="store_true", help="the status file as it is")
    status.add_argument(
        "--watch", nargs="?", const="2", metavar="SECONDS", help="again every so many seconds (2) until Ctrl-C"
    )
    status.add_argument("--policy", metavar="FILE", help="the policy that names the status file")
    status.add_argument("--file", metavar="FILE", help="the status file itself")
    status.set_defaults(work=_command_status)

    collector = commands.add_parser("collector", help="at the ISP: take routers' reports and keep them")
    collector.add_argument("--config", required=True, metavar="FILE", help="the collector's configuration, TOML")
    collector.add_argument(
        "what",
        nargs="?",
        default="run",
        choices=(
            "run",
            "ingest",
            "consume",
            "migrate",
            "retain",
            "check",
            "password",
            "export",
            "rebuild",
            "webhook",
            "notice",
        ),
        help="run (default): all in one process; ingest, consume: with NATS JetStream between; migrate, retain, check; "
        "password: a user for the fleet page; export xarf|intelmq|csv; rebuild: all cases; webhook list|retry; "
        "notice: what may be written to the subscriber of a case",
    )
    collector.add_argument("of", nargs="?", metavar="OF", help="of export: xarf, intelmq, csv; of webhook: list, retry")
    collector.add_argument("--since", metavar="TIME", help="export: incidents since 2026-11-24 or 2026-11-24T12:00:00Z")
    collector.add_argument("--case", metavar="ID", help="export: incidents of this case; notice: of this case")
    collector.add_argument("--language", metavar="LANG", help="notice: en, nl, de or tr (default: [notice] language)")
    collector.add_argument("--format", metavar="FORMAT", help="notice: mail (default, RFC 5322) or json")
    collector.add_argument("--output", metavar="PATH", help="export: to a file, or into a folder (default: stdout)")
    collector.add_argument("--mark", metavar="NAME", help="export: what was not exported under this mark before")
    collector.set_defaults(work=_command_collector)
    return parser


def _report_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Commands about reports to the Internet provider."""
    send = commands.add_parser(
        "send",
        help="bring reports to the Internet provider's collector",
        description="Sends what waits to the collector of [report] url, if it is time, and ends. It says when to come "
        "again. Started by root it becomes [report] user before it opens a connection.",
    )
    send.add_argument("--policy", required=True, metavar="FILE", help="the policy, TOML")
    ways = send.add_mutually_exclusive_group()
    ways.add_argument("--once", action="store_true", help="now, whatever the schedule says")
    ways.add_argument("--wait", action="store_true", help="sleep until it is time, send once; for a supervisor")
    send.set_defaults(work=_command_send)

    report = commands.add_parser("report", help="what the Internet provider was told and will be told: show")
    verbs = report.add_subparsers(dest="verb", metavar="show", required=True)
    show = verbs.add_parser("show", help="the last reports and those that wait, word for word")
    show.add_argument("--policy", metavar="FILE", help="the filter's policy, which says where its files are")
    show.add_argument("--json", action="store_true", help="as one JSON object")
    show.set_defaults(work=_command_report_show)


_EXEMPT_EXAMPLE = """\
for example:
  cpe-filter exempt add --device 02:00:00:12:34:56 --reason "the family's own mail server"
  cpe-filter exempt add --device 02:00:00:12:34:56 --destination 192.0.2.25 --for 7d --reason "until it is moved"
"""


def _control_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Those that talk to the running filter."""
    where = argparse.ArgumentParser(add_help=False)
    where.add_argument("--policy", metavar="FILE", help="the filter's policy, which names its socket and files")
    where.add_argument("--socket", metavar="PATH", help="the filter's control socket (default: the policy's)")

    reload = commands.add_parser(
        "reload",
        parents=[where],
        help="have the running filter read its policy again",
        description="Has the running filter read its policy file and its exemptions again. What is wrong is refused, "
        "and the old policy stays. Connections that run, and what is known of devices, are not disturbed. SIGHUP does "
        "the same.",
    )
    reload.set_defaults(work=_command_reload)

    release = commands.add_parser(
        "release",
        parents=[where],
        help="a compromised device has been cleaned: let it try again",
        description="Says that a compromised device has been cleaned. It is a suspect from now on, no longer blocked "
        "for what it did: new evidence blocks it again, sooner than the first time, and mail that is taken clears it.",
    )
    release.add_argument("device", metavar="DEVICE", help="as `status` shows it, its MAC, or its name in DHCP")
    release.add_argument("--reason", default="", metavar="TEXT", help="one line for the log")
    release.set_defaults(work=_command_release)

    exempt = commands.add_parser(
        "exempt",
        help="let a device send mail straight to a destination: add, list, remove",
        description="Exemptions, effective at once and kept across restarts. An exempt device stays watched.",
    )
    verbs = exempt.add_subparsers(dest="verb", metavar="add|list|remove", required=True)
    add = verbs.add_parser(
        "add",
        parents=[where],
        help="add an exemption, or change the one of the same device and destination",
        epilog=_EXEMPT_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add.add_argument("--device", default="any", metavar="MAC", help="this device (default: any)")
    add.add_argument("--destination", default="any", metavar="NET", help="to this address or network (default: any)")
    ends = add.add_mutually_exclusive_group()
    ends.add_argument("--until", metavar="DATE", help="to the end of 2027-01-31, or to 2027-01-31T18:00:00Z")
    ends.add_argument("--for", dest="lasts", metavar="DURATION", help="so long from now: 12h, 7d (default: for ever)")
    add.add_argument("--reason", required=True, metavar="TEXT", help="one line, for the log and whoever asks later")
    add.set_defaults(work=_command_exempt_add)
    listing = verbs.add_parser("list", parents=[where], help="list exemptions, those of the policy file, too")
    listing.add_argument("--json", action="store_true", help="as one JSON list; times are POSIX seconds")
    listing.set_defaults(work=_command_exempt_list)
    remove = verbs.add_parser("remove", parents=[where], help="remove exemptions by id, or all that match")
    remove.add_argument("ids", nargs="*", metavar="ID", help="as `exempt list` shows it")
    remove.add_argument("--device", metavar="MAC", help='all of this device; "any": those for any device')
    remove.add_argument("--destination", metavar="NET", help="all for this destination")
    remove.set_defaults(work=_command_exempt_remove)


def _command_explain(options: argparse.Namespace) -> int:
    from cpe_filter.explain import command as explain

    policy = policy_of(options.policy)
    if options.port is not None:
        policy = policy._replace(explain=policy.explain._replace(port=port(options.port)))
    try:
        return explain.run(policy)
    except explain.ExplainError as error:
        raise UsageError(str(error)) from None


def _command_send(options: argparse.Namespace) -> int:
    try:
        return _send(options)
    except ImportError:  # on a router it is in a package of its own, like TLS and HTTP, which nothing else needs
        raise UsageError("'send' needs the package cpe-filter-report, which is missing or incomplete") from None


def _send(options: argparse.Namespace) -> int:
    from cpe_filter.send import send

    try:
        return send.run(policy_of(options.policy), "once" if options.once else "wait" if options.wait else "")
    except send.NoReportsError as error:
        print(f"cpe-filter: {error}", file=sys.stderr)
        return send.UNDELIVERED
    except send.CannotSendError as error:
        raise UsageError(str(error)) from None


def _command_report_show(options: argparse.Namespace) -> int:
    from cpe_filter.cli import report_show as reported

    try:
        reported.show(policy_of(options.policy), options.json, print)
    except reported.NotShownError as error:
        raise UsageError(str(error)) from None
    return EXIT_OK


def _command_rules(options: argparse.Namespace) -> int:
    if options.remove:
        from cpe_filter.cli import control as ask

        return ask.rules_remove(_running(options)[0], options.force)
    if options.force:
        raise UsageError("--force goes with --remove")
    from cpe_filter.enforce import ruleset
    from cpe_filter.enforce.ruleset_names import NATIVE, XTABLES
    from cpe_filter.policy.model import Policy

    policy = policy_of(options.policy) if options.policy else Policy()
    print(ruleset.render(policy, NATIVE if options.handoff == "native" else XTABLES), end="")
    return EXIT_OK


def _running(options: argparse.Namespace) -> tuple[Filter, Policy]:
    """The filter to talk to, and the policy that says where it is."""
    from cpe_filter.cli.control import Filter

    policy = policy_of(options.policy)
    return Filter(os.path.abspath(options.socket or policy.status.control_socket)), policy


def _command_reload(options: argparse.Namespace) -> int:
    from cpe_filter.cli import control as ask

    return ask.reload(_running(options)[0])


def _command_release(options: argparse.Namespace) -> int:
    from cpe_filter.cli import control as ask

    return ask.release(_running(options)[0], options.device, options.reason)


def _command_exempt_add(options: argparse.Namespace) -> int:
    from cpe_filter.cli import control as ask

    filter_, policy = _running(options)
    return ask.exempt_add(
        filter_, policy, options.device, options.destination, options.until, options.lasts, options.reason
    )


def _command_exempt_list(options: argparse.Namespace) -> int:
    from cpe_filter.cli import control as ask

    filter_, policy = _running(options)
    return ask.exempt_list(filter_, policy, os.path.abspath(options.policy) if options.policy else "", options.json)


def _command_exempt_remove(options: argparse.Namespace) -> int:
    from cpe_filter.cli import control as ask

    filter_, policy = _running(options)
    return ask.exempt_remove(filter_, policy, options.policy or "", options.ids, options.device, options.destination)


def _command_collector(options: argparse.Namespace) -> int:
    try:
        from cpe_filter.collect import command
    except ImportError as error:
        raise UsageError(f"collector needs {error.name}: pip install 'cpe-filter[collector]'") from None
    names = ("of", "since", "case", "output", "mark", "language", "format")
    return command.main(options.config, options.what, **{name: getattr(options, name) for name in names})


def _command_replay(options: argparse.Namespace) -> int:
    try:
        import dpkt  # noqa: F401

        from cpe_filter.replay import command
    except ImportError as error:  # a router's package has neither
        raise UsageError(f"replay needs {error.name}: pip install 'cpe-filter[replay]'") from None
    policy = policy_of(options.policy) if options.policy else None
    return command.run(options, policy, tuple(map(port, options.port)))


def _command_check(options: argparse.Namespace) -> int:
    policy = policy_of(options.file)
    if options.service:
        from cpe_filter.cli import service

        print("\n".join(service.lines(policy)))
        return EXIT_OK
    exemptions = f", {len(policy.exempt)} exemptions" if policy.exempt else ""
    mode, fail, relays = policy.filter.mode, policy.filter.fail, len(policy.network.relays)
    print(f"{options.file}: good. Mode {mode}, fail {fail}, {relays} relays{exemptions}.")
    return EXIT_OK


def _command_status(options: argparse.Namespace) -> int:
    from cpe_filter.status import show

    path = options.file or policy_of(options.policy).status.status_file
    if options.watch is None:
        return show.once(path, options.json)
    return show.watch(path, options.json, seconds(options.watch, show.LEAST_S, show.MOST_S))
