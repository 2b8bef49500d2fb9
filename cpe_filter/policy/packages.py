"""What a policy asks for that is not installed: on a router some folders are in packages of their own.

Knows which folder is in which package, and what the policy is like without. Must not know what is in a folder. The
filter runs without any of them, so that a policy may be provisioned before the package that it needs.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cpe_filter.policy.model import Policy

_PROGRAM = os.path.dirname(os.path.dirname(__file__))


def provided(policy: Policy, program: str = _PROGRAM) -> tuple[Policy, tuple[str, ...]]:
    """The policy as what is installed can carry it out; a line for each thing that it asks for and does not get.

    program: the folder of cpe_filter.
    """
    lines = []
    for folder, table, key, instead, line in _needs(policy):
        if not os.path.isdir(os.path.join(program, folder)):
            changed: dict[str, Any] = {table: getattr(policy, table)._replace(**{key: instead})}
            policy = policy._replace(**changed)
            lines.append(line)
    return policy, tuple(lines)


def _needs(policy: Policy) -> list[tuple[str, str, str, str, str]]:
    """What the policy asks for: folder, table, key, the key's value without that folder, and the line that says so."""
    changes, language = [], policy.notice.language
    if policy.filter.refusal == "explain":
        why = "refusals are resets, without a reason, until the package cpe-filter-explain is installed"
        changes.append(("explain", "filter", "refusal", "reset", f"[filter] refusal: {why}"))
    if policy.notice.show != "off":
        why = "no HTTP leads to the notice until the package cpe-filter-explain is installed"
        changes.append(("explain", "notice", "show", "off", f"[notice] show: {why}"))
    if policy.report.url:
        why = "nothing is reported until the package cpe-filter-report is installed"
        changes.append(("report", "report", "url", "", f"[report] url: {why}"))
    if language != "en":
        why = f"texts are in English until the package cpe-filter-lang-{language} is installed"
        changes.append((os.path.join("texts", language), "notice", "language", "en", f"[notice] language: {why}"))
    return changes
