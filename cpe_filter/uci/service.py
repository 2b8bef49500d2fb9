"""What a supervisor needs to know about a policy: which programs it needs, and when each must be restarted.

Knows the policy's fields and the programs besides `run`. Must not know procd or any other supervisor. `cpe-filter check
--service` prints it, for scripts that cannot read TOML: a word and its value on each line. `cpe-filter uci prepare`
writes it, with what it knows besides (see prepare).

    run DIGEST         the filter; the digest changes if a reload is not sufficient
    explain DIGEST     the responder, if the policy can refuse with an explanation, or shows the notice
    send FILE          the sender, if reports are made: what waits is in this file
    fail WORD          open or closed
    nat64 FILE         where the filter reads the addresses that the router's resolver has for `ipv4only.arpa`
    page FOLDER        where the subscriber's page is, if there is one
    lan NAME, wan NAME interfaces, a line each; one of each must exist before the filter starts
    write FOLDER       where the filter writes
    read FOLDER        where it only reads
"""

from __future__ import annotations

import hashlib
import os

from cpe_filter.home import translators
from cpe_filter.inputs import printable
from cpe_filter.policy.interfaces import is_pattern
from cpe_filter.policy.keys import AT_START, OF_RESPONDER
from cpe_filter.policy.model import Policy
from cpe_filter.toml_file import Key


def lines(policy: Policy) -> list[str]:
    """The lines, programs first. Folders are named once. Characters that cannot be printed become `?`."""
    wanted = [f"run {_digest(policy, AT_START)}"]
    explains = policy.filter.refusal == "explain" and (policy.filter.mode == "block" or policy.filter.escalate)
    if explains or policy.notice.show != "off":
        wanted.append(f"explain {_digest(policy, OF_RESPONDER)}")
    if policy.report.url:
        wanted.append(f"send {printable(_spool(policy))}")
    wanted.append(f"fail {policy.filter.fail}")
    wanted.append(f"nat64 {printable(translators.answers_file(policy.status.status_file))}")
    if policy.notice.page:
        wanted.append(f"page {printable(os.path.dirname(policy.notice.page))}")
    for key, names in (("lan", policy.network.lan), ("wan", policy.network.wan)):
        wanted += [f"{key} {name}" for name in names if not is_pattern(name)]
    files = (policy.status.status_file, policy.status.control_socket, policy.status.metrics_file, policy.notice.page)
    written = _folders((*files, policy.state.state_file, policy.state.exemptions_file))
    certificate = policy.report.certificate if policy.report.url else ""  # names this router in instructions
    read = [folder for folder in _folders((*policy.network.leases, certificate)) if folder not in written]
    return wanted + [f"write {folder}" for folder in written] + [f"read {folder}" for folder in read]


def _spool(policy: Policy) -> str:
    from cpe_filter.report import spool_dir  # in a package of its own; without it no policy has a url

    return os.path.join(spool_dir.folder(policy.status.status_file), spool_dir.SPOOL)


def _digest(policy: Policy, keys: tuple[Key, ...]) -> str:
    values = repr([(key.place, key.value(policy)) for key in keys])
    return hashlib.sha256(values.encode("utf-8", "surrogateescape")).hexdigest()[:16]


def _folders(paths: tuple[str, ...]) -> list[str]:
    return list(dict.fromkeys(printable(os.path.dirname(path)) for path in paths if path))
