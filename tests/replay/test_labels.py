"""Labels of a chart that do not touch one another, as numbers; `test_browser` looks at them in a browser."""

from __future__ import annotations

import pytest

from cpe_filter.replay.labels import WIDTHS, Label, best, without_touching

THRESHOLD = Label("compromised", 1, -8, 42, "end")


def test_labels_at_one_height_touch_where_the_chart_is_narrow() -> None:
    label = Label("connection 3", 0.6, 10, 42, "start")
    assert [label.touches(THRESHOLD, width) for width in (215, 289, 500, 950)] == [True, True, False, False]


def test_labels_at_heights_of_their_own_do_not() -> None:
    label = Label("connection 3", 0.6, 10, 60, "start")
    assert not any(label.touches(THRESHOLD, width) for width in WIDTHS)


@pytest.mark.parametrize("anchor", ["start", "middle", "end"])
def test_what_touches_is_mutual(anchor: str) -> None:
    label = Label("connection 3", 0.75, 0, 40, anchor)
    assert [label.touches(THRESHOLD, width) for width in WIDTHS] == [
        THRESHOLD.touches(label, width) for width in WIDTHS
    ]


def test_the_first_place_without_faults_is_taken() -> None:
    places = [Label("connection 3", 0.4, 10, 45, "start"), Label("connection 3", 0.4, -10, 21, "end")]
    assert best(places, [THRESHOLD]) is places[1]
    assert best(places, []) is places[0]


def test_a_place_outside_the_chart_is_a_fault() -> None:
    places = [Label("connection 3", 0.95, 10, 100, "start"), Label("connection 3", 0.95, -10, 100, "end")]
    assert best(places, []) is places[1]
    assert best([Label("x", 0.5, 0, 3, "start"), Label("x", 0.5, 0, 30, "start")], []).y == 30


def test_of_ticks_only_those_with_room_stay() -> None:
    ticks = [Label("13:17:42.390", at / 10, 0, 0, "middle") for at in range(1, 10)]
    assert len(without_touching(ticks, (950,))) == 9
    assert [tick.x for tick in without_touching(ticks, (289,))] == [0.1, 0.5, 0.9]
    assert without_touching([], (289,)) == []
