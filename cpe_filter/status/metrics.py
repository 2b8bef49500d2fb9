"""Counters for Prometheus: a status object as a text file that node_exporter's textfile collector reads.

Knows the exposition format (version 0.0.4) and the names of the metrics. Must not know MACs, addresses or names: the
file may be scraped off the router, so labels have fixed words alone. Counters begin at 0 when the filter starts.
"""

from __future__ import annotations

from collections.abc import Iterable

from cpe_filter import __version__
from cpe_filter.detect.score import CLEAR, COMPROMISED, SUSPECTED, UNUSUAL
from cpe_filter.inspect.packet import REFUSALS
from cpe_filter.lean.atomic_file import AtomicFile
from cpe_filter.lean.named_tuple import NamedTuple
from cpe_filter.status.refusals import KINDS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

#: Label and value of each sample of a metric; the label is "" if there is none.
Samples = Iterable[tuple[str, float | None]]


class Metric(NamedTuple):
    """kind: counter or gauge. label: its name, "" where there is none."""

    name: str
    kind: str
    help: str
    label: str = ""


def exposition(status: dict[str, Any]) -> str:
    """The file's text, from a status object of status.status. What the object lacks is left out."""
    lines: list[str] = []
    for metric, samples in _metrics(status):
        known = [(word, value) for word, value in samples if value is not None]
        if not known:
            continue
        name = f"cpe_filter_{metric.name}"
        lines += [f"# HELP {name} {metric.help}", f"# TYPE {name} {metric.kind}"]
        for word, value in known:
            label = f'{{{metric.label}="{word}"}}' if metric.label else ""
            lines.append(f"{name}{label} {_number(value)}")
    return "\n".join(lines) + "\n"


def _number(value: float) -> str:
    return str(value) if isinstance(value, int) else repr(float(value))


def _metrics(status: dict[str, Any]) -> Iterable[tuple[Metric, Samples]]:
    def one(name: str, kind: str, value: Any, text: str) -> tuple[Metric, Samples]:
        return Metric(name, kind, text), [("", value)]

    kernel = status.get("kernel") or {}
    queue = status.get("queue_state") or {}
    policy = status.get("policy") or {}
    unread = status["unread_packets"]
    standings = [device["standing"] for device in status["devices"]]
    refused = status.get("refusals") or {}
    yield Metric("info", "gauge", "Always 1; what runs.", "version"), [(__version__, 1)]
    yield one("start_time_seconds", "gauge", status["since"], "When the filter started, POSIX time.")
    yield one("updated_time_seconds", "gauge", status["updated"], "When these numbers were taken, POSIX time.")
    yield one("packets_total", "counter", status["packets"], "Packets that the filter has looked at.")
    yield one("mail_packets_total", "counter", status["mail_packets"], "Packets of mail connections among them.")
    yield (
        Metric("unread_packets_total", "counter", "Packets that could not be read.", "reason"),
        [(reason, unread.get(reason, 0)) for reason in REFUSALS],
    )
    yield one("failures_total", "counter", status["failures"], "Packets on which the filter failed.")
    yield one("lost_packets_total", "counter", status.get("lost"), "Packets shown to the filter and lost: it was busy.")
    yield one("lost_time_seconds", "gauge", status.get("lost_at"), "When packets were last lost, POSIX time.")
    yield (
        one("unobserved_time_seconds", "gauge", status.get("unobserved_at"), "When packets last passed the rate guard.")
    )
    yield one("lookup_packets_total", "counter", status.get("lookup_packets"), "Questions for MX records seen.")
    yield one("flows", "gauge", status["flows"], "Connections that are followed.")
    yield one("evicted_flows_total", "counter", status.get("evicted_flows"), "Connections dropped from a full table.")
    yield (
        Metric("devices", "gauge", "Devices that sent mail, by standing.", "standing"),
        [(standing, standings.count(standing)) for standing in (CLEAR, UNUSUAL, SUSPECTED, COMPROMISED)],
    )
    yield (
        Metric("refusals_total", "counter", "Connections that the filter refused or ended, by reason.", "reason"),
        [(word, refused.get(word, 0)) for word in KINDS],
    )
    for number, title in enumerate(("packets", "bytes")):
        yield (
            Metric(f"kernel_{title}_total", "counter", f"The ruleset's counters: {title}.", "counter"),
            [(_word(word), counted[number]) for word, counted in sorted(kernel.items())],
        )
    yield one("queue_waiting", "gauge", queue.get("waiting"), "Packets that wait in the kernel's queue.")
    yield (
        Metric("queue_dropped_total", "counter", "Packets the queue lost: it was full, or our socket was.", "where"),
        [(where, queue.get(f"dropped_{where}")) for where in ("queue", "socket")],
    )
    ways = status.get("unwatched")
    yield one(
        "unwatched_ways",
        "gauge",
        None if ways is None else len(ways),
        "Interfaces outside [network] wan by which mail can leave.",
    )
    left = None if ways is None else sum(way["connections"] for way in ways)
    yield one("unwatched_connections_total", "counter", left, "Connections of mail that left by such interfaces.")
    unlisted = status.get("unlisted")
    yield one(
        "unlisted_networks",
        "gauge",
        None if unlisted is None else len(unlisted),
        "Interfaces outside [network] lan whose mail leaves by a watched one and is not watched.",
    )
    came = None if unlisted is None else sum(network["connections"] for network in unlisted)
    yield one("unlisted_connections_total", "counter", came, "Connections of mail of such interfaces.")
    submission = status.get("submission")
    yield one(
        "submission_devices",
        "gauge",
        None if submission is None else sum(each["many"] for each in submission),
        "Devices with many submission servers within a day.",
    )
    notice = status.get("notice") or {}
    yield one(
        "notice_served", "gauge", int(notice["served"]) if notice else None, "Whether the notice's server answers."
    )
    yield one("notice_led_devices", "gauge", notice.get("led"), "Devices whose HTTP leads to the notice.")
    yield one("quarantined_devices", "gauge", notice.get("quarantined"), "Devices that are held in quarantine.")
    yield (
        Metric("notice_total", "counter", "Pages of the notice that were opened, and answers to it.", "event"),
        sorted(notice.get("counts", {}).items()),
    )
    yield one("exemptions", "gauge", status.get("exempt_count"), "Exemptions in force.")
    yield one("ruleset_restored_total", "counter", status.get("restored"), "Rules put back after others' changes.")
    yield one("policy_read_time_seconds", "gauge", policy.get("read"), "When the policy in force was read, POSIX time.")
    taken = int(policy.get("refused") is None) if policy else None
    yield one("last_reload_success", "gauge", taken, "Whether the last reload was taken (1) or refused (0).")
    yield one("resident_memory_bytes", "gauge", status.get("memory"), "Memory of the filter's process.")


def _word(text: str) -> str:
    """A label's value that needs no escape."""
    return "".join(c if c.isalnum() or c in "_-" else "_" for c in text)


def write(path: str, text: str) -> None:
    """Replaces the file in one step, readable by all, and leaves no temporary file. Raises OSError.

    The node exporter reads only `*.prom`, so never the temporary file.
    """
    file = AtomicFile(path, 0o644)
    file.write(text.encode())
    file.finish()
