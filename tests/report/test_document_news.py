"""The list of what has become of documents: its form, hostile bytes, and how far it was reported."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cpe_filter.lean import files
from cpe_filter.lean.checksum import CorruptStateError, with_checksum
from cpe_filter.report import document_news
from cpe_filter.report.document_news import LIST, DocumentNews, Ended, Mark, News, encode, is_why, parse
from cpe_filter.signed.document import MAX_SEQUENCE

ID, DIGEST = "0123456789abcdef", "ab" * 8
NEWS = News(
    ID,
    (("policy", DIGEST, 41), ("replies", DIGEST, MAX_SEQUENCE)),
    (Ended(7, "applied", "policy", DIGEST, 41, ""), Ended(8, "refused", "", "", 0, "taken-by-nobody")),
)


def test_there_and_back() -> None:
    assert document_news.MAX_SEQUENCE == MAX_SEQUENCE
    for news in (NEWS, News(ID)):
        assert parse(encode(news)) == news
    assert encode(NEWS).splitlines()[:5] == [
        b"id 0123456789abcdef",
        b"in-force policy abababababababab 41",
        b"in-force replies abababababababab 9007199254740992",
        b"7 applied policy abababababababab 41 -",
        b"8 refused - - 0 taken-by-nobody",
    ]


@pytest.mark.parametrize(
    "text",
    [
        "", "\n", "id\n", "id 0123\n", f"no {ID}\n", f"id {ID} x\n", f"id {ID}\n\n", f"id {ID}\nx\n",
        f"id {ID}\nin-force policy {DIGEST}\n", f"id {ID}\nin-force instruction {DIGEST} 1\n",
        f"id {ID}\nin-force policy {DIGEST} 0\n", f"id {ID}\nin-force policy {DIGEST} {MAX_SEQUENCE + 1}\n",
        f"id {ID}\n" + f"in-force policy {DIGEST} 1\n" * 4, f"id {ID}\n" + f"1 applied policy {DIGEST} 1 -\n" * 33,
        f"id {ID}\n-1 applied policy {DIGEST} 1 -\n", f"id {ID}\n{'9' * 5000} applied policy {DIGEST} 1 -\n",
        f"id {ID}\n1 tried policy {DIGEST} 1 -\n", f"id {ID}\n1 refused policy {DIGEST} 1 It's\n",
        f"id {ID}\n1 refused policy {DIGEST[:-1]}G 1 key\n", f"id {ID}\n1 refused policy {DIGEST} 1 -a\n",
        f"id {ID}\n1 refused policy {DIGEST} 1 key more\n", "id ²³\n", f"id {ID}\n² refused policy {DIGEST} 1 key\n",
    ],
)  # fmt: skip
def test_what_is_not_a_list(text: str) -> None:
    with pytest.raises(CorruptStateError):
        parse(with_checksum(text.encode()))


def test_each_byte_counts() -> None:
    data = encode(NEWS)
    for at in range(len(data)):
        for changed in (data[:at], data[:at] + bytes((data[at] ^ 1,)) + data[at + 1 :]):
            with pytest.raises(CorruptStateError):
                parse(changed)
    with pytest.raises(CorruptStateError):
        parse(data + b" " * 8192)


def test_words_of_the_wire() -> None:
    assert [is_why(word) for word in ("key", "no-mac", "a" * 16, "", "-a", "a" * 17, "Key", "a b", "é", "a1")] == [
        *(True, True, True), *(False,) * 7,
    ]  # fmt: skip


def looked(folder: Path, news: News, mark: Mark) -> tuple[list[int], Mark]:
    """The running numbers that are reported, and how far it is then."""
    (folder / "provision" / "news").mkdir(parents=True, exist_ok=True)
    files.replace(str(folder / "provision" / LIST), encode(news))
    it = DocumentNews(str(folder / "state"), mark)
    found = [one.number for one in it.look()]
    assert it.look() == ()
    assert it.in_force == news.in_force
    return found, it.mark


def test_from_where_it_goes_on(tmp_path: Path) -> None:
    assert DocumentNews(str(tmp_path / "state"), Mark()).look() == ()
    assert looked(tmp_path, NEWS, Mark()) == ([7, 8], Mark(ID, 8, 0))
    assert looked(tmp_path, NEWS, Mark(ID, 7, 7)) == ([8], Mark(ID, 8, 7))
    assert looked(tmp_path, NEWS, Mark("f" * 16, 9, 9)) == ([7, 8], Mark(ID, 8, 0))  # the list was begun again
    assert looked(tmp_path, NEWS, Mark(ID, 20, 20)) == ([], Mark(ID, 8, 8))  # an older copy of the list came back
    it = DocumentNews(str(tmp_path / "state"), Mark(ID, 7, 7))
    assert not it.arrived()
    it.look()
    assert (it.arrived(), it.arrived(), it.mark) == (True, False, Mark(ID, 8, 8))


@pytest.mark.parametrize("saved", [None, 1, "x", [], [1, 2, 3], ["x", 1, None], ["x", "1", 1], {"id": 1}])
def test_a_mark_that_is_none(saved: Any) -> None:
    assert document_news.restored(saved, whole=True) == Mark()


def test_a_mark_of_a_restart() -> None:
    assert document_news.restored(["x", 9, 4], whole=True) == Mark("x", 9, 4)
    assert document_news.restored(["x", 9, 4], whole=False) == Mark("x", 4, 4)
    assert document_news.restored(["x", 9, 40], whole=False) == Mark("x", 9, 9)


def test_others_can_write_to_it(tmp_path: Path) -> None:
    looked(tmp_path, NEWS, Mark())
    (tmp_path / "provision" / LIST).chmod(0o666)
    with pytest.raises(OSError, match="Others can write"):
        DocumentNews(str(tmp_path / "state"), Mark()).look()
