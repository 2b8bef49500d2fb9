"""The manual pages and completions: every command, option and key is there, and a reader of roff has no complaint."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from cpe_filter.cli.parser import make_parser
from cpe_filter.collect.config.keys import KEYS as COLLECTOR_KEYS
from cpe_filter.policy.keys import KEYS as POLICY_KEYS
from cpe_filter.toml_file import Key
from tests.lab.net import DEADLINE_S, PROJECT
from tools import man


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("man")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SOURCE_DATE_EPOCH", "1764460800")
        man.write(made)
    return made


def plain(path: Path) -> str:
    """A page without its markup."""
    text = re.sub(r"\\f[BIR]", "", path.read_text())
    for code, shown in (("\\(aq", "'"), ("\\(ga", "`"), ("\\-", "-"), ("\\&", ""), ("\\e", "\\")):
        text = text.replace(code, shown)
    return " ".join(text.split())


@pytest.mark.parametrize("name", man.PAGES)
def test_roff(name: str, folder: Path) -> None:
    if shutil.which("mandoc") is None:
        pytest.skip("mandoc is not installed")
    command = ["mandoc", "-T", "lint", "-W", "warning", str(folder / name)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE_S)
    assert done.stdout == ""
    shown = subprocess.run(
        ["mandoc", "-T", "utf8", "-O", "width=78", str(folder / name)], capture_output=True, timeout=DEADLINE_S
    ).stdout.decode()
    assert max(map(len, re.sub(".\b", "", shown).splitlines())) <= 80


def test_all_commands_have_their_place(folder: Path) -> None:
    router, collector = plain(folder / "cpe-filter.8"), plain(folder / "cpe-collector.8")
    count = 0
    for words, _, parser in man._leaves(make_parser()):
        page = collector if words.startswith("collector ") else router
        assert f'.SS "{words.removeprefix("collector ")}"' in page, words
        for action in man._arguments(parser):
            for option in action.option_strings:
                assert option in page, (words, option)
            count += 1
    assert count > 60
    assert "already running" not in router


def test_each_argument_is_explained_and_usage_is_aligned(folder: Path) -> None:
    for words, _, parser in man._leaves(make_parser()):
        assert all(action.help for action in man._arguments(parser)), words
        first, *others = man._usage(parser)
        assert {len(line) - len(line.lstrip()) for line in others} <= {first.index("[-h]")}, words


def test_exit_codes_are_those_of_the_page_s_commands(folder: Path) -> None:
    for name, pages_own, other in (("cpe-filter.8", "replay", "doctor"), ("cpe-collector.8", "doctor", "replay")):
        page = plain(folder / name)
        part = page[page.index('.SH "EXIT STATUS"') : page.index('.SH "FILES"')]
        assert f"({pages_own})" in part
        assert other not in part


def test_it_needs_nothing_of_the_tests() -> None:
    """And the pages nothing of shtab: only completions do."""
    code = "import sys; from tools import man; [make() for make in man.PAGES.values()]; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=True)
    assert not {"shtab", "pytest", "prometheus_client"} & set(done.stdout.split())
    assert not any(name.startswith("tests") for name in done.stdout.split())


@pytest.mark.parametrize(
    ("name", "keys"), [("cpe-filter-policy.5", POLICY_KEYS), ("cpe-collector.toml.5", COLLECTOR_KEYS)]
)
def test_all_keys_have_their_place(name: str, keys: tuple[Key, ...], folder: Path) -> None:
    page = plain(folder / name)
    for key in keys:
        assert f'.SS "[{key.table}]"' in page
        assert f".TP {key.name} = " in page, key.place
        assert " ".join(key.meaning.replace("`", "").split()) in page.replace("`", ""), key.place


def test_text_is_never_a_request() -> None:
    hostile = ".so /etc/passwd \\n(.x 'quoted' `code` é -x"
    assert man.escaped(hostile) == ("\\&.so /etc/passwd \\en(.x \\(aqquoted\\(aq \\(gacode\\(ga \\[u00E9] \\-x")
    for line in man.paragraph("word " * 14 + "..so x 'y' and more words " * 4):
        assert not line.startswith((".", "'"))


def test_the_same_again(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1764460800")
    for path in man.write(tmp_path):
        assert path.read_bytes() == (folder / path.relative_to(tmp_path)).read_bytes(), path
    assert "2025-11-30" in (tmp_path / "cpe-filter.8").read_text()


COMPLETE = """
source {file}
COMP_WORDS=({words} ""); COMP_CWORD={count}; COMP_LINE="{words} "; COMP_POINT=${{#COMP_LINE}}
"$(complete -p cpe-filter | sed 's/.*-F \\([^ ]*\\).*/\\1/')" cpe-filter "" "{last}"
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


@pytest.mark.parametrize(
    ("words", "offers"),
    [
        ("cpe-filter", {"replay", "status", "exempt", "collector"}),
        ("cpe-filter exempt", {"add", "list", "remove"}),
        ("cpe-filter collector", {"export", "check", "notice"}),
        ("cpe-filter collector export", {"xarf", "intelmq", "csv"}),
    ],
)
def test_bash_completes(words: str, offers: set[str], folder: Path) -> None:
    split = words.split()
    script = COMPLETE.format(
        file=folder / "completions" / "cpe-filter.bash", words=words, count=len(split), last=split[-1]
    )
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=DEADLINE_S)
    assert offers <= set(done.stdout.split()), done
