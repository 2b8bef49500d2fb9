"""`cpe-filter policy`: a signed document is verified, tried, confirmed or taken back, and shown.

    verify FILE    whose signature it has, and what is in it
    fetch URL...   get the documents there, and apply each that is new
    apply FILE     try it: lay it over the router's policy, reload, look; confirm it, or take it back within a minute
    make           write the policy that `run` reads: the router's own with the documents in force over it
    status         what is in force, tried and refused
    rollback       put the document before in force again

A document's header says of which type it is: a policy, a table of the detector's rates, or replies. Composes apply,
effective, fetch and the folders. Must not know how a document is tried, how a signature is verified, or how a policy is
loaded.
"""

from __future__ import annotations

import time

from cpe_filter.outcome import EXIT_OK, EXIT_UNUSABLE, complain
from cpe_filter.provision import apply as trying
from cpe_filter.provision import effective, shown
from cpe_filter.provision import fetch as getting
from cpe_filter.provision.apply import EXIT_NOT_FETCHED, EXIT_NOT_FOR_US, EXIT_TAKEN_BACK
from cpe_filter.provision.etags import Etags
from cpe_filter.provision.fetch import splay
from cpe_filter.provision.place import TYPES, Place, base_of, date, document_of, folder_of, recipient_of
from cpe_filter.signed import keys
from cpe_filter.signed.document import POLICY_BUNDLE
from cpe_filter.signed.errors import SignedError
from cpe_filter.signed.verify import authenticated

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

#: For several documents the exit status that matters most: the first of these.
_WORST = (EXIT_TAKEN_BACK, EXIT_UNUSABLE, EXIT_NOT_FETCHED, EXIT_NOT_FOR_US, EXIT_OK)


def show(path: str, where: Place) -> int:
    """`policy verify FILE`."""
    data = document_of(path)
    try:
        made = authenticated(data, keys.load(where.keys), TYPES)
    except SignedError as error:
        complain(f"{path}: {error} ({error.code})")
        return EXIT_UNUSABLE
    print(
        f"{path}: good. {made.type.capitalize()} {made.sequence}, signed by key {made.key.hex()}, digest {made.digest}"
    )
    print(f"  issued {date(made.issued)}, expires {date(made.expires)}")
    print(f"  for {', '.join(made.audience)}; {made.rollout_permille} of 1000")
    for table, values in made.content.items():
        names = ", ".join(values) if isinstance(values, dict) else f"{len(values)} entries"
        print(f"  [{table}] {names}")
    return EXIT_OK


def apply(path: str, where: Place, reload: Callable[[], int], say: Callable[[str], None] = print) -> int:
    """`policy apply FILE`. reload: has the running filter read `where.out` again; 0 if it took it."""
    return trying.try_document(document_of(path), path, where, reload, say).code


def fetch(
    urls: Sequence[str],
    ca: str,
    splay_s: float,
    where: Place,
    reload: Callable[[], int],
    say: Callable[[str], None] = print,
) -> int:
    """`policy fetch`: gets the documents at URLs, and applies each that is another one than the last from there."""
    own = base_of(where)[1]
    recipient = recipient_of(own, where)
    if splay_s:
        time.sleep(splay(recipient.router, splay_s))
    trying.finish(where, reload)
    etags = Etags(where, recipient)
    codes = []
    for url in urls:
        try:
            found = getting.fetch(url, ca, own.report.user, etags.of(url))
            if found.document is None:
                say(f"{url}: nothing new")
                etags.unchanged(url)
                codes.append(EXIT_OK)
                continue
            outcome = trying.try_document(found.document, url, where, reload, say)
        except (getting.FetchError, trying.BusyError) as error:
            complain(f"{error}; the policy stays as it was")
            codes.append(EXIT_NOT_FETCHED)
            continue
        etags.note(url, found.etag if trying.is_settled(outcome) else "")
        codes.append(outcome.code)
    return min(codes, key=_WORST.index, default=EXIT_OK)


def make(where: Place) -> int:
    """`policy make`: before `run` starts, and whenever the router's own policy has changed."""
    try:
        trying.after_restart(where)
    except OSError as error:  # it counts for nothing all the same, and `run` needs a policy
        complain(f"{where.folder}: {error.strerror or error}")
    return EXIT_OK if effective.write(where) else EXIT_TAKEN_BACK


def status(where: Place, as_json: bool = False) -> int:
    """`policy status`."""
    for line in [shown.as_json(where)] if as_json else shown.lines(where):
        print(line)
    return EXIT_OK


def roll_back(where: Place, reload: Callable[[], int], kind: str = POLICY_BUNDLE) -> int:
    """`policy rollback`: a person's decision. The document before counts again."""
    outcome = trying.roll_back(where, kind, reload)
    if outcome.result:
        print(f"in force: {shown.named(folder_of(where, kind).good, kind)}")
    return outcome.code
