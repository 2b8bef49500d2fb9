"""The collector's TOML file -> `Config`.

Knows no file but the one it reads; `intake.tls` checks whether certificates can be used. Must not know what a value is
for (model has the fields, keys their ranges). Every error names file, table, key, what was found and what is allowed.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from cpe_filter import toml_file
from cpe_filter.collect.config.keys import RENAMED, TABLES
from cpe_filter.collect.config.model import ApiTable, Config, PageTable

#: With `+` and a token of 32 characters a local-part of 64 (RFC 5321 section 4.5.3.1.1).
_MAX_BOUNCE_NAME = 31


class ConfigError(ValueError):
    """A file that cannot be used. The text names file, table, key, finding and what is allowed."""


def load(path: str) -> Config:
    """Reads and checks a file. Raises `ConfigError`."""
    return build(toml_file.load(path, ConfigError), path)


def problems(path: str) -> list[str]:
    """All that is wrong with a file, each as `load` would say it."""
    found: list[str] = []
    try:
        build(toml_file.load(path, ConfigError), path, found)
    except ConfigError as error:
        found.append(str(error))
    return found


def build(data: dict[str, Any], path: str, problems: list[str] | None = None) -> Config:
    """Checks parsed TOML. Raises `ConfigError`. problems: as for `toml_file.check`."""
    data, renamed = _with_new_names(data, path)
    try:
        return _checked(data, path, renamed, problems)
    except ConfigError as error:
        if not renamed:
            raise
        raise ConfigError(f"{error} ({', '.join(renamed)})") from None


def _checked(data: dict[str, Any], path: str, renamed: tuple[str, ...], problems: list[str] | None = None) -> Config:
    tables: dict[str, Any] = {
        table: dataclasses.replace(getattr(Config(), table), **values)
        for table, values in toml_file.check(data, path, TABLES, ConfigError, {}, problems).items()
    }
    config = Config(**tables, renamed=renamed)
    for check in _CHECKS:
        if problem := check(config):
            toml_file.note(ConfigError(f"{path}: {problem}"), problems)
    return config


def _with_new_names(data: dict[str, Any], path: str) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The tables by the names that they have now, and what was renamed, for a warning."""
    data = dict(data)
    found = []
    for (table, name), (new_table, new_name) in RENAMED.items():
        content = data if not name else data.get(table)
        old, new = (name, new_name) if name else (table, new_table)
        if not isinstance(content, dict) or old not in content:
            continue
        before, instead = (
            (f"[{table}] {name}", f"[{new_table}] {new_name}") if name else (f"[{table}]", f"[{new_table}]")
        )
        if new in content:
            raise ConfigError(f"{path}: {before} is the old name of {instead}; use {instead} alone")
        content = {new if key == old else key: value for key, value in content.items()}
        data = {**data, table: content} if name else content
        found.append(f"{before} is now {instead}")
    return data, tuple(found)


def _check_listen(config: Config) -> str | None:
    listen, proxy = config.listen, config.tls_proxy
    if not listen.address and not proxy.address and not config.enrol.address:
        return "[listen] address and [tls_proxy] address are both empty; configure a listener for routers"
    if listen.address.startswith("unix:"):
        return "[listen] address is a Unix socket; use [tls_proxy] for that"
    if listen.address:
        for name in ("certificate", "key", "client_ca"):
            if not getattr(listen, name):
                return f'[listen] {name} is missing; a path, or [listen] address = ""'
    if listen.crl and not listen.client_ca:
        return "[listen] crl needs client_ca, to check its signature"
    if proxy.address_header == proxy.header:
        return "[tls_proxy] header and address_header are the same"
    return None


def _check_store(config: Config) -> str | None:
    if config.store.engine == "postgresql" and not config.store.dsn:
        return "[store] dsn is missing for engine postgresql"
    if config.store.engine == "sqlite" and not config.store.path:
        return "[store] path is missing for engine sqlite"
    if config.retention.case_days > config.retention.incident_days:
        return "[retention] case_days is more than incident_days; cases are made of incidents"
    return None


def _check_cases(config: Config) -> str | None:
    if config.subscribers.file and config.subscribers.url:
        return "[subscribers] file and url are both set; set one of them"
    if config.webhook.url and not config.webhook.secret_file:
        return "[webhook] secret_file is missing"
    return None


def _check_mail(config: Config) -> str | None:
    mail = config.mail
    if not mail.relay:
        return "[mail] automatic needs relay, which is empty" if mail.automatic else None
    if not mail.from_address:
        return "[mail] from_address is missing"
    if bool(mail.user) != bool(mail.password_file):
        return "[mail] user and password_file go together; one is missing"
    if problem := _check_mail_tls(config):
        return problem
    if mail.user and mail.starttls != "required":
        return f'[mail] user needs starttls = "required", but it is "{mail.starttls}": the password would be readable'
    if bool(mail.bounce_address) != bool(mail.key_file):
        return "[mail] bounce_address and key_file go together; one is missing"
    if mail.bounce_maildir and not mail.key_file:
        return "[mail] bounce_maildir needs bounce_address and key_file"
    if len(mail.bounce_address.partition("@")[0].encode()) > _MAX_BOUNCE_NAME:
        return f"[mail] bounce_address has a local-part of more than {_MAX_BOUNCE_NAME} characters; a token follows it"
    return None


def _check_mail_tls(config: Config) -> str | None:
    mail = config.mail
    if mail.security == "tls" and mail.starttls != "required":
        return f'[mail] starttls is "{mail.starttls}", but security = "tls" always verifies the certificate; remove one'
    if mail.security == "starttls" and mail.relay.endswith(":465"):
        return '[mail] relay has port 465, where TLS begins at once (RFC 8314); set security = "tls"'
    return None


def _check_page(config: Config) -> str | None:
    page = config.page
    if not page.address:
        return None
    if problem := _check_tls("page", page):
        return problem
    if page.login == "password" and not page.users and not config.oidc.issuer:
        return "[page] users is empty; `cpe-filter collector --config FILE password` makes one"
    if page.login == "proxy" and page.users:
        return '[page] users are for login = "password", but login is "proxy"; set one of them'
    if page.user_header == page.groups_header:
        return "[page] user_header and groups_header are the same"
    return None


def _check_oidc(config: Config) -> str | None:
    oidc = config.oidc
    if not oidc.issuer:
        return None
    if not oidc.client_id:
        return "[oidc] client_id is missing"
    if config.page.address and config.page.login != "password":
        return '[oidc] issuer is for [page] login = "password", but login is "proxy"; set one of them'
    if config.page.address and not config.page.url:
        return "[oidc] issuer needs [page] url: the provider sends browsers back there"
    return None


def _check_api(config: Config) -> str | None:
    return _check_tls("api", config.api) if config.api.address else None


def _check_enrol(config: Config) -> str | None:
    enrol = config.enrol
    if bool(enrol.ca_key) and bool(enrol.sign_command):
        return "[enrol] ca_key and sign_command are both set; set one of them"
    if (enrol.ca_key or enrol.sign_command) and not enrol.ca:
        return "[enrol] ca is missing"
    if enrol.crl and not enrol.ca_key:
        return "[enrol] crl needs ca_key; where another program signs, it makes the revocation list, too"
    if not enrol.address:
        return None
    if enrol.address.startswith("unix:"):
        return "[enrol] address is a Unix socket; TLS ends in this process"
    for name in ("certificate", "key", "ca"):
        if not getattr(enrol, name):
            return f'[enrol] {name} is missing; a path, or [enrol] address = ""'
    if not enrol.ca_key and not enrol.sign_command:
        return "[enrol] ca_key is missing; or set sign_command"
    return None


def _check_tls(table: str, at: PageTable | ApiTable) -> str | None:
    if bool(at.certificate) != bool(at.key):
        return f"[{table}] certificate and key go together; one is missing"
    local = at.address.startswith(("unix:", "127.", "[::1]:"))
    if not at.certificate and not local and not at.plain_http:
        return f"[{table}] address is reachable from other machines; set certificate and key, or plain_http = true"
    return None


#: What one key asks of another: each returns what is wrong, "" if nothing.
_CHECKS = (_check_listen, _check_store, _check_cases, _check_mail, _check_page, _check_oidc, _check_api, _check_enrol)
