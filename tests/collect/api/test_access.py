"""Who may do what through the API, and what hostile clients get."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from cpe_filter.collect.api import tokens
from cpe_filter.collect.api.operations import OPERATIONS, PREFIX
from cpe_filter.collect.store.base import StoreUnavailableError
from tests.collect.api.client import Client, Ids, run

NOW = 1_795_521_600


def _path(path: str, case: str) -> str:
    return PREFIX + path.replace("{id}", case).replace("{name}", "read")


def test_no_operation_without_a_token(tmp_path: Path) -> None:
    """A cookie of the page, a name of a proxy, and tokens in other places authorise nothing."""

    async def work(client: Client, ids: Ids) -> None:
        given = client.tokens["admin"]
        tries: list[list[tuple[str, str]]] = [
            [],
            [("cookie", f"__Host-fleet={given}; fleet={given}; token={given}")],
            [("x-remote-user", "anna"), ("x-remote-groups", "abuse-desk")],
            [("authorization", "Basic " + given)],
            [("authorization", given)],
            [("authorization", "Bearer")],
            [("authorization", f"Bearer {given[:-1]}")],
            [("authorization", f"Bearer {given}, Bearer {given}")],
            [("authorization", f"Bearer {given}"), ("authorization", f"Bearer {given}")],
        ]
        for one in OPERATIONS:
            if one.role is None:
                continue
            for place, headers in enumerate(tries):
                body = b"{}" if one.method == "POST" else None
                # Each try from an address of its own: limits are another test.
                peer = f"10.{OPERATIONS.index(one)}.{place}.1"
                answer = await client.ask(_path(one.path, ids[0]), one.method, "", body, headers, peer)
                assert (answer.status, answer.problem) == (401, "unauthorized")
                assert answer.headers["www-authenticate"].startswith('Bearer realm="cpe-filter"')
        assert client.metrics.api_tokens_refused._value.get() == len(tries) * (len(OPERATIONS) - 1)
        assert (await client.ask(f"{PREFIX}/me?access_token={given}", role="")).status == 401
        assert (await client.ask(f"{PREFIX}/me", headers=[("authorization", f"bEaReR  {given} ")])).status == 200

    run(tmp_path, work, 1)


def test_roles(tmp_path: Path) -> None:
    async def work(client: Client, ids: Ids) -> None:
        for one in OPERATIONS:
            for role in tokens.ROLES:
                if one.role is None or tokens.ROLES.index(role) >= tokens.ROLES.index(one.role):
                    continue
                body = b'{"outcome":"none","text":"x"}' if one.method == "POST" else None
                answer = await client.ask(_path(one.path, ids[0]), one.method, role, body, [("if-match", "*")])
                assert (answer.status, answer.problem) == (403, "forbidden"), (one.name, role)
        found = await client.get(f"/cases/{ids[0]}")
        assert found.body["history"] == []
        assert (await client.get("/me")).body["role"] == "read"
        assert [one["name"] for one in (await client.get("/tokens", "admin")).body["tokens"]]
        # A token that is revoked ends at once, also for itself.
        done = await client.post("/tokens/admin/revoke", role="admin")
        assert done.body["state"] == "revoked"
        assert (await client.get("/me", "admin")).status == 401
        assert (await client.get("/me", "desk")).status == 200

    run(tmp_path, work, 1)


def test_no_token_makes_tokens(tmp_path: Path) -> None:
    """A stolen token lasts until it is revoked, and leaves no other."""

    async def work(client: Client, _ids: Ids) -> None:
        assert (await client.post("/tokens", {"name": "x", "role": "admin"}, role="admin")).status == 405
        assert (await client.post("/tokens/x/revoke", role="admin")).status == 404

    run(tmp_path, work, 1)


def test_limits_of_a_token(tmp_path: Path) -> None:
    async def work(client: Client, ids: Ids) -> None:
        answers = [await client.post(f"/cases/{ids[0]}/notes", {"text": "x"}) for _ in range(4)]
        assert [answer.status for answer in answers] == [200, 200, 429, 429]
        assert answers[2].problem == "too-many-requests"
        assert int(answers[2].headers["retry-after"]) >= 1
        reads = [(await client.get("/me", "desk")).status for _ in range(4)]
        assert reads == [200, 429, 429, 429]  # of five, four were used before
        assert (await client.get("/me", "read")).status == 200  # another token's limit is its own

    run(tmp_path, work, 1, acts_burst=2, acts_per_hour=1, requests_burst=5, requests_per_hour=1)


def test_guessing_is_limited_by_address(tmp_path: Path) -> None:
    async def work(client: Client, _ids: Ids) -> None:
        seen = [(await client.ask(f"{PREFIX}/me", role="", peer="2001:db8::1")).status for _ in range(40)]
        assert seen == [401] * 30 + [429] * 10
        assert (await client.ask(f"{PREFIX}/me", role="", peer="2001:db8::2")).status == 429  # the same /64
        assert (await client.ask(f"{PREFIX}/openapi.json", role="", peer="2001:db8::2")).status == 429
        # A valid token from there still works.
        assert (await client.ask(f"{PREFIX}/me", peer="2001:db8::1")).status == 200
        assert (await client.ask(f"{PREFIX}/openapi.json", role="", peer="2001:db9::2")).status == 200

    run(tmp_path, work, 1)


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/", 404), ("/api", 404), ("/api/v1", 404), ("/api/v1/", 404), ("/api/v1/cases/", 404), ("/api/v2/cases", 404),
        ("/api/v1//cases", 404), ("/api/v1/cases/..", 404), ("/api/v1/cases/../tokens", 404), ("/cases", 404),
        ("/api/v1/cases/a b", 404), ("/api/v1/cases/a\nb", 404), ("/api/v1/cases/a\0b", 404), ("/login", 404),
        ("/api/v1/cases/' OR 1=1 --", 404), ("/api/v1/cases/\u00e9", 404), ("/api/v1/cases/a%00", 404),
        ("/api/v1/tokens/../revoke", 404), ("/static/style.css", 404),
    ],
)  # fmt: skip
def test_paths(tmp_path: Path, path: str, status: int) -> None:
    async def work(client: Client, _ids: Ids) -> None:
        assert (await client.ask(path, role="admin")).status in (status, 405)

    run(tmp_path, work, 1)


def test_methods(tmp_path: Path) -> None:
    async def work(client: Client, ids: Ids) -> None:
        for method in ("PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "POST"):
            answer = await client.ask(f"/api/v1/cases/{ids[0]}", method, "admin", b"{}")
            assert (answer.status, answer.problem) == (405, "method-not-allowed")
            assert set(answer.headers["allow"].replace(" ", "").split(",")) <= {"GET", "HEAD"}

    run(tmp_path, work, 1)


def test_bodies_that_are_not_json(tmp_path: Path) -> None:
    async def work(client: Client, ids: Ids) -> None:
        for kind in ("", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "application/jsonx"):
            answer = await client.ask(
                f"/api/v1/cases/{ids[0]}/notes", "POST", "desk", b'{"text":"a"}', [("content-type", kind)]
            )
            assert (answer.status, answer.problem) == (415, "media-type"), kind
        packed = [("content-type", "application/json"), ("content-encoding", "gzip")]
        answer = await client.ask(f"/api/v1/cases/{ids[0]}/notes", "POST", "desk", b"\x1f\x8b", packed)
        assert answer.status == 415

    run(tmp_path, work, 1)


def test_a_query_that_is_too_long(tmp_path: Path) -> None:
    async def work(client: Client, _ids: Ids) -> None:
        long = await client.ask("/api/v1/cases?text=" + "a" * 5000, role="")
        assert (long.status, long.problem) == (414, "too-long")
        assert (await client.ask("/api/v1/cases", raw_query=b"text=\xff")).status == 400

    run(tmp_path, work, 1)


def test_the_store_is_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def work(client: Client, ids: Ids) -> None:
        async def away(*_words: object, **_more: object) -> object:
            raise StoreUnavailableError("/var/lib/secret.db: disk I/O error")

        monkeypatch.setattr(client.store, "read", away)
        for answer in (await client.get("/cases"), await client.post(f"/cases/{ids[0]}/notes", {"text": "x"})):
            assert (answer.status, answer.problem) == (503, "unavailable")
            assert answer.headers["retry-after"] == "30"
            assert "secret" not in str(answer.body)

    run(tmp_path, work, 1)


def test_what_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def work(client: Client, ids: Ids) -> None:
        await client.post(f"/cases/{ids[0]}/notes", {"text": "a private remark"}, key="key-of-a-client")
        await client.ask(f"{PREFIX}/me", role="", headers=[("authorization", f"Bearer {client.tokens['read']}x")])
        await client.get("/cases?text=a-name-that-was-typed&limit=x")
        lines = [f"{record.getMessage()} {getattr(record, 'fields', '')}" for record in caplog.records]
        text = "\n".join(lines)
        assert "'operation': 'addNote'" in text
        assert "'token': 'desk'" in text
        assert "'reason': 'unauthorized'" in text
        for secret in ("a private remark", "a-name-that-was-typed", *client.tokens.values(), "key-of-a-client"):
            assert secret not in text

    with caplog.at_level(logging.INFO):
        run(tmp_path, work, 1)


def test_a_defect_shows_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from cpe_filter.collect.api import reads

    async def work(client: Client, _ids: Ids) -> None:
        async def broken(_call: object) -> reads.Done:
            raise ZeroDivisionError("a secret")

        monkeypatch.setitem(reads.READS, "getMe", broken)
        with pytest.raises(ZeroDivisionError):  # Starlette raises again, for the server's log
            await client.get("/me")

    run(tmp_path, work, 1)
