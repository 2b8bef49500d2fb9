"""Leases: work that one process at a time should do. Knows the table desk_mark. Must not know the work.

A lease that is not renewed expires, so a process that dies delays the others only for a while; one that died on this
machine does not delay them. A lease saves work and is not a lock: two processes may do the same work, which is safe.
"""

from __future__ import annotations

import os
import secrets

from cpe_filter.collect.store.base import Store

#: The name of this process in leases.
ME = f"{os.uname().nodename}:{os.getpid()}:{secrets.token_hex(4)}"

_TAKE = """
INSERT INTO desk_mark (name, value, holder) VALUES (:name, :until, :me)
ON CONFLICT (name) DO UPDATE SET value = excluded.value, holder = excluded.holder
WHERE desk_mark.holder = :me OR desk_mark.value <= :now
"""
_GIVE = "UPDATE desk_mark SET value = 0, holder = '' WHERE name = :name AND holder = :me"


async def take(store: Store, name: str, now: int, seconds: int, me: str = ME) -> bool:
    """Takes or renews a lease; False if another process has it. Raises `StoreError`."""
    taking = (_TAKE, {"name": name, "until": now + seconds, "now": now, "me": me})
    if (await store.write([taking]))[0] == 1:
        return True
    rows = await store.read("SELECT holder FROM desk_mark WHERE name = :name", name=name)
    if not rows or not _dead(rows[0]["holder"]):
        return False
    await give(store, name, rows[0]["holder"])
    return (await store.write([taking]))[0] == 1


def _dead(holder: str) -> bool:
    """Whether it was a process of this machine that has ended."""
    node, pid, _ = [*holder.split(":"), "", ""][:3]
    if node != os.uname().nodename or not pid.isdecimal():
        return False
    if int(pid) == os.getpid():
        return holder != ME  # an earlier process with our pid
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except (OSError, OverflowError):
        return False
    return False


async def give(store: Store, name: str, me: str = ME) -> None:
    """Gives a lease back, if `me` has it."""
    await store.write([(_GIVE, {"name": name, "me": me})])
