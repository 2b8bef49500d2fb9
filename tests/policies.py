"""Policies for tests, by the names of their keys: `make_policy(mode="limit", report_url="https://isp.example")`.

A key that several tables have is named with its table. Knows the tables of `Policy`, nothing of the file.
"""

from __future__ import annotations

from typing import Any

from cpe_filter.policy.model import Policy


def make_policy(**keys: Any) -> Policy:
    """The default policy with these keys changed."""
    return changed_policy(Policy(), **keys)


def changed_policy(policy: Policy, /, **keys: Any) -> Policy:
    """The policy with these keys changed; `exempt` is a key, too."""
    tables: dict[str, dict[str, Any]] = {}
    exempt = keys.pop("exempt", policy.exempt)
    for name, value in keys.items():
        table, key = place(name)
        tables.setdefault(table, {})[key] = value
    changed: dict[str, Any] = {table: getattr(policy, table)._replace(**new) for table, new in tables.items()}
    return policy._replace(exempt=exempt, **changed)


def place(name: str) -> tuple[str, str]:
    """Table and key. Raises `ValueError` where no table has the key, or several have."""
    found = [table for table in Policy._fields if name in getattr(Policy._field_defaults[table], "_fields", ())]
    if len(found) == 1:
        return found[0], name
    table, _, key = name.partition("_")
    if not found and key in getattr(Policy._field_defaults.get(table), "_fields", ()):
        return table, key
    raise ValueError(f"{name}: {'in several tables' if found else 'in no table'} of Policy")
