"""The arguments of `cpe-filter collector`: its verbs, what each takes, and their help.

Knows argparse, and names that are allowed in arguments. Must not import what does the work: `command` does.
"""

from __future__ import annotations

import argparse

from cpe_filter.texts.notice import LANGUAGES

#: Where packages have the configuration.
DEFAULT_CONFIG = "/etc/cpe-filter/collector.toml"
#: What `collector export` writes.
KINDS = ("xarf", "intelmq", "csv")
#: What `collector notice` prints.
FORMATS = ("mail", "json")
#: What a token of the API may do.
ROLES = ("read", "desk", "admin")

#: Verbs that take the configuration alone: help, and what else there is to say.
_PLAIN = {
    "run": ("receive reports and store them, in one process (the default)", ""),
    "ingest": ("receive reports and put them into NATS JetStream", "`collector consume` stores them."),
    "consume": ("store what `collector ingest` has put into NATS JetStream", ""),
    "est": (
        "give and renew certificates of routers (EST, RFC 7030)",
        "A process of its own, which alone needs the key of the authority: see [enrol] and docs/enrolment.md.",
    ),
    "migrate": ("update the store's tables, and end", "run and consume do so, too, when they start."),
    "retain": ("delete what is older than [retention] says, and end", "run and consume do so regularly."),
    "check": (
        "check the configuration, certificates, revocation list and subscriber map",
        "Each error of the configuration has a line.",
    ),
    "doctor": (
        "look at what is deployed, and print a line for each thing: ok, warn or fail",
        "Exit status 1 if something failed. Run it as the user of the service, while the service runs.",
    ),
    "password": (
        "ask for a name, a role and a password for the fleet page, and print the line for the configuration",
        "The configuration file need not exist yet.",
    ),
    "rebuild": ("make all cases again, from incidents, actions and the subscriber map", ""),
    "bounce": (
        "record one returned notice, on stdin, in its case",
        "For the mail system's delivery to [mail] bounce_address. Exit status 75 (EX_TEMPFAIL) if the store cannot be "
        "reached: the mail system tries again later.",
    ),
}


def add_to(collector: argparse.ArgumentParser) -> None:
    """Adds all verbs. `what` is the verb, `config` the file; the rest as `tasks.Options`."""
    collector.description = (
        "Receives the reports of routers, stores them, makes cases, and serves the fleet page. Without a verb it does "
        "what `run` does."
    )
    collector.add_argument(
        "--config",
        metavar="FILE",
        default=DEFAULT_CONFIG,
        help=f"configuration file (TOML); before or after the verb (default: {DEFAULT_CONFIG})",
    )
    # The same option after the verb must not undo what comes before it.
    after = argparse.ArgumentParser(add_help=False)
    after.add_argument("--config", metavar="FILE", default=argparse.SUPPRESS, help="configuration file (TOML)")
    verbs = collector.add_subparsers(metavar="VERB", title="verbs")

    def verb(name: str, text: str, more: str = "") -> argparse.ArgumentParser:
        said = " ".join(one for one in (f"{text[0].upper()}{text[1:]}.", more) if one)
        parser = verbs.add_parser(name, parents=[after], help=text, description=said)
        parser.set_defaults(what=name)
        return parser

    for name, (text, more) in _PLAIN.items():
        verb(name, text, more)
    init = verb("init", "make a folder with certificates, a map, a configuration and a report, for a trial")
    init.add_argument("of", metavar="DIR", help="a new folder")
    init.add_argument("--host", metavar="NAME", help="a name or address of the collector, for its certificate")
    _export(verb("export", "write the incidents of cases in a format that abuse desks read"))
    _webhook(verb("webhook", "list events that the webhook's receiver did not take, or queue them again"))
    _notice(verb("notice", "print the text for the subscriber of a case"))
    _enrol(verb("enrol", "make a one-time token for a router, or with --output a key and a certificate"))
    _routers(verb("routers", "import routers and their factory keys, list certificates, revoke and allow"), after)
    _token(verb("token", "make, list and revoke tokens of the API"), after)
    calibrate = verb("calibrate", "print rates by indicator in cases closed as confirmed or as a false alarm")
    calibrate.add_argument("--output", metavar="PATH", help="also write a proposed table of rates to this file")
    calibrate.add_argument(
        "--relaxing", metavar="PATH", help="also write what of it `policy sign --type table` takes: wider bounds"
    )
    erase = verb(
        "erase",
        "delete what the store has of one subscriber",
        "Cases, incidents, reports, notices and instructions. The audit log keeps its lines. docs/privacy.md says what "
        "comes back, and what is elsewhere.",
    )
    _erase(erase)
    audit = verb("audit", "print the audit log, one JSON object on each line, and check that no line was changed")
    audit.add_argument("--since", metavar="TIME", help="lines since this time, such as 2026-11-24")


def _erase(erase: argparse.ArgumentParser) -> None:
    erase.add_argument("of", metavar="SUBSCRIBER", type=_name, help="the id in the map of subscribers")
    erase.add_argument(
        "--yes", action="store_const", const="yes", help="delete; without it nothing is deleted, and rows are counted"
    )


def _name(text: str) -> str:
    if not text.strip():
        raise argparse.ArgumentTypeError("expected the id of a subscriber")
    return text


def _export(export: argparse.ArgumentParser) -> None:
    export.add_argument("of", metavar="FORMAT", choices=KINDS, help=" or ".join(KINDS))
    export.add_argument(
        "--since", metavar="TIME", help="incidents since this time, such as 2026-11-24 or 2026-11-24T12:00:00Z"
    )
    export.add_argument("--case", metavar="ID", help="this case")
    export.add_argument(
        "--output", metavar="PATH", help="a file, or a folder for one file for each incident (default: stdout)"
    )
    export.add_argument("--mark", metavar="NAME", help="only what has not been exported with this mark")


def _webhook(webhook: argparse.ArgumentParser) -> None:
    webhook.add_argument(
        "of",
        metavar="list|retry",
        choices=("list", "retry"),
        help="list: print them, one JSON object on each line; retry: queue all of them again",
    )


def _notice(notice: argparse.ArgumentParser) -> None:
    notice.add_argument("--case", metavar="ID", required=True, help="this case")
    notice.add_argument(
        "--language",
        metavar="LANG",
        choices=tuple(LANGUAGES),
        help=f"{', '.join(LANGUAGES)} (default: the subscriber's)",
    )
    notice.add_argument("--format", metavar="FORMAT", choices=FORMATS, help="mail (default, RFC 5322) or json")


def _days(text: str) -> str:
    if not (text.isascii() and text.isdecimal() and len(text) < 6):
        raise argparse.ArgumentTypeError("expected a number of days")
    return text


def _enrol(enrol: argparse.ArgumentParser) -> None:
    enrol.add_argument("of", metavar="ID", help="the router's id")
    enrol.add_argument("--output", metavar="DIR", help="write DIR/ID.pem, the key and the certificate, for a trial")


def _routers(routers: argparse.ArgumentParser, after: argparse.ArgumentParser) -> None:
    verbs = routers.add_subparsers(metavar="import|list|revoke|allow", dest="of", required=True)
    load = verbs.add_parser("import", parents=[after], help="add routers, or change their factory keys")
    load.add_argument("name", metavar="FILE", help="CSV with the header router,key; key is a public key or its SHA-256")
    show = verbs.add_parser("list", parents=[after], help="print certificates, one JSON object on each line")
    show.add_argument("name", metavar="ID", nargs="?", help="of this router")
    revoke = verbs.add_parser(
        "revoke", parents=[after], help="revoke all certificates of a router, and give it no more"
    )
    revoke.add_argument("name", metavar="ID", help="the router's id")
    revoke.add_argument("--reason", metavar="TEXT", help="one line for the audit log")
    allow = verbs.add_parser("allow", parents=[after], help="let a router have certificates, again or without a key")
    allow.add_argument("name", metavar="ID", help="the router's id")


def _token(token: argparse.ArgumentParser, after: argparse.ArgumentParser) -> None:
    verbs = token.add_subparsers(metavar="create|list|revoke", dest="of", required=True)
    create = verbs.add_parser(
        "create", parents=[after], help="make a token, and print it once", description="Prints the token on stdout."
    )
    create.add_argument("name", metavar="NAME", help="who uses it: the history of a case names it")
    create.add_argument("--role", metavar="ROLE", choices=ROLES, required=True, help=", ".join(ROLES))
    create.add_argument("--expires", metavar="DAYS", type=_days, required=True, help="after how many days, 1 to 400")
    verbs.add_parser(
        "list", parents=[after], help="print all tokens, one JSON object on each line, without their secrets"
    )
    revoke = verbs.add_parser("revoke", parents=[after], help="end a token at once")
    revoke.add_argument("name", metavar="NAME", help="the name of the token")
