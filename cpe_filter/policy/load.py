"""Reads a policy in a child process: the parser's memory is not kept.

Knows how the child returns a policy to this process. Must not know the file's form (file, keys).
"""

from __future__ import annotations

from ipaddress import IPv6Network, ip_network

from cpe_filter.lean.forked import CallFailedError, call
from cpe_filter.policy.model import Exemption, Policy, PolicyError, Reread

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def load(path: str) -> Policy:
    """Reads and checks a policy file, in a child process: the parser's memory is not kept. Raises `PolicyError`."""
    return loaded(path)[0]


def loaded(path: str) -> tuple[Policy, tuple[str, ...]]:
    """The policy of a file, and lines about what it asks for that is not installed (packages). Raises `PolicyError`."""

    def work() -> Any:
        from cpe_filter.policy import file as policy_file

        policy, lacks = policy_file.loaded(path)
        return _plain(policy), lacks

    try:
        plain, lacks = call(work, PolicyError)
        return _from_plain(plain), lacks
    except CallFailedError as error:
        raise PolicyError(f"{path}: could not be read: {error}") from None


def problems(path: str) -> tuple[str, ...]:
    """All that is wrong with a policy file, a line each, in a child process."""

    def work() -> Any:
        from cpe_filter.policy import file as policy_file

        return policy_file.problems(path)

    try:
        return tuple(call(work, PolicyError))
    except CallFailedError as error:
        return (f"{path}: could not be read: {error}",)


def plain_reread(path: str, old: Policy) -> Any:
    """The same while `old` is in force, with the differences, for `from_plain_reread`. Raises `PolicyError`.

    Only in a child (see lean.forked): the parser stays in memory.
    """
    from cpe_filter.policy import file as policy_file

    new = policy_file.reread(path, old)
    return _plain(new.policy), *new[1:]


def from_plain_reread(plain: Any) -> Reread:
    """What `plain_reread` has found."""
    policy, *places = plain
    return Reread(_from_plain(policy), *places)


def _plain(policy: Policy) -> tuple[Any, ...]:
    """A policy as lean.forked can carry it."""
    network, notice = policy.network, policy.notice
    networks: Any = {"relays": tuple(map(str, network.relays)), "nat64": tuple(map(str, network.nat64))}
    helpful: Any = tuple(map(str, notice.helpful))
    policy = policy._replace(network=network._replace(**networks), notice=notice._replace(helpful=helpful))
    return (*map(tuple, policy[:-1]), tuple(map(plain_exemption, policy.exempt)))


def _from_plain(plain: tuple[Any, ...]) -> Policy:
    *tables, exempt = plain
    made: Any = [type(table)(*values) for table, values in zip(Policy()[:-1], tables, strict=True)]
    policy = Policy(*made)
    network = policy.network._replace(
        relays=tuple(map(ip_network, policy.network.relays)), nat64=tuple(map(IPv6Network, policy.network.nat64))
    )
    notice = policy.notice._replace(helpful=tuple(map(ip_network, policy.notice.helpful)))
    return policy._replace(network=network, notice=notice, exempt=tuple(map(from_plain_exemption, exempt)))


def plain_exemption(one: Exemption) -> tuple[Any, ...]:
    """An exemption as lean.forked can carry it."""
    return one.device, str(one.destination) if one.destination else None, one.until, one.reason


def from_plain_exemption(plain: tuple[Any, ...]) -> Exemption:
    device, destination, until, reason = plain
    return Exemption(device, ip_network(destination) if destination else None, until, reason)
