"""What is used of uvicorn that is not its public interface: checked when the collector starts."""

from __future__ import annotations

from typing import Any

import pytest
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from cpe_filter.collect import command
from cpe_filter.collect.intake import http
from cpe_filter.collect.intake.http import TESTED_UVICORN, Protocol, UvicornError, check_uvicorn
from cpe_filter.outcome import UsageError
from tests.lab.net import PROJECT


def test_the_installed_uvicorn_has_all_that_is_used() -> None:
    check_uvicorn()


def test_a_method_that_is_missing_is_named() -> None:
    with pytest.raises(UvicornError) as error:
        check_uvicorn(used=((H11Protocol, ("on_response_complete", "on_request_end")), (uvicorn.Server, ("boot",))))
    assert str(error.value) == (
        f"uvicorn {uvicorn.__version__} lacks H11Protocol.on_request_end, Server.boot:"
        f" pip install 'uvicorn{TESTED_UVICORN}'"
    )


def test_an_attribute_of_a_connection_that_is_missing_is_named() -> None:
    class Later(Protocol):
        def __init__(self, *arguments: Any, **named: Any) -> None:
            super().__init__(*arguments, **named)
            del self.timeout_keep_alive_task

    with pytest.raises(UvicornError, match=r"lacks Later\.timeout_keep_alive_task: pip install"):
        check_uvicorn(Later)


def test_other_arguments_of_a_connection_are_an_error_too() -> None:
    class Later(Protocol):
        def __init__(self, config: Any) -> None:
            """Takes less than it did."""

    with pytest.raises(UvicornError, match=r"lacks .*positional argument"):
        check_uvicorn(Later)


def test_the_versions_are_those_of_the_package() -> None:
    assert f'"uvicorn{TESTED_UVICORN}"' in (PROJECT / "pyproject.toml").read_text()


def test_an_untested_uvicorn_is_one_line(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def lacking() -> None:
        raise UvicornError("uvicorn 9 lacks Server.startup")

    monkeypatch.setattr("cpe_filter.collect.service.check_uvicorn", lacking)
    path = tmp_path / "c.toml"
    path.write_text(
        f'[listen]\naddress = ""\n[tls_proxy]\naddress = "unix:{tmp_path}/s"\n[store]\npath = "{tmp_path}/db"\n'
        '[metrics]\naddress = ""\n'
    )
    with pytest.raises(UsageError, match=r"^uvicorn 9 lacks Server\.startup$"):
        command.main(str(path), "run")


def test_idle_time_and_head_size_reach_uvicorn() -> None:
    async def application(scope: Any, receive: Any, send: Any) -> None:
        raise NotImplementedError

    made = http.config(application, 7.0, 20)
    assert (made.timeout_keep_alive, made.timeout_graceful_shutdown) == (7.0, 20)
    assert made.h11_max_incomplete_event_size == http.MAX_HEAD
    assert made.http is Protocol
