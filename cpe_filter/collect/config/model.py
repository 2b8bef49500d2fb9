"""The collector's configuration: one frozen table for each table of the TOML file, with the defaults.

Knows names and types. Must not know TOML, or which values are allowed: see `keys` and `file`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

IdFrom = Literal["cn", "san-dns", "san-uri"]
HeaderHolds = Literal["certificate", "id"]
Engine = Literal["sqlite", "postgresql"]
LoginBy = Literal["password", "proxy"]
Level = Literal["info", "debug", "warning", "error"]
Security = Literal["starttls", "tls"]
FactoryId = Literal["cn", "serial-number"]
StartTls = Literal["required", "opportunistic", "off"]


@dataclass(frozen=True, slots=True)
class ListenTable:
    """[listen]: where routers connect by TLS that ends in this process."""

    address: str = "[::]:8443"
    certificate: str = ""
    key: str = ""
    client_ca: str = ""
    crl: str = ""
    id_from: IdFrom = "cn"
    max_connections: int = 10_000
    max_per_source: int = 256
    reuse_port: bool = False


@dataclass(frozen=True, slots=True)
class TlsProxyTable:
    """[tls_proxy]: where a TLS proxy connects in plain HTTP and names the router in a header."""

    address: str = ""
    trusted: tuple[str, ...] = ("127.0.0.1/32", "::1/128")
    header: str = "x-router-id"
    header_holds: HeaderHolds = "certificate"
    address_header: str = ""


@dataclass(frozen=True, slots=True)
class StoreTable:
    """[store]: SQLite or PostgreSQL."""

    engine: Engine = "sqlite"
    path: str = "/var/lib/cpe-filter/collector.db"
    dsn: str = ""
    connections: int = 4


@dataclass(frozen=True, slots=True)
class NatsTable:
    """[nats]: NATS JetStream between `ingest` and `consume`."""

    servers: tuple[str, ...] = ("nats://127.0.0.1:4222",)
    stream: str = "CPE_REPORTS"
    replicas: int = 3
    max_bytes: int = 8 << 30
    credentials: str = ""
    ca: str = ""


@dataclass(frozen=True, slots=True)
class LimitsTable:
    """[limits]: what a router may send, and how long a client may take."""

    reports_per_hour: int = 120
    reports_burst: int = 30
    events_per_hour: int = 2000
    events_burst: int = 4000
    waiting: int = 4096
    handshake_s: int = 10
    head_s: int = 10
    body_s: int = 20
    idle_s: int = 30


@dataclass(frozen=True, slots=True)
class AnswerTable:
    """[answer]: what an answer to a router contains."""

    retry_splay_s: int = 3600
    retry_after_s: int = 60
    policy_version: str = ""


@dataclass(frozen=True, slots=True)
class RetentionTable:
    """[retention]: how long what is kept."""

    evidence_days: int = 7
    incident_days: int = 400
    silent_days: int = 30
    every_minutes: int = 60
    case_days: int = 365
    audit_days: int = 365


@dataclass(frozen=True, slots=True)
class CasesTable:
    """[cases]: how cases are made. clean_days: see cases.funnel."""

    every_s: int = 10
    clean_days: int = 14


@dataclass(frozen=True, slots=True)
class SubscribersTable:
    """[subscribers]: the map of subscribers: a file or an HTTP lookup."""

    file: str = ""
    url: str = ""
    token_file: str = ""
    ca: str = ""
    timeout_s: int = 5
    known_minutes: int = 60
    unknown_minutes: int = 10


@dataclass(frozen=True, slots=True)
class ExportTable:
    """[export]: who reports, in exports."""

    org: str = ""
    contact: str = ""
    domain: str = ""
    confidence_percent: int = 0


@dataclass(frozen=True, slots=True)
class WebhookTable:
    """[webhook]: where events of cases are posted."""

    url: str = ""
    secret_file: str = ""
    ca: str = ""
    timeout_s: int = 10
    give_up_hours: int = 72
    queue: int = 100_000
    notified: bool = True
    texts: bool = False


@dataclass(frozen=True, slots=True)
class NoticeTable:
    """[notice]: what is written to subscribers."""

    language: str = "en"
    provider: str = ""
    help_url: str = ""
    zone: str = "UTC"


@dataclass(frozen=True, slots=True)
class MailTable:
    """[mail]: how notices are sent to subscribers by e-mail."""

    relay: str = ""
    security: Security = "starttls"
    starttls: StartTls = "required"
    ca: str = ""
    user: str = ""
    password_file: str = ""
    timeout_s: int = 30
    from_address: str = ""
    reply_to: str = ""
    bounce_address: str = ""
    key_file: str = ""
    bounce_maildir: str = ""
    second_language: str = ""
    automatic: bool = False
    quiet_hours: str = ""
    per_day: int = 1000
    per_subscriber: int = 2
    per_case: int = 3
    give_up_hours: int = 72


@dataclass(frozen=True, slots=True)
class DeskTable:
    """[desk]: instructions of the desk for routers."""

    instruction_key: str = ""
    instruction_days: int = 7
    instructions_per_day: int = 200


@dataclass(frozen=True, slots=True)
class ProvisionTable:
    """[provision]: signed documents for routers."""

    published: str = ""
    halt_at: int = 2


@dataclass(frozen=True, slots=True)
class MetricsTable:
    """[metrics]: where /metrics, /healthz and /readyz are."""

    address: str = "127.0.0.1:9464"


@dataclass(frozen=True, slots=True)
class PageTable:
    """[page]: the fleet page."""

    address: str = ""
    certificate: str = ""
    key: str = ""
    plain_http: bool = False
    address_header: str = ""
    url: str = ""
    login: LoginBy = "password"
    users: tuple[str, ...] = ()
    session_hours: int = 10
    idle_minutes: int = 60
    trusted: tuple[str, ...] = ("127.0.0.1/32", "::1/128")
    user_header: str = "x-remote-user"
    groups_header: str = "x-remote-groups"
    desk_group: str = "abuse-desk"
    admin_group: str = ""
    viewer_group: str = ""
    zone: str = "UTC"
    makers: tuple[str, ...] = ()
    answer_days: int = 7


@dataclass(frozen=True, slots=True)
class OidcTable:
    """[oidc]: an identity provider for the fleet page."""

    issuer: str = ""
    client_id: str = ""
    client_secret_file: str = ""
    ca: str = ""
    scope: str = "profile"
    name_claim: str = "preferred_username"
    roles_claim: str = "groups"
    viewer_role: str = "fleet-viewer"
    desk_role: str = "abuse-desk"
    admin_role: str = "fleet-admin"
    timeout_s: int = 5


@dataclass(frozen=True, slots=True)
class ApiTable:
    """[api]: the API for other systems."""

    address: str = ""
    certificate: str = ""
    key: str = ""
    plain_http: bool = False
    requests_per_hour: int = 36_000
    requests_burst: int = 300
    acts_per_hour: int = 1200
    acts_burst: int = 120


@dataclass(frozen=True, slots=True)
class EnrolTable:
    """[enrol]: the EST server, which gives certificates to routers. days: see docs/enrolment.md."""

    address: str = ""
    certificate: str = ""
    key: str = ""
    ca: str = ""
    ca_key: str = ""
    sign_command: tuple[str, ...] = ()
    factory_ca: str = ""
    factory_id: FactoryId = "cn"
    days: int = 90
    token_hours: int = 72
    burst: int = 10
    crl: str = ""
    metrics_address: str = "127.0.0.1:9465"
    max_connections: int = 1000


@dataclass(frozen=True, slots=True)
class LogTable:
    """[log]: what is logged."""

    level: Level = "info"


@dataclass(frozen=True, slots=True)
class Config:
    """The tables of the configuration file. keys.KEYS says what each key means."""

    listen: ListenTable = ListenTable()
    tls_proxy: TlsProxyTable = TlsProxyTable()
    store: StoreTable = StoreTable()
    nats: NatsTable = NatsTable()
    limits: LimitsTable = LimitsTable()
    answer: AnswerTable = AnswerTable()
    retention: RetentionTable = RetentionTable()
    cases: CasesTable = CasesTable()
    subscribers: SubscribersTable = SubscribersTable()
    export: ExportTable = ExportTable()
    webhook: WebhookTable = WebhookTable()
    notice: NoticeTable = NoticeTable()
    mail: MailTable = MailTable()
    desk: DeskTable = DeskTable()
    provision: ProvisionTable = ProvisionTable()
    metrics: MetricsTable = MetricsTable()
    page: PageTable = PageTable()
    oidc: OidcTable = OidcTable()
    api: ApiTable = ApiTable()
    enrol: EnrolTable = EnrolTable()
    log: LogTable = LogTable()
    #: Old names that the file still uses, for a warning.
    renamed: tuple[str, ...] = ()
