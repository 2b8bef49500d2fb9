"""TOML files of known tables and keys: what every such file has in common. The keys' own rules are tested with them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cpe_filter import toml_file
from cpe_filter.toml_file import by_table, flag, number, word


class ExampleError(ValueError):
    pass


TABLES = by_table(
    (
        number("one", "size", "bytes", 1, 9, "A size."),
        word("one", "mode", ("on", "off"), "A mode."),
        flag("two", "loud", "Whether it is loud."),
    )
)


def check(data: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return toml_file.check(data, "f.toml", TABLES, ExampleError, {"item": ("name",)})


def test_values_are_kept_by_table() -> None:
    assert check({"one": {"size": 9, "mode": "off"}, "two": {}}) == {"one": {"size": 9, "mode": "off"}, "two": {}}


@pytest.mark.parametrize(
    ("data", "text"),
    [
        ({"one": {"size": 10}}, "f.toml: [one] size is 10; allowed: a whole number from 1 to 9 (bytes)"),
        ({"one": {"size": True}}, "f.toml: [one] size is true; allowed: a whole number from 1 to 9 (bytes)"),
        ({"one": {"mode": "ON"}}, 'f.toml: [one] mode is "ON"; allowed: on, off'),
        ({"two": {"loud": 1}}, "f.toml: [two] loud is 1; allowed: true, false"),
        ({"two": 1}, "f.toml: two is 1; expected a table [two]"),
        ({"tow": {}}, 'f.toml: unknown table or key "tow"; did you mean [two]?'),
        ({"items": []}, 'f.toml: unknown table or key "items"; did you mean [[item]]?'),
        ({"loud": True}, 'f.toml: unknown table or key "loud"; it belongs in [two]'),
        ({"name": ""}, 'f.toml: unknown table or key "name"; it belongs in [[item]]'),
        ({"two": {"mode": "on"}}, 'f.toml: [two] unknown key "mode"; it belongs in [one]'),
        ({"one": {"sise": 1}}, 'f.toml: [one] unknown key "sise"; did you mean size?'),
        ({"one": {"zzzzzzz": 1}}, 'f.toml: [one] unknown key "zzzzzzz"; known: size, mode'),
    ],
)
def test_an_error_names_file_table_key_finding_and_what_is_allowed(data: dict[str, Any], text: str) -> None:
    with pytest.raises(ExampleError) as caught:
        check(data)
    assert str(caught.value) == text


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    path = tmp_path / "f.toml"
    with pytest.raises(ExampleError, match=rf"^{path}: No such file or directory$"):
        toml_file.load(str(path), ExampleError)
    for content, why in ((b"\xff", "not UTF-8 text"), (b"a =", "not TOML"), (b"a = " + b"[" * 9999, "nested too")):
        path.write_bytes(content)
        with pytest.raises(ExampleError, match=f"^{path}: .*{why}"):
            toml_file.load(str(path), ExampleError)
    path.write_bytes(b"#" * (toml_file.MAX_FILE_BYTES + 1))
    with pytest.raises(ExampleError, match=f"too large; allowed: at most {toml_file.MAX_FILE_BYTES} bytes"):
        toml_file.load(str(path), ExampleError)
