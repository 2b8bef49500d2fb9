"""New certificates without a restart: taken over once, and never replaced by what cannot be used."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cpe_filter.collect.intake.listener import ListenError
from cpe_filter.collect.intake.tls import Reloader, browser_context
from tests.collect.ca import Authority


@pytest.fixture
def files(tmp_path: Path) -> tuple[str, str]:
    pair = Authority(tmp_path / "ca").server()
    return str(pair.certificate), str(pair.key)


def replace(path: str, content: bytes) -> None:
    """With another inode, as a renamed file has."""
    Path(f"{path}.new").write_bytes(content)
    os.chmod(f"{path}.new", 0o600)
    os.replace(f"{path}.new", path)


@pytest.mark.parametrize("which", [0, 1])
def test_a_new_file_is_taken_over_once(files: tuple[str, str], which: int) -> None:
    reloader = Reloader(browser_context(*files), *files)
    assert not reloader.check()
    replace(files[which], Path(files[which]).read_bytes())
    assert reloader.check()
    assert not reloader.check()


def test_a_file_that_cannot_be_used_is_reported_once(files: tuple[str, str]) -> None:
    certificate, key = files
    reloader = Reloader(browser_context(certificate, key), certificate, key)
    good = Path(certificate).read_bytes()
    replace(certificate, b"rubbish")
    with pytest.raises(ListenError, match=f"^{certificate}, {key}: "):
        reloader.check()
    assert not reloader.check()
    replace(certificate, good)
    assert reloader.check()


def test_a_key_that_others_can_read_is_refused(files: tuple[str, str]) -> None:
    os.chmod(files[1], 0o644)
    with pytest.raises(ListenError, match="others can read or change it"):
        browser_context(*files)
