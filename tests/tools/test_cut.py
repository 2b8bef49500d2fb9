"""Cutting a release: sections move, versions change in each place, and what makes no sense changes nothing."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from cpe_filter import __version__
from tests.lab.net import PROJECT
from tools import cut
from tools.cut import CutError


@pytest.fixture
def project(tmp_path: Path) -> Path:
    for name in (*cut.PLACES, "CHANGELOG.md"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(PROJECT / name, tmp_path / name)
    return tmp_path


def contents(project: Path) -> dict[str, str]:
    return {name: (project / name).read_text() for name in (*cut.PLACES, "CHANGELOG.md")}


def test_no_other_file_states_the_version() -> None:
    """In the form in which programs and packages state theirs."""
    assert set(cut.stated(PROJECT).values()) == {__version__}
    words = [
        "git",
        "grep",
        "-lE",
        rf"(VERSION|version)[^=]{{0,6}}[:=]+ *\"?{__version__}\"?$",
        "--",
        ":!tests",
        ":!docs",
    ]
    found = subprocess.run(words, cwd=PROJECT, capture_output=True, text=True).stdout.split()
    assert set(found) <= set(cut.PLACES)


def test_a_release(project: Path) -> None:
    assert cut.main(["9.8.7", "--date", "2027-02-03"], project) == 0
    assert set(cut.stated(project).values()) == {"9.8.7"}
    text = (project / "CHANGELOG.md").read_text()
    before = (PROJECT / "CHANGELOG.md").read_text()
    assert "## [Unreleased]\n\n## [9.8.7] - 2027-02-03\n\n### Added\n" in text
    assert text.partition("## [9.8.7] - 2027-02-03\n")[2] == before.partition("## [Unreleased]\n")[2]
    assert "Nothing has been released yet" not in text


def test_a_second_release_takes_what_came_since(project: Path) -> None:
    cut.cut(project, "9.8.7", "2027-02-03")
    path = project / "CHANGELOG.md"
    path.write_text(path.read_text().replace("## [Unreleased]\n", "## [Unreleased]\n\n### Fixed\n\n- One thing.\n", 1))
    cut.cut(project, "9.9.0", "2027-03-04")
    expected = "## [Unreleased]\n\n## [9.9.0] - 2027-03-04\n\n### Fixed\n\n- One thing.\n\n## [9.8.7] - 2027-02-03\n"
    assert expected in path.read_text()


def test_the_version_that_is_stated_can_be_the_first_release(project: Path) -> None:
    assert cut.cut(project, __version__, "2027-02-03") == ["CHANGELOG.md"]


@pytest.mark.parametrize(
    ("version", "date", "why"),
    [
        ("0.0.1", "2027-02-03", "is older than"),
        ("1.0", "2027-02-03", "a version such as 0.2.0"),
        ("1.0.0rc1", "2027-02-03", "a version such as 0.2.0"),
        ("9.9.9", "3.2.2027", "a date such as"),
    ],
)
def test_what_is_refused_changes_nothing(project: Path, version: str, date: str, why: str) -> None:
    before = contents(project)
    with pytest.raises(CutError, match=why):
        cut.cut(project, version, date)
    assert contents(project) == before


def test_nothing_to_release_is_refused(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cut.cut(project, "9.8.7", "2027-02-03")
    before = contents(project)
    assert cut.main(["9.9.0"], project) == 2
    assert capsys.readouterr().err == "cut: CHANGELOG.md: [Unreleased] is empty; there is nothing to release\n"
    with pytest.raises(CutError, match=r"has a section \[9\.8\.7\] already"):
        cut.cut(project, "9.8.7", "2027-02-03")
    (project / "CHANGELOG.md").write_text(
        before["CHANGELOG.md"].replace("## [Unreleased]\n", "## [Unreleased]\n\n### Added\n")
    )
    with pytest.raises(CutError, match="is empty"):
        cut.cut(project, "9.9.0", "2027-02-03")
