"""The text of `uci export`, odd values included."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cpe_filter.uci.export import ExportError, parse
from tests.uci.router import section

#: As OpenWrt's uci prints it.
TEXT = """package cpe-filter

config cpe-filter 'main'
\toption enabled '1'

config exempt
\toption reason 'it'\\''s mine'
\tlist empty ''
\toption long 'two
lines'

config exempt 'cfg0a1b2c'
\tlist port '25'
\tlist port '26'

"""


def test_sections_options_and_lists() -> None:
    first, second, third = parse(TEXT)
    assert first == ("cpe-filter", "main", {"enabled": "1"})
    assert second == ("exempt", "", {"reason": "it's mine", "empty": [""], "long": "two\nlines"})
    assert third == ("exempt", "cfg0a1b2c", {"port": ["25", "26"]})


def test_values_are_read_as_openwrt_does() -> None:
    (one,) = parse(section("zone", network="lan  guest", device=["a", "b c"], masq="on", odd="maybe"))
    assert one.words("network") == ["lan", "guest"]
    assert one.words("device") == ["a", "b", "c"]
    assert one.text("device") == "a b c"
    assert (one.text("none"), one.words("none")) == ("", [])
    assert one.flag("masq", False)
    assert not one.flag("odd", False)
    assert one.flag("odd", True)
    assert one.flag("none", True)


@pytest.mark.parametrize(
    "text",
    ["config", "config a b c", "option a 'b'", "config a\n\toption b", "config a\n\toption b 'c", "config a\nx y z"],
)
def test_what_uci_does_not_print_is_an_error(text: str) -> None:
    with pytest.raises(ExportError, match="line"):
        parse(text)


_values = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=40)


@given(value=_values, items=st.lists(_values, min_size=1, max_size=4))
def test_a_value_is_what_it_was(value: str, items: list[str]) -> None:
    assert parse(section("kind", "name", one=value, many=items))[0].options == {"one": value, "many": items}


@given(text=st.text(max_size=80) | st.text("configoptnls ab'\\\n\t", max_size=80))
def test_any_text_gives_sections_or_an_error(text: str) -> None:
    try:
        parse(text)
    except ExportError:
        pass
