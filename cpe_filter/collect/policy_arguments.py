"""The arguments of `cpe-filter policy` at the ISP: build, sign, publish, halt.

Knows argparse. Must not import what does the work: `policy_command` does.
"""

from __future__ import annotations

import argparse
from typing import Any

VERBS = ("build", "sign", "publish", "halt")
_EXITS = "Exit status 1: there was nothing to do; 2: refused, with one line; 3: dangerous, and not done without --yes."


def add_to(verbs: argparse._SubParsersAction[Any]) -> None:
    """Adds the verbs. Their parsers are of the class of `cpe-filter`'s own."""
    of_header = argparse.ArgumentParser(add_help=False)
    _header(of_header)
    build = verbs.add_parser(
        "build",
        parents=[of_header],
        help="at the ISP: check a policy, say what changes, and write the document without a signature",
        description="For a key on another machine. There: signify -S -s KEY -m FILE -x SIG, or usign -S -s KEY -m FILE "
        "-x SIG. Back here: policy sign FILE --signature SIG.",
    )
    build.add_argument("file", metavar="FILE", help="the policy, table or wordings, as --type says")
    build.add_argument("--output", required=True, metavar="FILE", help="the file to write, to be signed as it is")
    sign = verbs.add_parser(
        "sign",
        parents=[of_header],
        help="at the ISP: check a policy, say what changes, and sign it",
        description="Signs a policy with a key of signify or usign, or a document of `build` as it is, or joins that "
        "with a signature made elsewhere. What a router would refuse is refused.",
    )
    sign.add_argument(
        "file", metavar="FILE", help="the policy, table or wordings, as --type says, or a document of `build`"
    )
    how = sign.add_mutually_exclusive_group(required=True)
    how.add_argument("--key", metavar="FILE", help="the secret key, without a passphrase")
    how.add_argument("--signature", metavar="SIG", help="the signature of a document of `build`")
    _keys(sign)
    sign.add_argument("--output", required=True, metavar="DOCUMENT", help="the file to write")
    at = argparse.ArgumentParser(add_help=False)
    at.add_argument("--published", required=True, metavar="DIR", help="the folder that the web server delivers")
    at.add_argument("--channel", default="routers", metavar="NAME", help="the file's name: NAME.signed (routers)")
    _keys(at)
    at.add_argument("--config", metavar="FILE", help="the collector's: its store says which routers it concerns")
    at.add_argument("--dry-run", action="store_true", help="say what would change, and write nothing")
    at.add_argument("--yes", action="store_true", help="publish a dangerous change to many routers at once")
    at.add_argument("--key", metavar="FILE", help="the secret key, to make the next document here")
    at.add_argument("--unsigned", metavar="FILE", help="write the next document there, to be signed on another machine")
    at.add_argument("--expires", default="365", metavar="DAYS", help="of that document, after how many days (365)")
    publish = verbs.add_parser(
        "publish",
        parents=[at],
        help="at the ISP: put a signed document where routers get it, or the next step of its rollout",
        description="Verifies a document, says what changes and for which routers, and puts it into the folder. With "
        f"--permille in place of a document: signs and publishes the current one for more routers. {_EXITS}",
    )
    publish.add_argument("file", metavar="DOCUMENT", nargs="?", help="the signed document")
    publish.add_argument("--permille", metavar="N", help="the current document for so many of 1000 routers")
    halt = verbs.add_parser(
        "halt",
        parents=[at],
        help="at the ISP: publish the policy before the current one, for all routers, at once",
        description="Signs the last policy that reached all routers with a later sequence, for all of the current "
        "audience, and publishes it. Where there is none: an empty one, so that each router's own policy counts. "
        f"{_EXITS}",
    )
    halt.add_argument(
        "--if-advised",
        action="store_true",
        help="only where the collector's store (--config) says so: too many routers took it back or refused it",
    )
    halt.add_argument("--to", metavar="N", help="the policy with this sequence, from the archive; 0: an empty one")


def _header(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--type",
        choices=("policy", "table", "replies"),
        default="policy",
        help="what FILE is: a policy (TOML), a table of `collector calibrate`, or wordings (TOML: [replies] wordings)",
    )
    parser.add_argument("--sequence", metavar="N", help="its number, larger than that of all before")
    parser.add_argument("--published", metavar="DIR", help="the folder of `publish`: the next number, and what changes")
    parser.add_argument("--channel", metavar="NAME", default="routers", help="compare with this channel (routers)")
    parser.add_argument("--expires", default="365", metavar="DAYS", help="after how many days (default: 365)")
    parser.add_argument(
        "--audience", action="append", metavar="WHO", help="router:ID, model:NAME, region:NAME (default: all routers)"
    )
    parser.add_argument("--permille", default="1000", metavar="N", help="for how many of 1000 routers (default: 1000)")
    parser.add_argument("--salt", metavar="TEXT", help="which routers come first; the same for all steps of a rollout")
    parser.add_argument("--min-agent", metavar="VERSION", help="the version of cpe-filter that it needs")
    parser.add_argument("--last", metavar="DOCUMENT", help="the document that routers have now, to say what changes")


def _keys(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--keys", metavar="DIR", default="/etc/cpe-filter/keys", help="public keys, as routers have them"
    )
