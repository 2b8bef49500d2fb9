"""Cases through the API: lists, one case, acts, versions and repeated requests."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from cpe_filter.collect import signing
from cpe_filter.collect.api import once, versions
from cpe_filter.collect.cases import instructions
from cpe_filter.collect.cases.model import Case
from cpe_filter.collect.cases.update import CaseUpdater
from cpe_filter.collect.store import audit
from cpe_filter.collect.store.base import Store
from tests.collect.api.client import Client, Ids, filled, on, run
from tests.collect.desks import Map, WithStore, event, line
from tests.collect.reports import NOW


def test_the_list_comes_in_parts(with_store: WithStore) -> None:
    async def work(client: Client, ids: Ids) -> None:
        for order in ("last", "opened", "changed"):
            found: list[str] = []
            path = f"/cases?limit=2&order={order}"
            cursor = ""
            while True:
                answer = await client.get(path + (f"&cursor={cursor}" if cursor else ""))
                assert answer.status == 200
                assert len(answer.body["cases"]) <= 2
                found += [case["id"] for case in answer.body["cases"]]
                cursor = answer.body["next"]
                if cursor is None:
                    break
            assert sorted(found) == sorted(ids), order
            assert len(set(found)) == 5
        assert [case["id"] for case in (await client.get("/cases")).body["cases"]] == ids

    with_store(lambda store: on(store, work, 5))


def test_filters(with_store: WithStore) -> None:
    async def work(client: Client, ids: Ids) -> None:
        async def found(query: str) -> list[str]:
            answer = await client.get(f"/cases?{query}")
            assert answer.status == 200, answer
            return [case["id"] for case in answer.body["cases"]]

        assert await found("subscriber=S1") == [ids[1]]
        assert await found("region=Region%200") == [ids[0], ids[2]]
        assert await found("region=Region+0&router=r2") == [ids[2]]
        assert await found("state=closed,clean") == []
        assert await found("state=open") == ids
        assert await found("state=active,closed") == ids
        assert await found("text=CRM:S2") == [ids[2]]
        assert await found("text=%25") == []
        assert await found("indicator=helo-dynamic") == ids
        assert await found("indicator=dnsbl-listed") == []
        assert await found("since=2026-11-24T12:00:00Z") == [ids[0]]
        assert await found("until=2026-11-24T13:00:00%2B01:00") == [ids[1], ids[2]]
        changed = (await client.get(f"/cases/{ids[2]}")).body["case"]["changed_at"]
        assert ids[2] in await found(f"changed_since={changed}")
        assert await found("changed_since=2027-01-01T00:00:00Z") == []

    with_store(lambda store: on(store, work))


@pytest.mark.parametrize(
    "query",
    ["limit=0", "limit=201", "limit=-1", "limit=1e3", "limit=%D9%A1", "limit=", "state=", "state=open,", "state=gone",
     "order=id", "since=2026-11-24", "since=2026-11-24T12:00:00", "since=2026-13-01T00:00:00Z",
     "since=0000-01-01T00:00:00Z", "since=2026-11-24T12:00:00+25:00", "text=%00", "text=%FF", "text=",
     "region=" + "x" * 201,
     "unknown=1", "limit=1&limit=2", "&", "limit", "cursor=%21", "cursor=W10", "cursor=WyJsYXN0X2F0Iiwib25lIiwgImEiXQ",
     "cursor=WyJvcGVuZWRfYXQiLDEsImEiXQ", "cursor=" + "A" * 1100, "access_token=cpe_1"],
)  # fmt: skip
def test_a_query_that_is_not_as_described(tmp_path: Path, query: str) -> None:
    async def work(client: Client, _ids: Ids) -> None:
        answer = await client.get(f"/cases?{query}")
        assert (answer.status, answer.problem) == (400, "bad-request")

    run(tmp_path, work, 1)


def test_one_case(with_store: WithStore) -> None:
    async def work(client: Client, ids: Ids) -> None:
        answer = await client.get(f"/cases/{ids[0]}")
        assert answer.status == 200
        body = answer.body
        assert body["case"]["subscriber"] == "S0"
        assert body["case"]["last_seen"] == "2026-11-24T12:00:00Z"
        assert body["case"]["allowed"] == ["acknowledge", "assign", "close", "notes", "notified"]
        assert answer.headers["etag"] == f'"{body["case"]["version"]}"'
        assert body["incidents"][0]["name"] == "tv-0"
        assert body["incidents"][0]["examples"][0]["source_port"] == 40000
        assert [one["number"] for one in body["episodes"]] == [0]
        told = await client.get(f"/cases/{ids[0]}/notice?language=de")
        assert told.body["language"] == "de"
        assert ids[0] in told.body["body"]
        assert (await client.get("/cases/ffffffffffffffff")).status == 404
        assert (await client.get("/cases/" + "a" * 65)).status == 404

    with_store(lambda store: on(store, work))


def test_acts(with_store: WithStore) -> None:
    async def work(client: Client, ids: Ids) -> None:
        case = f"/cases/{ids[0]}"
        state = []
        for act, value in (
            ("notified", {"text": "by telephone"}),
            ("acknowledge", {}),
            ("close", {"outcome": "false-alarm", "text": "a newsletter"}),
            ("reopen", {"text": "it was not"}),
            ("close", {"outcome": "confirmed"}),
        ):
            answer = await client.post(f"{case}/{act}", value, await client.etag(ids[0]))
            assert answer.status == 200, answer
            assert answer.headers["etag"] == await client.etag(ids[0])
            state.append(answer.body["state"])
        assert state == ["notified", "acknowledged", "closed", "acknowledged", "closed"]
        assert (await client.post(f"{case}/notes", {"text": "  line 1\nline 2 \u00fc\U0001f600 "})).status == 200
        history = (await client.get(case)).body["history"]
        assert [one["what"] for one in history] == [
            "notified", "acknowledged", "false-alarm", "reopened", "confirmed", "note",
        ]  # fmt: skip
        assert {one["who"] for one in history} == {"token:desk"}
        assert history[-1]["text"] == "line 1\nline 2 \u00fc\U0001f600"
        # What the state does not allow.
        again = await client.post(f"{case}/acknowledge", {}, await client.etag(ids[0]))
        assert (again.status, again.problem) == (409, "state")
        assert (await client.get(f"{case}/notice")).status == 409
        mail = await client.post(f"{case}/notify", {}, "*")
        assert (mail.status, mail.problem) == (501, "not-set-up")

    with_store(lambda store: on(store, work))


def test_assign(with_store: WithStore) -> None:
    async def work(client: Client, ids: Ids) -> None:
        path = f"/cases/{ids[0]}/assign"
        seen = await client.etag(ids[0])
        done = await client.post(path, {"assignee": "anna", "text": "hers"}, seen)
        assert done.body["assignee"] == "anna"
        assert (await client.post(path, {"assignee": "boris"}, seen)).status == 412
        assert [case["id"] for case in (await client.get("/cases?assigned=anna")).body["cases"]] == [ids[0]]
        assert len((await client.get("/cases?assigned=-")).body["cases"]) == 2
        assert (await client.post(path, {"assignee": None}, "*")).body["assignee"] is None
        history = (await client.get(f"/cases/{ids[0]}")).body["history"]
        assert [(one["what"], one["assignee"]) for one in history] == [("assigned", "anna"), ("assigned", "")]
        await client.post(f"/cases/{ids[0]}/notes", {"text": "x"})
        assert (await client.get(f"/cases/{ids[0]}")).body["history"][-1]["assignee"] is None
        for wrong in ("", "a b", "<script>", "a" * 65, "anna\n", 7):
            assert (await client.post(path, {"assignee": wrong}, "*")).status == 400, wrong

    with_store(lambda store: on(store, work))


def test_only_known_users_get_cases(with_store: WithStore) -> None:
    """As on the page."""

    async def work(store: Store) -> None:
        async def inside(client: Client, ids: Ids) -> None:
            for name, status in (("boris", 400), ("anna", 200), (None, 200)):
                answer = await client.post(f"/cases/{ids[0]}/assign", {"assignee": name}, "*")
                assert answer.status == status, name

        await on(store, inside, people=("anna", "carla"))

    with_store(work)


def test_stages_needs_and_figures(with_store: WithStore) -> None:
    async def work(client: Client, ids: Ids) -> None:
        await client.post(f"/cases/{ids[0]}/notified", {}, "*")
        for query, found in (("stage=unnotified", 2), ("stage=notified", 1), ("need=untold", 2), ("need=objection", 0)):
            assert len((await client.get(f"/cases?{query}")).body["cases"]) == found, query
        assert (await client.get("/cases?need=mine")).status == 400
        figures = (await client.get("/figures?days=30")).body
        assert figures["cases"]["notified"] == 1
        stages = {one["name"]: (one["devices"], one["of_devices"]) for one in figures["stages"]}
        assert stages["found"][0] == 3
        assert stages["notified"] == (1, 3)
        assert figures["channels"]["desk"] == 1
        assert (await client.get("/figures?region=nowhere")).body["stages"][0]["devices"] == 0

    with_store(lambda store: on(store, work))


def test_instructions_are_made_elsewhere(tmp_path: Path) -> None:
    """Without a signer 501; with one, it gets the case, the reason and the token."""

    class Signer:
        def __init__(self) -> None:
            self.asked: list[object] = []
            self.problem: str | None = None

        async def issue(self, case: Case, action: str, days: int, remark: str, by: audit.By, now: int) -> str | None:
            self.asked.append((case.id, action, days, remark, by.who, by.via))
            return self.problem

    async def work(client: Client, ids: Ids) -> None:
        order = {"text": "a new device", "days": 30}
        for act in ("release", "exempt", "end-quarantine"):
            value = order if act == "exempt" else {"text": "a new device"}
            assert (await client.post(f"/cases/{ids[0]}/{act}", value, "*")).status == 501
        signer = Signer()
        other = Client(client.store, instructions=signer)
        other.tokens = client.tokens
        done = await other.post(f"/cases/{ids[0]}/exempt", order, await client.etag(ids[0]))
        assert done.status == 202
        assert (await other.post(f"/cases/{ids[0]}/release", {"text": "clean"})).status == 428
        assert (await other.post(f"/cases/{ids[0]}/release", {"text": "clean"}, "*")).status == 202
        assert (await other.post(f"/cases/{ids[0]}/end-quarantine", {"text": "clean"}, "*")).status == 202
        assert signer.asked == [
            (ids[0], "exempt", 30, "a new device", "token:desk", "api"),
            (ids[0], "release", 0, "clean", "token:desk", "api"),
            (ids[0], "end-quarantine", 0, "clean", "token:desk", "api"),
        ]
        signer.problem = "The device is not compromised"
        refused = await other.post(f"/cases/{ids[0]}/release", {"text": "clean"}, "*")
        assert (refused.status, refused.body["detail"]) == (409, "The device is not compromised")
        for wrong in ({"text": "x", "days": 0}, {"text": "x", "days": 366}, {"days": 1}, {"text": " ", "days": 1}):
            assert (await other.post(f"/cases/{ids[0]}/exempt", wrong, "*")).status == 400

    run(tmp_path, work)


def test_two_tools_do_not_overwrite_each_other(with_store: WithStore) -> None:
    async def work(client: Client, ids: Ids) -> None:
        close = f"/cases/{ids[0]}/close"
        seen = await client.etag(ids[0])
        missing = await client.post(close, {"outcome": "none"})
        assert (missing.status, missing.problem) == (428, "version-required")
        answers = await asyncio.gather(
            *(client.post(close, {"outcome": outcome}, seen) for outcome in ("confirmed", "false-alarm", "none"))
        )
        assert sorted(answer.status for answer in answers) == [200, 412, 412]
        assert len((await client.get(f"/cases/{ids[0]}")).body["history"]) == 1
        for match in ('"other"', f"W/{seen}", '"a", "b"', '""'):
            stale = await client.post(f"/cases/{ids[0]}/reopen", {}, match)
            assert (stale.status, stale.problem) == (412, "stale-version"), match
        for match in ("", "abc", seen.strip('"'), '"a" "b"', ",".join(['"a"'] * 9), '"\u00e9"'):
            assert (await client.post(f"/cases/{ids[0]}/reopen", {}, match)).status == 400, match
        current = await client.etag(ids[0])
        assert (await client.post(f"/cases/{ids[0]}/reopen", {}, f'"x", {current}')).status == 200

    with_store(lambda store: on(store, work))


def test_any_version(with_store: WithStore) -> None:
    """Acts with `*` wait for each other; none is lost."""

    async def work(client: Client, ids: Ids) -> None:
        posts = [client.post(f"/cases/{ids[0]}/{act}", {}, "*") for act in ("notified", "acknowledge")]
        answers = await asyncio.gather(*posts)
        assert {answer.status for answer in answers} <= {200, 409}
        done = [answer for answer in answers if answer.status == 200]
        assert len((await client.get(f"/cases/{ids[0]}")).body["history"]) == len(done) >= 1

    with_store(lambda store: on(store, work))


def test_a_version_does_not_change_with_counts(with_store: WithStore) -> None:
    async def inside(store: Store) -> None:
        async def work(client: Client, ids: Ids) -> None:
            before = await client.get(f"/cases/{ids[0]}")
            await store.add([event("updated", 300, router="r0", dev=f"{0:016x}", conns=500_000_000)])
            await CaseUpdater(store, Map(line("r0", "S0", region="Region 0"))).catch_up(NOW + 1400)
            after = await client.get(f"/cases/{ids[0]}")
            assert after.body["case"]["connections"] > before.body["case"]["connections"]
            assert after.headers["etag"] == before.headers["etag"]

        await on(store, work, 1)

    with_store(inside)


def test_a_repeated_request_is_done_once(with_store: WithStore) -> None:
    async def work(client: Client, ids: Ids) -> None:
        notes = f"/cases/{ids[0]}/notes"
        first = await client.post(notes, {"text": "one"}, key="k-1")
        again = await client.post(notes, {"text": "one"}, key="k-1")
        assert first.status == again.status == 200
        assert first.body == again.body
        assert first.headers["etag"] == again.headers["etag"]
        assert again.headers["idempotent-replayed"] == "true"
        other = await client.post(notes, {"text": "two"}, key="k-1")
        assert (other.status, other.problem) == (422, "key-reused")
        # Another token's key is another key.
        assert (await client.post(notes, {"text": "one"}, key="k-1", role="admin")).status == 200
        assert len((await client.get(f"/cases/{ids[0]}")).body["history"]) == 2
        # What was refused was not done, and may be tried again.
        close, seen = f"/cases/{ids[0]}/close", await client.etag(ids[0])
        assert (await client.post(close, {"outcome": "none"}, '"stale"', key="k-2")).status == 412
        assert (await client.post(close, {"outcome": "none"}, seen, key="k-2")).status == 200
        # After it, the version has changed: the answer is the first one all the same.
        assert (await client.post(close, {"outcome": "none"}, seen, key="k-2")).body["state"] == "closed"
        for key in ("", "a b", "k" * 65, "\u00e9", "a\tb"):
            assert (await client.post(notes, {"text": "one"}, key=key)).status == 400, key

    with_store(lambda store: on(store, work))


def test_the_same_request_twice_at_once(with_store: WithStore) -> None:
    async def work(client: Client, ids: Ids) -> None:
        notes = f"/cases/{ids[0]}/notes"
        answers = await asyncio.gather(*(client.post(notes, {"text": "one"}, key="k") for _ in range(8)))
        assert {answer.status for answer in answers} <= {200, 409}
        assert {answer.problem for answer in answers if answer.status == 409} <= {"in-progress"}
        assert len((await client.get(f"/cases/{ids[0]}")).body["history"]) == 1

    with_store(lambda store: on(store, work))


def test_keys_and_claims_are_forgotten(with_store: WithStore) -> None:
    async def work(store: Store) -> None:
        assert await once.begin(store, "t", "k", "d", 1000) is None
        assert await once.begin(store, "t", "other", "d", 1000 + once._STALE_S) is None
        # Killed while it was being done.
        assert await once.begin(store, "t", "k", "d", 1001 + once._STALE_S) is None
        await once.end(store, "t", "k", 200, {}, "{}")
        assert await once.begin(store, "t", "k", "d", 5000) == once.Answer(200, {}, "{}")
        assert await once.begin(store, "t", "k", "d", 1002 + once._STALE_S + once.KEPT_S) is None
        await versions.claim(store, "c", "v", 1000)
        await versions.claim(store, "c", "v", 1001 + versions._STALE_S)
        assert len(await store.read("SELECT * FROM api_claim")) == 1
        # Also where no other request comes: what was answered has subscribers in it.
        await once.end(store, "t", "k", 200, {}, '{"subscriber":"S1"}')
        begun = 1002 + once._STALE_S + once.KEPT_S
        assert await once.forget(store, begun + once.KEPT_S) == 0
        assert await once.forget(store, begun + once.KEPT_S + 1) == 1
        assert await versions.forget(store, 1001 + 2 * versions._STALE_S) == 0
        assert await versions.forget(store, 1002 + 2 * versions._STALE_S) == 1
        assert await store.read("SELECT token FROM api_request") == await store.read("SELECT * FROM api_claim") == []

    with_store(work)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400), (b"{}", 400), (b"[]", 400), (b"null", 400), (b'"text"', 400), (b'{"text":1}', 400),
        (b'{"text":""}', 400), (b'{"text":"  \\n "}', 400), (b'{"text":"a","text":"b"}', 400),
        (b'{"text":"a","who":"anna"}', 400), (b'{"text":"\\u0000"}', 400), (b'{"text":"\\u001b[2J"}', 400),
        (b'{"text":"\\ud800"}', 400), (b'{"text":"\xff"}', 400), (b'{"text":NaN}', 400), (b"[" * 16_000, 400),
        (b'{"text":' + b"9" * 5000 + b"}", 400), (json.dumps({"text": "x" * 2001}).encode(), 400),
        (b" " * 16_385, 413), (json.dumps({"text": "\U0001f600" * 2000}, ensure_ascii=False).encode(), 200),
        (json.dumps({"text": "<script>'; DROP TABLE desk_case; --"}).encode(), 200),
    ],
)  # fmt: skip
def test_bodies(tmp_path: Path, body: bytes, status: int) -> None:
    async def work(client: Client, ids: Ids) -> None:
        answer = await client.ask(f"/api/v1/cases/{ids[0]}/notes", "POST", "desk", body)
        assert answer.status == status, answer
        assert len((await client.get(f"/cases/{ids[0]}")).body["history"]) == (status == 200)

    run(tmp_path, work, 1)


def test_subscribers_and_mails(with_store: WithStore) -> None:
    async def work(client: Client, ids: Ids) -> None:
        first = (await client.get("/subscribers?limit=2")).body
        assert [row["subscriber"] for row in first["subscribers"]] == ["S0", "S1"]
        rest = (await client.get(f"/subscribers?limit=2&cursor={first['next']}")).body
        assert [row["subscriber"] for row in rest["subscribers"]] == ["S2"]
        assert rest["next"] is None
        only = (await client.get("/subscribers?subscriber=S1")).body["subscribers"]
        assert only == [
            {"subscriber": "S1", "routers": 1, "cases": 1, "active": 1, "last_seen": "2026-11-24T11:59:00Z"}
        ]
        columns = "id, case_id, place, subscriber, made_at, made_by, state, tries, next_at, languages"
        add = f"INSERT INTO desk_mail ({columns}) "
        for place in range(3):
            await client.store.write([(
                add + "VALUES (:id, :case, :place, 'S0', :at, '', 'queued', 0, :at, 'de tr')",
                {"id": f"m{place}", "case": ids[0], "place": place, "at": 1_795_521_600 + place // 2},
            )])  # fmt: skip
        seen, cursor = [], ""
        while cursor is not None:
            part = (await client.get("/mails?limit=1" + (f"&cursor={cursor}" if cursor else ""))).body
            seen += [mail["id"] for mail in part["mails"]]
            cursor = part["next"]
        assert seen == ["m2", "m0", "m1"]
        assert (await client.get("/mails?mail_state=sent,failed")).body["mails"] == []
        assert len((await client.get(f"/mails?case={ids[0]}&subscriber=S0&mail_state=queued")).body["mails"]) == 3
        assert (await client.get(f"/cases/{ids[0]}")).body["mails"][0]["languages"] == ["de", "tr"]

    with_store(lambda store: on(store, work))


def test_the_audit_log_has_each_act(with_store: WithStore) -> None:
    async def work(client: Client, ids: Ids) -> None:
        await client.post(f"/cases/{ids[0]}/close", {"outcome": "confirmed", "text": "seen"}, "*")
        await client.post("/tokens/read/revoke", role="admin")
        first = (await client.get("/audit?limit=2", "admin")).body
        whole = first["lines"] + (await client.get(f"/audit?cursor={first['next']}", "admin")).body["lines"]
        assert [(one["who"], one["via"], one["what"], one["reason"]) for one in whole] == [
            ("token:admin", "api", "token", "read revoked"),
            ("token:desk", "api", "confirmed", "seen"),
            ("root", "command", "token", "admin created, role admin"),
            ("root", "command", "token", "desk created, role desk"),
            ("root", "command", "token", "read created, role read"),
        ]
        assert whole[1]["case"] == ids[0]
        assert whole[1]["peer"] == "192.0.2.9"
        only = (await client.get(f"/audit?case={ids[0]}&via=api&what=confirmed&who=token:desk", "admin")).body
        assert [one["n"] for one in only["lines"]] == [4]
        assert (await client.get("/audit?until=2026-11-24T12:00:00Z", "admin")).body["lines"] == []

    with_store(lambda store: on(store, work))


def test_a_signed_instruction(with_store: WithStore) -> None:
    async def work(store: Store) -> None:
        ids = await filled(store)
        desk = instructions.Desk(store, signing.generate())
        client = await Client(store, instructions=desk).with_tokens()
        seen = await client.etag(ids[0])
        order = {"text": "its own mail server", "days": 30}
        assert (await client.post(f"/cases/{ids[0]}/exempt", order, seen)).status == 202
        again = await client.post(f"/cases/{ids[0]}/exempt", order, "*")
        assert (again.status, again.body["detail"]) == (409, "The router has not answered the last one yet")
        rows = await instructions.of_case(store, ids[0])
        assert [(row["action"], row["made_by"], row["remark"]) for row in rows] == [
            ("exempt", "token:desk", "its own mail server")
        ]
        shown = (await client.get(f"/cases/{ids[0]}")).body["instructions"]
        assert [(one["action"], one["state"], one["made_by"]) for one in shown] == [("exempt", "queued", "token:desk")]
        lines = (await client.get("/audit?what=exempt", "admin")).body["lines"]
        assert [(one["who"], one["via"]) for one in lines] == [("token:desk", "api")]

    with_store(work)
