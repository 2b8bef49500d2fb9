"""The commands `reload`, `release`, `exempt` and `rules --remove`.

Knows arguments, what to do if no filter runs, and what is printed. Must not know how the filter does it (see
control). Not part of the running filter: it costs the router memory only while a command runs.

Each returns the exit code: 0 done, 1 no filter runs, 2 unusable or refused.
"""

from __future__ import annotations

import json
import os
from datetime import date, datetime
from typing import Any

from cpe_filter.inputs import shown
from cpe_filter.lean.clocks import posix
from cpe_filter.lean.files import already_running
from cpe_filter.lean.log_output import one_line
from cpe_filter.live import requests
from cpe_filter.live.control_socket import NoAnswerError, NotRunningError, ask, holder_of
from cpe_filter.outcome import EXIT_OK, EXIT_UNUSABLE, complain
from cpe_filter.policy import exemptions, exemptions_store
from cpe_filter.policy import file as policy_file
from cpe_filter.policy.exemptions import clock
from cpe_filter.policy.model import Policy, PolicyError

EXIT_NOT_RUNNING = 1

#: How long `--for` may be; for a longer time leave it out.
MAX_DAYS = 3650
_UNITS = {"m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
#: Seconds that a command waits for another one that changes the file.
_LOCK_S = 5.0


class RefusedError(Exception):
    """The filter refuses the request, or the command cannot be carried out; the text says why."""


class Filter:
    """The running filter, if there is one, at its control socket."""

    def __init__(self, path: str) -> None:
        self.path = path

    def send(self, request: dict[str, Any]) -> dict[str, Any]:
        """Its answer. Raises `NotRunningError`, and `RefusedError` with its reason."""
        try:
            answer = ask(self.path, {**request, "sudo": sudo()})
        except NoAnswerError as error:
            raise RefusedError(str(error)) from None
        if "error" in answer:
            raise RefusedError(str(answer["error"]))
        return answer

    def do(self, request: dict[str, Any]) -> int:
        """Sends a request, and prints the answer."""
        try:
            answer = self.send(request)
        except NotRunningError as error:
            complain(f"no filter is running: {error}; use --socket for another control socket")
            return EXIT_NOT_RUNNING
        except RefusedError as error:
            return _unusable(error)
        _print(answer)
        return EXIT_OK


def sudo() -> list[str] | None:
    """The uid and name of the user who called sudo, if any."""
    who = [os.environ.get("SUDO_UID", ""), os.environ.get("SUDO_USER", "")]
    return [part[:64] for part in who] if all(who) else None


def reload(filter_: Filter) -> int:
    """`cpe-filter reload`."""
    return filter_.do({"do": "reload"})


def release(filter_: Filter, device: str, reason: str) -> int:
    """`cpe-filter release DEVICE`."""
    return filter_.do({"do": "release", "device": device, "reason": reason})


# ── exempt ──────────────────────────────────────────────────────────────────────────────────────────


def exempt_add(
    filter_: Filter, policy: Policy, device: str, destination: str, until: str | None, lasts: str | None, reason: str
) -> int:
    """`cpe-filter exempt add`. `until` and `lasts` are as typed; at most one is given."""
    now = posix()
    try:
        end = moment(until) if until is not None else now + seconds(lasts) if lasts is not None else None
        request = {"do": "exempt", "device": device, "destination": destination, "until": end, "reason": reason}
        exemption = requests.requested_exemption(request, now)
        try:
            _print(filter_.send(request))
            return EXIT_OK
        except NotRunningError:
            pass
        done: list[str] = []

        def add(contents: exemptions.Contents) -> exemptions.Contents:
            contents, one, replaces = exemptions.added(contents, exemption, now, requests.asker(os.getuid(), sudo()))
            done.append(requests.added_line(one, replaces))
            return contents

        exemptions_store.change(policy.state.exemptions_file, add, _LOCK_S)
    except (PolicyError, RefusedError) as error:
        return _unusable(error)
    return _written(filter_, policy, done)


def exempt_remove(
    filter_: Filter, policy: Policy, path: str, ids: list[str], device: str | None, destination: str | None
) -> int:
    """`cpe-filter exempt remove`. path: the policy's file, or ""."""
    request = {"do": "unexempt", "ids": ids, "device": device, "destination": destination}
    gone: list[int] = []

    def remove(contents: exemptions.Contents) -> exemptions.Contents:
        gone.extend(requests.ids_to_remove(request, contents, policy, path or "the policy"))
        return exemptions.without(contents, gone)

    try:
        try:
            _print(filter_.send(request))
            return EXIT_OK
        except NotRunningError:
            pass
        exemptions_store.change(policy.state.exemptions_file, remove, _LOCK_S)
    except (PolicyError, RefusedError) as error:
        return _unusable(error)
    return _written(filter_, policy, [f"exemption {number} removed" for number in gone])


def _written(filter_: Filter, policy: Policy, lines: list[str]) -> int:
    """The file was changed without a filter. One that has started meanwhile may have read it before."""
    print("\n".join(lines))
    try:
        filter_.send({"do": "reread"})
    except NotRunningError:
        print(f"saved to {one_line(policy.state.exemptions_file)}; takes effect when the filter starts")
    except RefusedError as error:
        return _unusable(error)
    return EXIT_OK


def exempt_list(filter_: Filter, policy: Policy, path: str, as_json: bool) -> int:
    """`cpe-filter exempt list`: the exemptions of the running filter, or of the files if none runs."""
    rows: list[dict[str, Any]] = []
    try:
        try:
            start: int | None = 0
            while start is not None:
                answer = filter_.send({"do": "exemptions", "from": start})
                rows += answer["items"]
                start = answer["next"]
        except NotRunningError:
            contents = exemptions_store.load(policy.state.exemptions_file)
            rows = list(exemptions.rows(policy.exempt, path, contents, policy.state.exemptions_file, posix()))
            complain(f"no filter is running ({filter_.path}); listed from the files")
        lines = [json.dumps(rows, ensure_ascii=False)] if as_json else _table(rows)
    except (PolicyError, RefusedError) as error:
        return _unusable(error)
    except (LookupError, TypeError, ValueError):
        return _unusable(f"{filter_.path}: unexpected reply; is another program listening?")
    print("\n".join(lines))
    return EXIT_OK


def _table(rows: list[dict[str, Any]]) -> list[str]:
    from cpe_filter.texts.terminal import table

    if not rows:
        return ["No exemptions."]
    titles = ["id", "device", "destination", "expires", "reason", "added", "added by"]
    cells = []
    for row in rows:
        until = clock(row["until"]) if row["until"] is not None else "never"
        cells.append(
            [
                row["id"],
                row["device"],
                row["destination"],
                until if row["in_force"] else f"expired {until}",
                row["reason"] or "-",
                clock(row["added"]) if row["added"] is not None else "-",
                row["by"] or row["file"],
            ]
        )
    return table(titles, cells, right_from=len(titles))


def moment(text: str) -> float:
    """`--until`: a date lasts to its end; a time without zone is UTC. POSIX seconds. Raises `PolicyError`."""
    value: date | None = None
    for kind in (date, datetime):
        try:
            value = kind.fromisoformat(text.replace("Z", "+00:00"))
            break
        except ValueError:
            pass
    if value is None:
        raise PolicyError(
            f"--until is {shown(text)}; allowed: a date such as 2027-01-31, or a date and time such as "
            "2027-01-31T18:00:00Z"
        )
    return policy_file.moment(value, "--until")


def seconds(text: str) -> float:
    """`--for`: 90m, 12h, 7d, 2w. Raises `PolicyError`."""
    number, unit = text[:-1], _UNITS.get(text[-1:])
    if unit and number.isascii() and number.isdecimal() and len(number) < 8:
        if 0 < int(number) * unit <= MAX_DAYS * 86400:
            return float(int(number) * unit)
    raise PolicyError(f"--for is {shown(text)}; allowed: 1m to {MAX_DAYS}d, such as 90m, 12h, 7d or 2w")


# ── rules --remove ──────────────────────────────────────────────────────────────────────────────────


def rules_remove(filter_: Filter, force: bool) -> int:
    """`cpe-filter rules --remove`: removes the ruleset that a filter in fail closed has left."""
    from cpe_filter.enforce import nftables, offload

    holder = 0 if force else holder_of(filter_.path)
    if holder:
        return _unusable(f"{already_running(holder)}, at {filter_.path}; stop it first, or use --force")
    try:
        there = nftables.remove_left()
    except nftables.KernelError as error:
        return _unusable(error)
    try:
        offload.remove()
    except nftables.KernelError as error:
        return _unusable(f"the exemption from flow offload in table fw4 could not be removed: {error}")
    removed = "Ruleset removed. Outbound mail is no longer filtered."
    print(removed if there else "No cpe-filter ruleset is installed.")
    return EXIT_OK


def _print(answer: dict[str, Any]) -> None:
    lines = answer.get("lines")
    if isinstance(lines, list):
        print("\n".join(map(str, lines)))


def _unusable(error: object) -> int:
    complain(error)
    return EXIT_UNUSABLE
