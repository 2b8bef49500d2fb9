"""Where things are on OpenWrt.

Knows paths. Must not know what is in a file. `ROOT` is before each of them, for tests; paths that a policy names have
none.
"""

from __future__ import annotations

ROOT = ""

PROGRAM = "/usr/bin/cpe-filter"
RUN = "/var/run/cpe-filter"
#: In RUN: the policy of the service; what it starts from (see prepare); why UCI is not used; what else a user must
#: know; the devices that networks had; whether a jail can be built; the number of `run`, by procd.
POLICY, SERVICE, CONFIG_ERROR, NOTES = "policy.toml", "service", "config-error", "notes"
DEVICES, JAIL, PID = "devices", "jail", "run.pid"
#: In RUN: the policy without the ISP's documents, where these can be laid over it; the words behind `cpe-filter` of a
#: fetch and of an enrolment.
OWN, FETCH, ENROL = "own.toml", "fetch", "enrol"
#: The ISP's documents, their keys, and the service's script, which follows a policy that has changed.
PROVISION, KEYS = "/etc/cpe-filter/provision", "/etc/cpe-filter/keys"
SCRIPT = "/etc/init.d/cpe-filter"
#: In RUN: another text after each installation (uci-defaults).
INSTALLED = "installed"
#: The last good policy, for a boot with bad UCI: on flash.
LAST = "/etc/cpe-filter/policy.last.toml"
#: Where fw4 finds the rules of fail closed, and the link that has it start the service at boot.
RULES = "/usr/share/nftables.d/ruleset-post/20-cpe-filter.nft"
ENABLED = "/etc/rc.d/S21cpe-filter"
CAPABILITIES = "/etc/capabilities/cpe-filter.json"
UJAIL = "/sbin/ujail"
#: http://ROUTER/mail-filter/
PAGE = "/www/mail-filter"
SYS = "/sys"


def at(path: str) -> str:
    """A path of this machine."""
    return ROOT + path


def run(name: str) -> str:
    """A file of the service's folder."""
    return f"{ROOT}{RUN}/{name}"


def read(path: str, most: int = 1 << 20) -> bytes:
    """A file's content, cut at so many bytes; empty if it cannot be read."""
    try:
        with open(path, "rb") as file:
            return file.read(most)
    except OSError:
        return b""
