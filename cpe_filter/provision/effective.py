"""The policy that counts: the router's own with the documents in force over it, of each type one.

Composes overlay and folders. Must not know signatures: what is in the folders was verified before it was put there.
"""

from __future__ import annotations

import os

from cpe_filter import __version__
from cpe_filter.lean.atomic_file import AtomicFile
from cpe_filter.lean.files import lock_folder
from cpe_filter.outcome import complain
from cpe_filter.policy import file as policy_file
from cpe_filter.policy.model import Policy, PolicyError
from cpe_filter.provision import overlay, place
from cpe_filter.provision.place import TYPES, Place, base_of, folder_of
from cpe_filter.signed import document as documents
from cpe_filter.signed import signify
from cpe_filter.signed.document import Document
from cpe_filter.signed.errors import SignedError
from cpe_filter.uci.tables import toml

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

#: Seconds for which another process may write the policy.
_LOCK_S = 10.0


def write(where: Place, without: bytes = b"") -> bool:
    """Writes the policy for `run`. without: a document that does not count. False: a document is left out, because it
    cannot be laid over the router's own policy any more (which has changed). Raises OSError, `UsageError`.
    """
    folder = os.path.dirname(where.out) or "."
    os.makedirs(folder, exist_ok=True)
    # The service writes it, too, when the router's own policy changes: whoever is last knows what both know.
    lock = lock_folder(folder, _LOCK_S)
    try:
        data, _, problems = tables(where, without)
        replace(where.out, toml(data).encode())
    finally:
        if lock >= 0:
            os.close(lock)
    for problem in problems:
        complain(f"the ISP's {problem}")
    return not problems


def replace(path: str, content: bytes) -> None:
    """Replaces the policy for `run`. Raises OSError."""
    made = AtomicFile(path, mode=0o644)
    made.write(content)
    made.finish()


def policy_of(where: Place) -> Policy:
    """The policy that counts now; without the documents that cannot be laid over the router's own."""
    return tables(where)[1]


def policy_with(where: Place, made: Document) -> Policy:
    """The policy with a document in place of the one of its type. Raises `overlay.OverlayError`, `PolicyError`."""
    return policy_file.build(tables(where, replaced=made)[0], "policy")


def kept(document: bytes) -> Document:
    """A document of the folder, which was verified before it was put there; no other user can write there.

    Neither its dates nor its key matter any more: what expires, and what an old key has signed, stays in force until
    another document takes its place. Raises `SignedError` for one that this version cannot read.
    """
    return documents.parse(signify.signed_message(document).message, __version__)


def counting(where: Place, kind: str, without: bytes = b"") -> bytes | None:
    """The document of a type that counts now, tried or in force. Raises OSError."""
    folder = folder_of(where, kind)
    found = folder.in_force(place.boot(), place.uptime())
    if found is not None and found == without:
        found = folder.good
    return None if found == without else found


def tables(
    where: Place, without: bytes = b"", replaced: Document | None = None
) -> tuple[dict[str, Any], Policy, list[str]]:
    """The tables that count now, the policy of them, and for each document that is left out why.

    replaced: in place of the document of its type; what is wrong with it is raised.
    """
    data, policy = base_of(where)
    problems = []
    for kind in TYPES:
        if replaced is not None and replaced.type == kind:
            data = overlay.laid_over(data, replaced)
            policy = policy_file.build(data, "policy")
            continue
        try:
            document = counting(where, kind, without)
            if document is None:
                continue
            both = overlay.laid_over(data, kept(document))
            policy = policy_file.build(both, where.base)
            data = both
        except (SignedError, overlay.OverlayError, PolicyError, OSError) as error:
            problems.append(f"{kind} is left out: {error}")
    return data, policy, problems
