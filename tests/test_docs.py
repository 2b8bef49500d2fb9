"""The documents and the default policy say what the code does: their tables, examples and links are checked against it.

Each page is read from `docs/`; README.md and the other documents of the project's root are checked for their links.
"""

from __future__ import annotations

import csv
import os
import re
import shlex
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from http.client import HTTPSConnection
from pathlib import Path

import pytest

from cpe_filter.cli.parser import make_parser
from cpe_filter.policy.keys import KEYS
from cpe_filter.policy.load import load
from cpe_filter.policy.model import Policy
from tests.collect.running import answer
from tests.documents import (
    BOUND_HEADER,
    COLLECTOR_METRIC_HEADER,
    DOCS,
    FILTER_METRIC_HEADER,
    KEY_HEADER,
    KIND_HEADER,
    LOG_HEADER,
    REPLY_HEADER,
    VIOLATION_HEADER,
    api_tables,
    bound_table,
    collector_metric_table,
    collector_table,
    data_model_tables,
    filter_metric_table,
    kind_table,
    log_table,
    policy_table,
    reply_table,
    table,
    violation_table,
)
from tests.lab.net import PROJECT
from tests.ports import free_port
from tools import man
from tools.man import toml

README = (PROJECT / "README.md").read_text()
#: What a person reads of the project, by its path in the project.
DOCUMENTS = sorted(
    str(path.relative_to(PROJECT))
    for folder in (".", "docs", "openwrt", "pcaps")
    for path in (PROJECT / folder).glob("*.md")
)


def page(name: str) -> str:
    return (DOCS / name).read_text()


def test_table_of_policy_keys() -> None:
    """`python -m tests.documents` writes it."""
    assert table("policy.md", KEY_HEADER) == policy_table()


def test_table_of_refusals() -> None:
    """`python -m tests.documents` writes it."""
    assert table("replies.md", REPLY_HEADER) == reply_table()


def test_example_of_own_wordings_is_valid(tmp_path: Path) -> None:
    text = page("replies.md")
    (tmp_path / "policy.toml").write_text(text[text.index("[detect]\n") :].partition("```")[0])
    assert len(load(str(tmp_path / "policy.toml")).detect.replies) == 2


def test_table_of_the_collectors_keys() -> None:
    """`python -m tests.documents` writes it."""
    assert table("collector.md", KEY_HEADER) == collector_table()


def test_table_of_the_log_s_lines() -> None:
    """`python -m tests.documents` writes it."""
    assert table("log.md", LOG_HEADER) == log_table()


def test_table_of_violations() -> None:
    assert table("replay.md", VIOLATION_HEADER) == violation_table()


def test_tables_of_metrics() -> None:
    """`python -m tests.documents` writes them."""
    assert table("metrics.md", FILTER_METRIC_HEADER) == filter_metric_table()
    assert table("metrics.md", COLLECTOR_METRIC_HEADER) == collector_metric_table()


def test_tables_of_the_detector() -> None:
    """`python -m tests.documents` writes them."""
    assert table("detect.md", KIND_HEADER) == kind_table()
    assert table("detect.md", BOUND_HEADER) == bound_table()


def test_tables_of_the_api() -> None:
    for header, rows in api_tables().items():
        assert table("api.md", header) == rows


def test_tables_of_the_data_model() -> None:
    for header, rows in data_model_tables().items():
        assert table("tr069.md", header) == rows


def test_collector_in_five_minutes(tmp_path: Path) -> None:
    """The commands of the page, with other ports: check, a report, the case in the CSV."""
    text = page("collector.md")
    part = text[text.index("## In five minutes") : text.index("## Certificates")]
    script, said, examined = re.findall(r"```(?:sh)?\n(.*?)```", part, re.DOTALL)
    bin_ = Path(sys.executable).parent
    environment = {**os.environ, "PATH": f"{bin_}:{os.environ['PATH']}"}
    subprocess.run(["sh", "-ec", script], cwd=tmp_path, env=environment, check=True, capture_output=True)
    trial = tmp_path / "trial"
    config = trial / "collector.toml"
    command = [str(bin_ / "cpe-filter"), "collector", "--config", "trial/collector.toml"]
    checked = subprocess.run([*command, "check"], cwd=tmp_path, capture_output=True, text=True)
    assert checked.stdout in said
    ports = [free_port() for _ in range(3)]
    text = config.read_text().replace(":8443", f":{ports[0]}").replace(":8080", f":{ports[1]}")
    config.write_text(f'{text}[metrics]\naddress = "127.0.0.1:{ports[2]}"\n')
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(command, cwd=tmp_path, stderr=log)
    try:
        end = time.monotonic() + 20
        while '"started"' not in (tmp_path / "log").read_text():
            assert process.poll() is None
            assert time.monotonic() < end
            time.sleep(0.05)
        context = ssl.create_default_context(cafile=str(trial / "ca.pem"))
        context.load_cert_chain(trial / "cpe-0001.pem", trial / "cpe-0001.key")
        connection = HTTPSConnection("localhost", ports[0], context=context, timeout=20)
        connection.request(
            "POST", "/v1/reports", (trial / "report.json").read_bytes(), {"Content-Type": "application/json"}
        )
        got = answer(connection)
        connection.close()
        assert (got.status, got.body["acked"]) == (200, [1])
        done = subprocess.run([*command, "export", "csv"], cwd=tmp_path, capture_output=True, text=True)
        rows = [[*row[:5], row[20], *row[26:29]] for row in csv.reader(done.stdout.splitlines())]
        assert rows[0] == next(csv.reader(line for line in said.splitlines() if line.startswith('"case"')))
        shown = next(csv.reader(line for line in said.splitlines() if line.startswith('"104a')))
        assert rows[1] == shown
        found = subprocess.run([*command, "doctor"], cwd=tmp_path, capture_output=True, text=True).stdout
        # A machine's clock and root are its own affair.
        assert _of_any_machine(examined.splitlines()[1:]) == _of_any_machine(found.splitlines())
        assert " 0 failed" in found, found
    finally:
        process.terminate()
        assert process.wait(30) == 0


def _of_any_machine(lines: list[str]) -> list[str]:
    """doctor's lines without folders, ports, sizes and names' addresses."""
    same = []
    for line in lines:
        if line[6:28].strip() in ("clock", "user", "public name") or not line.startswith(("ok", "warn", "fail")):
            continue
        line = re.sub(r"/\S*/trial", "/trial", re.sub(r"127\.0\.0\.1:\d+", "HERE", line))
        same.append(re.sub(r"[\d.]+ (GiB|days)", r"N \1", re.sub(r"^(ok|warn)(?= +disk)", "ok", line)))
    return same


def test_each_verb_of_the_collector_is_in_its_table() -> None:
    text = page("collector.md")
    rows = re.findall(r"^\| (`.*?) \|", text[: text.index("Without `--config`")], re.MULTILINE)
    shown = {word for row in rows for word in re.findall(r"`(\w+)", row)}
    assert {words.split()[1] for words, _, _ in man._leaves(make_parser()) if words.startswith("collector ")} <= shown


@pytest.mark.parametrize("name", [name for name in DOCUMENTS if name != "CHANGELOG.md"])
def test_what_python_and_pip_are_to_take_is_there(name: str) -> None:
    """Modules by `python -m`; and what pip installs is a checkout, since no index has the project."""
    text = (PROJECT / name).read_text()
    for module in re.findall(r"python3? -m ((?:tests|tools|cpe_filter)[\w.]*)", text):
        path = PROJECT / module.rstrip(".").replace(".", "/")
        assert path.with_suffix(".py").exists() or (path / "__main__.py").exists(), module
    assert set(re.findall(r"pip install '?([\w.-]+)", text)) <= {"."}


def test_default_policy_holds_every_key_at_its_default() -> None:
    path = PROJECT / "openwrt" / "policy.toml"
    assert load(str(path)) == Policy()
    text = path.read_text()
    for key in KEYS:
        assert f"\n{key.name} = {toml(key.value(Policy()))}" in text


def test_replay_output_is_real() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "cpe_filter", "replay", "pcaps/bot-sprayer.pcap"],
        cwd=PROJECT,
        capture_output=True,
        text=True,
    )
    assert done.stdout.rstrip() in page("replay.md")


def test_exemption_example_is_valid(tmp_path: Path) -> None:
    text = page("policy.md")
    start = text.index("[[exempt]]")
    path = tmp_path / "policy.toml"
    path.write_text(text[start : text.index("```", start)])
    (exemption,) = load(str(path)).exempt
    assert exemption.reason == "its own mail server"


@pytest.mark.parametrize("name", DOCUMENTS)
def test_links_lead_somewhere(name: str) -> None:
    """To files that there are, and to headings that these have."""
    wrong = []
    for target in re.findall(r"\]\(([^)\s]+)\)", _prose((PROJECT / name).read_text())):
        if target.startswith("https://"):
            continue
        path, _, anchor = target.partition("#")
        file = (PROJECT / name).parent / path if path else PROJECT / name
        if not file.exists() or (anchor and anchor not in _anchors(file.read_text())):
            wrong.append(target)
    assert not wrong


@pytest.mark.parametrize("name", DOCUMENTS)
def test_files_that_are_named_exist(name: str) -> None:
    """So a document follows when a file is renamed."""
    named = re.findall(r"`((?:cpe_filter|docs|openwrt|pcaps|tests|tools)/[\w./-]*)`", (PROJECT / name).read_text())
    assert not [path for path in named if not (PROJECT / path).exists()]


def test_each_invariant_has_its_test() -> None:
    """ARCHITECTURE.md names them by file and function."""
    text = (PROJECT / "ARCHITECTURE.md").read_text()
    named = re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", text)
    assert len(named) >= 20
    wrong = []
    for path, function in named:
        file = PROJECT / path
        if not file.exists() or (function and f"def {function}(" not in file.read_text()):
            wrong.append(f"{path}::{function}")
    assert not wrong


def test_each_room_is_in_the_architecture() -> None:
    """And no other, with the package that has it."""
    text = (PROJECT / "ARCHITECTURE.md").read_text()
    start = text.index("| room | what it is |")
    rows = re.findall(r"^\| `(\w+)/` \|.*\| ([^|]+) \|$", text[start : text.index("\n\n", start)], re.MULTILINE)
    folders = {path.parent.name for path in (PROJECT / "cpe_filter").glob("*/__init__.py")}
    assert {room for room, _ in rows} == folders
    recipe = (PROJECT / "openwrt" / "cpe-filter" / "Makefile").read_text()
    apart = dict(re.findall(r"^FOLDERS/(\S+):=(.*)$", recipe, re.MULTILINE))
    # A folder within a room is of its room.
    rooms = {
        name: {folder for folder in folders.split() if "/" not in folder}
        for name, folders in apart.items()
        if "lang" not in name
    }
    assert {name: {room for room, package in rows if package == name} for name in rooms} == rooms
    other = re.search(r"^OTHER_FOLDERS:=(.*)$", recipe, re.MULTILINE)
    assert other
    assert {room for room, package in rows if package.startswith("none")} == set(other[1].split())


def _prose(text: str) -> str:
    """A document without its blocks of code."""
    return re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)


def _anchors(text: str) -> set[str]:
    """The names that GitHub, and most others, give to a document's headings."""
    headings = re.findall(r"^#+ (.*)$", _prose(text), re.MULTILINE)
    return {re.sub(r"[^a-z0-9 _-]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_each_page_is_found_from_the_readme() -> None:
    assert not [name for name in DOCUMENTS if name.startswith("docs/") and f"]({name})" not in README]


def test_each_command_is_in_the_readme() -> None:
    """Each with a line of its own, and no other."""
    done = subprocess.run([sys.executable, "-m", "cpe_filter", "--help"], cwd=PROJECT, capture_output=True, text=True)
    commands = re.findall(r"^    ([a-z]+)\b", done.stdout, re.MULTILINE)
    part = README[README.index("## Commands") : README.index("## Documentation")]
    assert sorted(set(re.findall(r"^    cpe-filter ([a-z]+) .*   ", part, re.MULTILINE))) == sorted(commands)


_CODE = re.compile(r"^```[a-z]*\n(.*?)^```", re.DOTALL | re.MULTILINE)
#: What stands for a value, and one.
_EXAMPLES = {
    "add|list|remove": "list",
    "ROLE": "desk",
    "DAYS": "30",
    "[--config FILE] ...": "--config FILE",
    "policy VERB": "policy status",
}
#: Where a command's arguments end on a line: a pipe, a comment, two columns.
_END = re.compile(r"\s+(?:[|>#&]|2>)| {3,}| <")


def _commands(text: str) -> Iterator[tuple[str, str]]:
    """Program and arguments of each `cpe-filter` and `make` in a document's code."""
    lines = re.findall(r"`([^`\n]+)`", _prose(text)) + re.findall(r"^ {4}(\S.*)$", text, re.MULTILINE)
    for block in _CODE.findall(text):
        lines += block.replace("\\\n", " ").splitlines()
    for line in lines:
        found = re.match(r"(?:[$#] )?(?:\S*/)?(cpe-filter|make) ([^|]+.*)", line.strip())
        if found and not re.match(r"is |\[|rates 1$", found[2]):  # prose, a log line, the head of a table of rates
            yield found[1], _END.split(found[2])[0].strip()


@pytest.mark.parametrize("name", [name for name in DOCUMENTS if name != "CHANGELOG.md"])
def test_commands_of_a_document_are_commands(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """They have the arguments that the program takes. A command that is only named may lack arguments."""
    targets = set(re.findall(r"^([a-z]+):", (PROJECT / "Makefile").read_text(), re.MULTILINE))
    elsewhere = {"defconfig"}  # OpenWrt's SDK
    for program, words in _commands((PROJECT / name).read_text()):
        if program == "make":
            asked = [word for word in words.split() if "=" not in word and not word.startswith(("-", "package/"))]
            assert set(asked[:1]) <= targets | elsewhere, words
            continue
        for shown, value in _EXAMPLES.items():
            words = words.replace(shown, value)
        said = _refused(shlex.split(words), capsys)
        assert not said or "arguments are required" in said, f"{words}: {said}"


def _refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """What the parser says against these arguments; "" if it takes them."""
    try:
        make_parser().parse_args(words)
    except SystemExit as end:
        said = capsys.readouterr().err
        return said if end.code else ""
    return ""


def test_readme_is_short() -> None:
    """What is longer belongs to a page of docs/."""
    assert len(README.splitlines()) <= 200
    assert len(README.split()) <= 2000


def test_both_commands_are_on_the_first_screen() -> None:
    first = "\n".join(README.splitlines()[:24])
    assert "make demo" in first
    assert "make fleet" in first


def test_figure_of_the_captures(captures: Path) -> None:
    from cpe_filter.replay.replay import Options, replay

    (device,) = replay(str(captures / "bot" / "spambot.pcap"), Options(), lambda _: None)["devices"]
    suspected, compromised = device["suspected_at"]["connection"], device["compromised_at"]["connection"]
    text = page("detect.md")
    assert f"suspected at its connection {suspected} and\nconvicted at {compromised}" in text
    assert f"{len(list((captures / 'legit').glob('*.pcap')))} captures of legitimate mail" in text
