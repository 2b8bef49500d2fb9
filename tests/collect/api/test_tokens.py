"""Tokens of the API, and the command that makes them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cpe_filter.cli.main import main
from cpe_filter.collect.api import tokens
from cpe_filter.collect.store import audit
from cpe_filter.collect.store.base import Store
from tests.collect.desks import WithStore
from tests.collect.running import toml

DAY = 86_400
NOW = 1_796_000_000
BY = audit.By("root", audit.COMMAND)


def test_a_token_is_recognised_until_it_expires_or_is_revoked(with_store: WithStore) -> None:
    async def work(store: Store) -> None:
        text = await tokens.create(store, "crm", "desk", 30, NOW, BY)
        other = await tokens.create(store, "soc", "read", 1, NOW, BY)
        assert tokens.PATTERN.fullmatch(text)
        token = await tokens.find(store, text, NOW + 5)
        assert token is not None
        assert (token.name, token.role, token.expires_at, token.user) == ("crm", "desk", NOW + 30 * DAY, "token:crm")
        assert await tokens.find(store, text, NOW + 30 * DAY - 1) is not None
        assert await tokens.find(store, text, NOW + 30 * DAY) is None
        assert await tokens.find(store, other, NOW + DAY) is None
        assert await tokens.revoke(store, "crm", NOW + 6, BY)
        assert not await tokens.revoke(store, "crm", NOW + 7, BY)
        assert await tokens.find(store, text, NOW + 8) is None

    with_store(work)


def test_the_store_has_no_token(with_store: WithStore) -> None:
    async def work(store: Store) -> None:
        text = await tokens.create(store, "crm", "desk", 30, NOW, BY)
        row = (await store.read("SELECT * FROM api_token"))[0]
        assert text.split("_")[2] not in json.dumps(row)
        assert text.split("_")[2][:64] not in json.dumps(row)
        assert "hash" not in (await tokens.listed(store))[0]

    with_store(work)


def test_the_last_use_is_kept_to_the_minute(with_store: WithStore) -> None:
    async def work(store: Store) -> None:
        text = await tokens.create(store, "crm", "read", 30, NOW, BY)
        seen = []
        for at in (NOW + 1, NOW + 30, NOW + 61, NOW + 100):
            await tokens.find(store, text, at)
            seen.append((await tokens.listed(store))[0]["used_at"])
        assert seen == [NOW + 1, NOW + 1, NOW + 61, NOW + 61]

    with_store(work)


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text[:-1] + ("0" if text[-1] != "0" else "1"),  # a typing error
        lambda text: text.upper(),
        lambda text: text + "\n",
        lambda text: " " + text,
        lambda text: text.replace("cpe_", "ghp_"),
        lambda text: "",
        lambda text: "cpe_" + "0" * 5000,
        lambda text: text.replace("0", "\u0660"),  # another alphabet's zero
    ],
)
def test_what_is_not_a_token_needs_no_store(change: object) -> None:
    number = "0123abcd"
    start = f"cpe_{number}_{'5e' * 32}"
    assert tokens.is_well_formed(start + tokens._checksum(start))
    assert callable(change)
    assert not tokens.is_well_formed(change(start + tokens._checksum(start)))


def test_a_token_that_was_made_elsewhere(with_store: WithStore) -> None:
    """Well-formed, with the id of a token that exists."""

    async def work(store: Store) -> None:
        text = await tokens.create(store, "crm", "admin", 30, NOW, BY)
        start = text[:13] + "00" * 32
        assert await tokens.find(store, start + tokens._checksum(start), NOW) is None

    with_store(work)


@pytest.mark.parametrize(
    ("name", "role", "days", "why"),
    [
        ("", "read", 1, "letters, digits"),
        ("a" * 41, "read", 1, "letters, digits"),
        ("a\nb", "read", 1, "letters, digits"),
        ("a:b", "read", 1, "letters, digits"),
        ("-a", "read", 1, "letters, digits"),
        ("a", "root", 1, "a role is read, desk, admin"),
        ("a", "read", 0, "1 to 400"),
        ("a", "read", 401, "1 to 400"),
    ],
)
def test_what_cannot_be_made(with_store: WithStore, name: str, role: str, days: int, why: str) -> None:
    async def work(store: Store) -> None:
        with pytest.raises(tokens.TokenError, match=why):
            await tokens.create(store, name, role, days, NOW, BY)

    with_store(work)


def test_names_are_unique(with_store: WithStore) -> None:
    """The history of a case names tokens."""

    async def work(store: Store) -> None:
        await tokens.create(store, "crm", "read", 1, NOW, BY)
        await tokens.revoke(store, "crm", NOW, BY)
        with pytest.raises(tokens.TokenError, match="already"):
            await tokens.create(store, "crm", "read", 1, NOW + 1, BY)
        await tokens.create(store, "crm", "read", 1, NOW + 402 * DAY, BY)
        with pytest.raises(tokens.TokenError, match="no token"):
            await tokens.revoke(store, "soc", NOW, BY)

    with_store(work)


def test_old_tokens_make_room(with_store: WithStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokens, "MAX_TOKENS", 1)

    async def work(store: Store) -> None:
        await tokens.create(store, "old", "read", 1, NOW, BY)
        end = NOW + (1 + tokens.KEPT_DAYS) * DAY
        with pytest.raises(tokens.TokenError, match="there are 1 tokens already"):
            await tokens.create(store, "new", "read", 1, end, BY)
        assert await tokens.forget(store, end) == 0
        await tokens.create(store, "new", "read", 1, end + 1, BY)
        assert [row["name"] for row in await tokens.listed(store)] == ["new"]
        assert await tokens.forget(store, end + 1 + (1 + tokens.KEPT_DAYS) * DAY + 1) == 1

    with_store(work)


def test_roles() -> None:
    def may(role: tokens.Role) -> list[bool]:
        token = tokens.Token("0", "a", role, 0)
        return [token.may(one) for one in tokens.ROLES]

    assert [may(role) for role in tokens.ROLES] == [[True, False, False], [True, True, False], [True, True, True]]


def test_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "collector.toml"
    config.write_text(toml({"listen": {"address": ""}, "tls_proxy": {"address": "unix:/x"},
                            "store": {"path": str(tmp_path / "c.db")}}))  # fmt: skip

    def run(*words: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main(["collector", "--config", str(config), "token", *words])
        printed = capsys.readouterr()
        return int(ended.value.code or 0), printed.out, printed.err

    code, out, err = run("create", "crm", "--role", "desk", "--expires", "90")
    assert code == 0
    assert tokens.is_well_formed(out.strip())
    assert "shown only once" in err
    code, listed, _ = run("list")
    row = json.loads(listed)
    assert (row["name"], row["role"], row["state"], row["used_at"]) == ("crm", "desk", "valid", None)
    assert row["expires_at"].endswith("Z")
    assert out.strip() not in listed
    assert run("revoke", "crm")[0] == 0
    assert json.loads(run("list")[1])["state"] == "revoked"
    for words, why in (
        (("create", "crm", "--role", "desk", "--expires", "90"), "already"),
        (("create", "x", "--role", "desk", "--expires", "401"), "1 to 400"),
        (("create", "x", "--role", "desk"), "--expires"),
        (("create", "x", "--role", "root", "--expires", "1"), "invalid choice"),
        (("create", "x", "--role", "desk", "--expires", "soon"), "number of days"),
        (("create", "x", "--role", "desk", "--expires", "\u0663"), "number of days"),
        (("create",), "NAME"),
        (("list", "x"), "unrecognized"),
        (("revoke", "none"), "no token of this name"),
        ((), "create|list|revoke"),
        (("make",), "invalid choice"),
    ):
        code, _, err = run(*words)
        assert code == 2, words
        assert why in err, words
        assert "Traceback" not in err
