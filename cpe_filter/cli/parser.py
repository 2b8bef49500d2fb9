"""The arguments of every command: names, help, defaults. `work` names the command that commands carries out.

Knows argparse. Must not import a command.
"""

from __future__ import annotations

import argparse
import sys
from typing import NoReturn

from cpe_filter import __version__
from cpe_filter.lean.log_output import one_line
from cpe_filter.outcome import EXIT_UNUSABLE


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        self.exit(EXIT_UNUSABLE, f"{self.prog}: error: {one_line(message)}\n")


def make_parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="cpe-filter",
        description="An SMTP egress filter for subscriber routers: finds the compromised device and "
        "leaves legitimate mail alone.",
    )
    parser.add_argument("--version", action="version", version=f"cpe-filter {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)

    run = commands.add_parser("run", help="filter live traffic (as root, on a router)")
    run.add_argument("--policy", required=True, metavar="FILE", help="policy file (TOML)")
    run.add_argument("--version", action="version", version=f"cpe-filter {__version__}")
    run.set_defaults(work="run")

    _replay_command(commands)
    _control_commands(commands)

    rules = commands.add_parser("rules", help="print the nftables ruleset that run installs, or remove it")
    rules.add_argument("--policy", metavar="FILE", help="policy file (TOML)")
    rules.add_argument(
        "--handoff",
        choices=("native", "xtables"),
        default="native",
        help="queue with nftables (native) or iptables (xtables)",
    )
    rules.add_argument("--remove", action="store_true", help="remove the ruleset that a filter in fail closed has left")
    rules.add_argument("--force", action="store_true", help="with --remove: even if a filter is running")
    rules.add_argument("--socket", metavar="PATH", help="control socket of the filter (default: as in the policy)")
    rules.set_defaults(work="rules")

    check = commands.add_parser("check", help="check a policy file")
    check.add_argument("file", metavar="FILE", help="policy file (TOML); each error in it has a line")
    check.add_argument("--service", action="store_true", help="print what a supervisor needs to know, for scripts")
    check.set_defaults(work="check")

    uci = commands.add_parser(
        "uci",
        help="on OpenWrt: make the policy from UCI",
        description="Makes the policy from /etc/config/cpe-filter, the firewall's zones and netifd's networks. The "
        "service calls it.",
    )
    uci.add_argument(
        "what",
        choices=("policy", "prepare", "migrate"),
        help="policy: print it as TOML; prepare: write what the service starts from; migrate: remove lists of networks "
        "that earlier versions made at installation",
    )
    uci.set_defaults(work="uci")

    explain = commands.add_parser("explain", help="tell refused senders why, over SMTP (554); accepts no mail")
    explain.add_argument("--policy", metavar="FILE", help="policy file (TOML)")
    explain.add_argument("--port", metavar="N", help="listen on this port (default: as in the policy)")
    explain.set_defaults(work="explain")

    _policy_commands(commands)
    _report_commands(commands)

    status = commands.add_parser("status", help="show devices, standings and counters of the running filter")
    status.add_argument("--json", action="store_true", help="print the status file unchanged")
    status.add_argument(
        "--watch", nargs="?", const="2", metavar="SECONDS", help="repeat every SECONDS (default: 2) until Ctrl-C"
    )
    status.add_argument("--policy", metavar="FILE", help="policy file that names the status file")
    status.add_argument("--file", metavar="FILE", help="status file")
    status.set_defaults(work="status")

    _collector_command(commands)
    return parser


def _replay_command(commands: argparse._SubParsersAction[_Parser]) -> None:
    """Captures, in whatever form they come."""
    replay = commands.add_parser("replay", help="analyse captures: files, folders, pipes")
    replay.add_argument(
        "captures", nargs="+", metavar="CAPTURE", help="a pcap or pcapng file, a folder of them, a pipe, or - for stdin"
    )
    replay.add_argument(
        "--join", action="store_true", help="judge all files as one capture, in the order of their first packets"
    )
    replay.add_argument(
        "--follow", action="store_true", help="print verdicts as they come, while a pipe or file is still written to"
    )
    replay.add_argument(
        "--format",
        choices=("table", "json", "csv", "html"),
        help="table (default); json: one object per capture, each on a line; csv: a row for each device, or with "
        "--sessions for each session; html: a page",
    )
    replay.add_argument("--json", action="store_true", help="the same as --format json")
    replay.add_argument("--sessions", action="store_true", help="also list SMTP sessions")
    replay.add_argument("--addresses", action="store_true", help="show complete addresses instead of domains")
    replay.add_argument(
        "--lan", action="append", default=[], metavar="CIDR", help="treat only clients in this network as devices"
    )
    replay.add_argument(
        "--leases",
        action="append",
        default=[],
        metavar="FILE",
        help="take device names from this lease file of a router",
    )
    replay.add_argument("--port", action="append", default=[], metavar="N", help="also treat this port as mail")
    replay.add_argument("--policy", metavar="FILE", help="policy file (default: mode monitor, with escalation)")
    replay.add_argument("--timeline", action="store_true", help="draw how the score of each device developed")
    replay.add_argument("--html", metavar="FILE", help="write an HTML page with all of this, and more, to FILE")
    replay.add_argument(
        "--color",
        choices=("auto", "always", "never"),
        default="auto",
        help="colours (default: auto, in a terminal, unless NO_COLOR is set)",
    )
    replay.set_defaults(work="replay")


def _collector_command(commands: argparse._SubParsersAction[_Parser]) -> None:
    """The program of the ISP. A router's package has neither it nor its arguments."""
    collector = commands.add_parser("collector", help="at the ISP: receive and store reports of routers, make cases")
    collector.set_defaults(work="collector", what="run")
    try:
        from cpe_filter.collect import arguments
    except ImportError:
        collector.add_argument("--config", help=argparse.SUPPRESS)
        collector.add_argument("words", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    else:
        arguments.add_to(collector)


def _policy_commands(commands: argparse._SubParsersAction[_Parser]) -> None:
    """The ISP's signed policy."""
    policy = commands.add_parser(
        "policy",
        help="the ISP's signed policy: verify, apply, status, rollback; at the ISP: build, sign, publish, halt",
        description="A policy that the ISP has signed is laid over this router's own, tried, and kept or taken back. "
        "So are tables and wordings for the detector.",
    )
    verbs = policy.add_subparsers(dest="verb", metavar="VERB", required=True)
    keys = _Parser(add_help=False)
    keys.add_argument(
        "--keys", metavar="DIR", default="/etc/cpe-filter/keys", help="public keys (default: /etc/cpe-filter/keys)"
    )
    folder = _Parser(add_help=False, parents=[keys])
    folder.add_argument(
        "--folder",
        metavar="DIR",
        default="/etc/cpe-filter/provision",
        help="where documents are kept, on flash (default: /etc/cpe-filter/provision)",
    )
    place = _Parser(add_help=False, parents=[folder])
    place.add_argument("--policy", required=True, metavar="FILE", help="the router's own policy (TOML)")
    place.add_argument("--out", required=True, metavar="FILE", help="the policy that `run` reads; it is written")
    place.add_argument("--model", metavar="NAME", help="this router's model, for documents that are for one")
    place.add_argument("--region", metavar="NAME", help="its region, for documents that are for one")
    running = _Parser(add_help=False, parents=[place])
    running.add_argument("--socket", metavar="PATH", help="control socket of the filter (default: as in the policy)")
    running.add_argument(
        "--service", metavar="SCRIPT", help="also have the service follow the policy: SCRIPT is started with `reload`"
    )
    verify = verbs.add_parser("verify", parents=[keys], help="say who has signed a document, and what is in it")
    verify.add_argument("file", metavar="DOCUMENT", help="the signed document")
    apply = verbs.add_parser(
        "apply",
        parents=[running],
        help="try a document, and keep it or take it back within a minute",
        description="Lays a document over the router's own policy, has the filter reload, and looks whether all works "
        "that did before: the filter, its rules, DNS and the collector. If not, the policy before comes back. Exit "
        "status 4: it was taken back; 5: it is not for this router yet.",
    )
    apply.add_argument("file", metavar="DOCUMENT", help="the signed document")
    fetch = verbs.add_parser(
        "fetch",
        parents=[running],
        help="get the documents at URLs, and apply each that is new",
        description="Gets documents by HTTPS and applies each that is another one than the last from there. For cron. "
        "Exit status 1: one was not fetched; else as `apply`.",
    )
    fetch.add_argument("url", nargs="+", metavar="URL", help="https://HOST/PATH; any web server that has the file")
    fetch.add_argument("--ca", metavar="FILE", help="certificates (PEM) that are trusted (default: the system's)")
    fetch.add_argument(
        "--splay", default="0", metavar="SECONDS", help="wait for this router's second of so many (default: 0)"
    )
    status = verbs.add_parser("status", parents=[folder], help="show what is in force, tried and refused")
    status.add_argument("--json", action="store_true", help="print it as one JSON object")
    rollback = verbs.add_parser("rollback", parents=[running], help="put the document before in force again")
    rollback.add_argument(
        "--type", choices=("policy", "table", "replies"), default="policy", help="of which type (default: policy)"
    )
    verbs.add_parser(
        "make",
        parents=[place],
        help="write the policy that `run` reads: the router's own with the documents in force over it",
    )
    _policy_at_isp(verbs)
    policy.set_defaults(work="policy")


def _policy_at_isp(verbs: argparse._SubParsersAction[_Parser]) -> None:
    """A router's package has neither these verbs nor their arguments."""
    try:
        from cpe_filter.collect import policy_arguments
    except ImportError:
        return
    policy_arguments.add_to(verbs)


def _report_commands(commands: argparse._SubParsersAction[_Parser]) -> None:
    """Commands about reports to the ISP."""
    send = commands.add_parser(
        "send",
        help="send reports to the collector of the ISP",
        description="Sends queued reports to the collector at [report] url if they are due, prints when the next are "
        "due, and exits. If root starts it, it becomes [report] user before it opens a connection.",
    )
    send.add_argument("--policy", required=True, metavar="FILE", help="policy file (TOML)")
    ways = send.add_mutually_exclusive_group()
    ways.add_argument("--once", action="store_true", help="send now, whether or not reports are due")
    ways.add_argument(
        "--wait", action="store_true", help="sleep until reports are due, send once, and exit; for a supervisor"
    )
    send.set_defaults(work="send")

    enrol = commands.add_parser(
        "enrol",
        help="get the router's certificate for the collector, or renew it when it is due (EST)",
        description="Asks the ISP's EST server (RFC 7030) for a certificate, if the router has none or its own is past "
        "two thirds of its life, and writes it with a new key to [report] certificate. Exit status 1: none was issued.",
    )
    enrol.add_argument("--policy", required=True, metavar="FILE", help="policy file (TOML), for [report]")
    enrol.add_argument("--url", required=True, metavar="URL", help="the server, https://HOST[:PORT]")
    enrol.add_argument("--ca", metavar="FILE", help="certificates (PEM) that it is trusted by (default: [report] ca)")
    enrol.add_argument("--id", metavar="ID", help="the router's id (default: that of its certificate)")
    enrol.add_argument("--factory-key", metavar="FILE", help="private key from the factory (PEM)")
    enrol.add_argument("--factory-certificate", metavar="FILE", help="its certificate (PEM), if there is one")
    enrol.add_argument("--token", metavar="FILE", help="a file with a one-time token, for trials")
    enrol.add_argument("--now", action="store_true", help="also if it is not due")
    enrol.set_defaults(work="enrol")

    report = commands.add_parser("report", help="show what is reported to the ISP")
    verbs = report.add_subparsers(dest="verb", metavar="show", required=True)
    show = verbs.add_parser("show", help="print the last reports and the queued ones, verbatim")
    show.add_argument("--policy", metavar="FILE", help="policy file that says where the files are")
    show.add_argument("--json", action="store_true", help="print one JSON object")
    show.set_defaults(work="report_show")


_EXEMPT_EXAMPLE = """\
examples:
  cpe-filter exempt add --device 02:00:00:12:34:56 \\
      --reason "the family's own mail server"
  cpe-filter exempt add --device 02:00:00:12:34:56 \\
      --destination 192.0.2.25 --for 7d --reason "until it is moved"
"""


def _control_commands(commands: argparse._SubParsersAction[_Parser]) -> None:
    """Commands for the running filter."""
    where = _Parser(add_help=False)
    where.add_argument("--policy", metavar="FILE", help="policy file that names control socket and files")
    where.add_argument("--socket", metavar="PATH", help="control socket of the filter (default: as in the policy)")

    reload = commands.add_parser(
        "reload",
        parents=[where],
        help="reload the policy and the exemptions",
        description="Makes the running filter read its policy file and its exemptions again. If one is invalid the "
        "filter keeps the old policy. Connections and standings of devices are not affected. SIGHUP does the same.",
    )
    reload.set_defaults(work="reload")

    release = commands.add_parser(
        "release",
        parents=[where],
        help="unblock a compromised device that has been cleaned",
        description="Unblocks a compromised device that has been cleaned. It becomes suspected: new evidence blocks it "
        "again, earlier than the first time; accepted mail clears it.",
    )
    release.add_argument("device", metavar="DEVICE", help="device as `status` shows it, its MAC, or its DHCP host name")
    release.add_argument("--reason", default="", metavar="TEXT", help="one line for the log")
    release.set_defaults(work="release")

    exempt = commands.add_parser(
        "exempt",
        help="let a device send mail directly to a destination: add, list, remove",
        description="Manages exemptions. They take effect at once and survive restarts. Exempt devices are still "
        "monitored.",
    )
    verbs = exempt.add_subparsers(dest="verb", metavar="add|list|remove", required=True)
    add = verbs.add_parser(
        "add",
        parents=[where],
        help="add an exemption, or replace the one for the same device and destination",
        epilog=_EXEMPT_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add.add_argument("--device", default="any", metavar="MAC", help="this device (default: any)")
    add.add_argument("--destination", default="any", metavar="NET", help="to this address or network (default: any)")
    ends = add.add_mutually_exclusive_group()
    ends.add_argument(
        "--until", metavar="DATE", help="last day, such as 2027-01-31, or time, such as 2027-01-31T18:00:00Z"
    )
    ends.add_argument(
        "--for", dest="lasts", metavar="DURATION", help="duration from now, such as 90m, 12h, 7d, 2w (default: no end)"
    )
    add.add_argument("--reason", required=True, metavar="TEXT", help="one line that says what it is for")
    add.set_defaults(work="exempt_add")
    listing = verbs.add_parser("list", parents=[where], help="list exemptions, including those of the policy file")
    listing.add_argument("--json", action="store_true", help="print one JSON list; times are POSIX seconds")
    listing.set_defaults(work="exempt_list")
    remove = verbs.add_parser("remove", parents=[where], help="remove exemptions by id, or all that match")
    remove.add_argument("ids", nargs="*", metavar="ID", help="id as `exempt list` shows it")
    remove.add_argument("--device", metavar="MAC", help='all for this device; "any": those for any device')
    remove.add_argument("--destination", metavar="NET", help="all for exactly this destination")
    remove.set_defaults(work="exempt_remove")
