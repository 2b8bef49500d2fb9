"""What dialogues share stays as it is, and the tables of states name what there is."""

from __future__ import annotations

import pytest

from cpe_filter.inspect import smtp
from cpe_filter.inspect.dialogue_state import ClientInput, Gaps
from cpe_filter.inspect.facts import Facts, Limits
from cpe_filter.inspect.smtp import Dialogue
from cpe_filter.inspect.states import ANSWERS, COMMANDS, MAY_BE_OUTRUN, OTHERS_THAT_WAIT, PASSED_OVER, TURNS, WORDLESS
from tests.fuzz import run
from tests.fuzz.targets import play as fuzz
from tests.inspect.transcript import WAYS, play, read_all


def _attributes(thing: object) -> dict[str, object]:
    return {name: getattr(thing, name) for name in type(thing).__slots__}  # type: ignore[attr-defined]


def test_no_dialogue_sets_what_all_share() -> None:
    for transcript in read_all():
        for way in WAYS.values():
            play(transcript, way, 1, Limits())
    for data in run.seeds("smtp"):
        fuzz(Dialogue(), data)
    assert _attributes(smtp.NO_FACTS) == _attributes(Facts())
    assert _attributes(smtp.NO_GAPS) == _attributes(Gaps())
    assert _attributes(smtp.NO_INPUT) == _attributes(ClientInput())
    assert smtp.NO_EVENTS == []


def test_an_ordinary_dialogue_has_no_more_than_the_shared_objects() -> None:
    dialogue = Dialogue(Limits(last_reply=False, names=False))
    for client, data in (
        (False, b"220 mx.example.net\r\n"),
        (True, b"EHLO host.example.org\r\n"),
        (False, b"250-mx.example.net\r\n250 PIPELINING\r\n"),
        (True, b"MAIL FROM:<alice@example.org>\r\nRCPT TO:<bob@example.net>\r\nDATA\r\n"),
        (False, b"250 ok\r\n250 ok\r\n354 go\r\n"),
        (True, b"text\r\n.\r\nQUIT\r\n"),
        (False, b"250 queued\r\n221 bye\r\n"),
    ):
        (dialogue.client if client else dialogue.server)(data)
    assert dialogue.dismissed
    assert dialogue.envelope.messages == 1
    shared = smtp.NO_FACTS, smtp.NO_GAPS, smtp.NO_INPUT
    assert (dialogue.facts, dialogue.gaps, dialogue.input) == shared


@pytest.mark.parametrize("table", [TURNS, WORDLESS, PASSED_OVER, MAY_BE_OUTRUN, *ANSWERS.values()])
def test_the_tables_name_only_what_can_wait(table: tuple[str, ...]) -> None:
    assert set(table) <= {*COMMANDS, *OTHERS_THAT_WAIT}
