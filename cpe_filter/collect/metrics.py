"""The collector's own counters, for Prometheus. Figures of the fleet come from the store.

Knows Prometheus's types and the names of counters. Must not know who counts. The value of a label is never a sender's
choice: it is one of a fixed list.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from cpe_filter.collect.wire import Report

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0)


class Metrics:
    """The metrics of one process; `registry` has them all."""

    def __init__(self) -> None:
        self.log = logging.getLogger("cpe_filter.collect")
        self.registry = CollectorRegistry()

        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"cpe_collector_{name}", text, labels, registry=self.registry)

        def gauge(name: str, text: str, *labels: str) -> Gauge:
            return Gauge(f"cpe_collector_{name}", text, labels, registry=self.registry)

        def histogram(name: str, text: str) -> Histogram:
            return Histogram(f"cpe_collector_{name}", text, buckets=_SECONDS, registry=self.registry)

        self.requests = counter("requests", "Requests answered, by status.", "status")
        self.refused = counter("refused", "Requests and handshakes refused, by reason.", "reason")
        self.events = counter("events", "Events: stored, duplicate, rejected or queued.", "outcome")
        self.reports = counter("reports", "Reports stored.")
        self.request_seconds = histogram("request_seconds", "From the head of a request to its answer.")
        self.commit_seconds = histogram(
            "commit_seconds", "Time of a batch into the store, or of a report into the queue."
        )
        self.waiting = gauge("waiting", "Reports that wait for a commit.")
        self.connections = gauge("connections", "Open connections of routers.")
        self.crl_entries = gauge("crl_entries", "Certificates on the revocation list.")
        self.crl_next_update = gauge("crl_next_update_seconds", "When the revocation list expires, POSIX time.")
        self.crl_failed = gauge("crl_failed", "1 while the file of the revocation list cannot be used.")
        self.certificate_ends = gauge(
            "certificate_ends_seconds",
            "When the first certificate of a file expires, POSIX time: listen, client_ca, page, api, enrol, enrol_ca,"
            " factory_ca.",
            "file",
        )
        self.retained = counter("retention_rows", "Rows that retention deleted, emptied or rolled up.", "what")
        self.pages = counter("page_responses", "Answers of the fleet page, by status.", "status")
        self.logins = counter(
            "page_logins", "Logins to the fleet page: good, failed, slowed or unavailable.", "outcome"
        )
        self.api = counter("api_responses", "Answers of the API, by status.", "status")
        self.api_tokens_refused = counter("api_tokens_refused", "Requests to the API without a valid token.")
        self.enrolments = counter(
            "enrolments",
            "Certificates, by how the router was known (factory, certificate, token, renewal); refused; failed.",
            "outcome",
        )
        self.router_certificates = gauge(
            "router_certificates",
            "Routers by their last certificate: valid, late (a sixth of its life is left, and it is not renewed),"
            " expired (within 30 days).",
            "state",
        )
        self.webhook = counter(
            "webhook", "Delivery attempts: delivered, failed (repeated) or dead (given up).", "outcome"
        )
        self.mail = counter(
            "mail", "Notices by e-mail: sent, deferred, failed, skipped, bounced, delayed or other messages.", "outcome"
        )
        self.cases_built = counter("cases_built", "Devices whose cases were updated.")
        self.subscribers_failed = gauge("subscribers_failed", "1 while the subscriber map cannot be used.")
        #: Read from the store, so the same in each process.
        self._cases = {
            "cases": gauge("cases", "Cases, by state.", "state"),
            "stages": gauge("case_stages", "Cases, by how far the notice has come; a case may be in several.", "stage"),
            "notified": gauge("notified_devices", "Devices found whose home was notified, by channel.", "channel"),
            "unmapped": gauge("unmapped_routers", "Routers with cases that are not in the subscriber map."),
            "ways": gauge("unwatched_routers", "Routers where mail leaves by or comes from an unwatched interface."),
            "submitters": gauge("submission_devices", "Devices with many submission servers, by the last heartbeats."),
            "exported": gauge("exported_incidents", "Incidents exported under marks.", "format"),
            "held": gauge("held_incidents", "Incidents that the last export held back, by reason.", "format", "reason"),
            "webhook_events": gauge("webhook_events", "Events for the webhook, by state.", "state"),
            "mail_messages": gauge("mail_messages", "Notices by e-mail, by state.", "state"),
            "document_routers": gauge(
                "document_routers", "Routers by what became of the current document of a channel.", "channel", "result"
            ),
            "document_halt": gauge(
                "document_halt_advised", "1 while a halt of its current document is advised.", "channel"
            ),
            "document_reports": gauge(
                "document_reports", "Routers that reported an outcome of a document within a day.", "type", "result"
            ),
        }
        self.poison = counter("queue_poison", "Messages of the queue that were not reports, or that the store refused.")

    def stored(self, reports: Sequence[Report], new: int) -> None:
        """Counts reports that were stored. new: events that the store did not have."""
        events = sum(len(report.events) for report in reports)
        self.reports.inc(len(reports))
        self.events.labels("stored").inc(new)
        self.events.labels("duplicate").inc(events - new)

    def set_cases(self, figures: Mapping[str, Mapping[tuple[str, ...], int]]) -> None:
        """Sets the figures of cases: metric -> values of its labels -> value."""
        for name, values in figures.items():
            if name in ("document_routers", "document_halt"):
                self._cases[name].clear()  # a channel may be gone
            for labels, value in values.items():
                (self._cases[name].labels(*labels) if labels else self._cases[name]).set(value)
