"""`policy status`: its text, and the fields of --json, which programs may rely on."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from cpe_filter.cli import main
from cpe_filter.provision import command
from cpe_filter.provision.folder import digest_of
from tests.provision.test_command import Router, router

__all__ = ["router"]


def asked(router: Router, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        main.main(["policy", "status", "--json", "--folder", router.place.folder])
    assert ended.value.code == 0
    out = capsys.readouterr().out
    assert out.count("\n") == 1
    found: dict[str, Any] = json.loads(out)
    return found


def test_a_router_without_documents(router: Router, capsys: pytest.CaptureFixture[str]) -> None:
    nothing: dict[str, Any] = {"in_force": None, "tried_now": None, "before": None, "since": None, "refused": []}
    assert asked(router, capsys) == {
        "documents": [{"type": kind, **nothing} for kind in ("policy", "table", "replies")],
        "outcomes": [],
    }
    assert not Path(router.place.folder).exists()


def test_each_field(router: Router, capsys: pytest.CaptureFixture[str]) -> None:
    now = int(time.time())
    dates: dict[str, Any] = {"issued": now - 60, "expires": now + 86400}
    first, second = router.document(sequence=3, **dates), router.document(sequence=4, **dates)
    assert (router.apply(first), router.apply(second)) == (0, 0)
    router.works = lambda: {"filter": True, "rules": router.mode == "monitor"}
    worse = router.document('[filter]\nmode = "limit"\n', sequence=5, **dates)
    assert router.apply(worse) == 4
    third = router.document(sequence=6, **dates)
    tried = third.read_bytes()
    third.write_bytes(b"no document")
    assert router.apply(third) == 2
    router.folder.begin(tried, router.boot, 1000.0)

    def described(document: bytes, sequence: int) -> dict[str, Any]:
        return {"digest": digest_of(document), "sequence": sequence, **dates, "problem": None}

    a, b, c = (path.read_bytes() for path in (first, second, worse))
    found = asked(router, capsys)
    assert now <= found["documents"][0].pop("since") <= time.time()
    assert found["documents"][0] == {
        "type": "policy",
        "in_force": described(b, 4),
        "tried_now": described(tried, 6),
        "before": described(a, 3),
        "refused": [{"digest": digest_of(c), "why": "after it: rules"}],
    }
    names = ("number", "result", "type", "digest", "sequence", "why")
    assert found["outcomes"] == [
        dict(zip(names, values, strict=True))
        for values in (
            (1, "applied", "policy", digest_of(a), 3, None),
            (2, "applied", "policy", digest_of(b), 4, None),
            (3, "taken-back", "policy", digest_of(c), 5, "rules"),
            (4, "refused", None, digest_of(b"no document"), None, "format"),
        )
    ]


def test_a_document_of_another_version(router: Router, capsys: pytest.CaptureFixture[str]) -> None:
    router.apply(router.document(sequence=3))
    later = router.document(sequence=4, min_agent="99.0").read_bytes()
    (Path(router.folder.path) / "good").write_bytes(later)
    found = asked(router, capsys)["documents"][0]["in_force"]
    assert (found["digest"], found["sequence"], found["issued"], found["expires"]) == (
        digest_of(later),
        None,
        None,
        None,
    )
    assert "needs" in found["problem"]
    assert command.status(router.place) == 0
    assert f"in force:  policy {digest_of(later)}  not usable: " in capsys.readouterr().out
