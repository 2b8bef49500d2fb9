"""Makers by the IEEE's lists: each form of file, divided blocks, randomised addresses, files that cannot be used."""

from __future__ import annotations

import contextvars
import os
from pathlib import Path
from typing import Any

import pytest

from cpe_filter.collect.web import makers
from cpe_filter.collect.web.caselist import device, maker
from tests.texts.reader import HOSTILE

#: As IEEE publishes them; names made up.
OUI_CSV = """Registry,Assignment,Organization Name,Organization Address
MA-L,0018E7,Boxes & Sons Ltd.,1 Street Town GB
MA-L,70B3D5,IEEE Registration Authority,445 Hoes Lane Piscataway NJ US 08554
MA-L,AC1203,"Several, Inc.","2 Street, Town US"
MA-L,0018E7,Second of the same,
"""
MAM_CSV = (
    "Registry,Assignment,Organization Name,Organization Address\nMA-M,741AE09,Private,\nMA-M,741AE0A,Small GmbH,\n"
)
OUI36_CSV = "Registry,Assignment,Organization Name,Organization Address\n" + "".join(
    f"MA-S,70B3D5{number:03X},Maker {number},\n" for number in range(5)
)
OUI_TXT = """OUI/MA-L                                                    Organization
company_id                                                  Organization
                                                            Address

00-18-E7   (hex)\t\tBoxes & Sons Ltd.
0018E7     (base 16)\t\tBoxes & Sons Ltd.
\t\t\t\t1 Street
\t\t\t\tGB

70-B3-D5   (hex)\t\tIEEE Registration Authority
70B3D5     (base 16)\t\tIEEE Registration Authority
"""
OUI36_TXT = """OUI                                                         Organization
OUI-36/MA-S Range                                           Organization

70-B3-D5   (hex)\t\tTELEPLATFORMS
F2F000-F2FFFF     (base 16)\t\tTELEPLATFORMS
\t\t\t\tPolbina st., 3/1

70-B3-D5   (hex)\t\t2M Technology
000000-000FFF     (base 16)\t\t2M Technology

74-1A-E0   (hex)\t\tSmall GmbH
900000-9FFFFF     (base 16)\t\tSmall GmbH
"""


def files(folder: Path, *texts: str | bytes) -> list[str]:
    paths = []
    for number, text in enumerate(texts):
        path = folder / f"list{number}"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        os.utime(path, (1_790_000_000 + number, 1_790_000_000 + number))
        paths.append(str(path))
    return paths


def with_list(paths: list[str], work: Any) -> Any:
    def inside() -> Any:
        makers.use(makers.Files(paths).list)
        return work()

    return contextvars.copy_context().run(inside)


@pytest.mark.parametrize("whole", [OUI_CSV, OUI_TXT, OUI_CSV.replace("\n", "\r\n"), "\ufeff" + OUI_CSV])
@pytest.mark.parametrize("parts", [OUI36_CSV, OUI36_TXT])
def test_each_form(tmp_path: Path, whole: str, parts: str) -> None:
    found = makers.Files(files(tmp_path, whole, parts, MAM_CSV)).list
    assert found.date == "2026-09-21"
    assert found.find("0018e7") == makers.Maker("Boxes & Sons Ltd.")
    assert found.find("0018E7") == found.find("0018e7")
    divided = found.find("70b3d5")
    assert divided is not None
    assert divided.sharing == (5 if parts == OUI36_CSV else 2)
    assert divided.others[0] in ("Maker 0", "TELEPLATFORMS")
    small = found.find("741ae0")
    assert small is not None
    assert "Small GmbH" in small.others
    assert found.find("ffffff") is None


def test_a_divided_block_without_its_parts(tmp_path: Path) -> None:
    assert with_list(files(tmp_path, OUI_CSV), lambda: maker("70b3d5")) == (
        "one of several makers that share <bdi>70:b3:d5</bdi> ..."
    )


def test_words(tmp_path: Path) -> None:
    paths = files(tmp_path, OUI_CSV, OUI36_CSV)
    assert with_list(paths, lambda: maker("0018e7")) == "<bdi>Boxes &amp; Sons Ltd.</bdi> (<bdi>00:18:e7</bdi>)"
    assert with_list(paths, lambda: maker("000000")).startswith("maker not in the list")
    assert with_list(paths, lambda: maker("70b3d5")).startswith("one of 5 makers that share")
    assert "Maker 0" in with_list(paths, lambda: maker("70b3d5"))
    # Without a list the code stays.
    assert with_list([], lambda: maker("0018e7")) == "maker code (<bdi>00:18:e7</bdi>)"
    assert with_list([], lambda: device("00aa", None)) == '<span class="code"><bdi>00aa</bdi></span>'


@pytest.mark.parametrize("oui", ["02aabb", "da1119", "FE0000", "aabbcc", "36ffff", "5e0000"])
def test_randomised(tmp_path: Path, oui: str) -> None:
    assert makers.is_local(oui)
    assert with_list(files(tmp_path, OUI_CSV), lambda: maker(oui)).startswith("randomised MAC")


@pytest.mark.parametrize("oui", ["0018e7", "00aabb", "d81119", "F40000", "", "0"])
def test_not_randomised(oui: str) -> None:
    assert not makers.is_local(oui)


@pytest.mark.parametrize("hostile", HOSTILE)
def test_hostile_names(tmp_path: Path, hostile: str) -> None:
    name = hostile.replace('"', '""')
    text = f'{OUI_CSV}MA-L,00AABB,"{name}",\n'.encode(errors="replace")
    shown = with_list(files(tmp_path, text), lambda: maker("00aabb"))
    assert "<script" not in shown
    assert all(c.isprintable() for c in shown)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "not a list of the IEEE"),
        (b"\0\xff" * 1000, "not a list of the IEEE"),
        (b"Registry,Assignment,Organization Name,X\n", "not a list of the IEEE"),
        (b"Registry,Assignment,Organization Name,X\nMA-L,00ZZ00,x,\n", "not a list of the IEEE"),
        (b"router,subscriber\nr1,S1\n", "not a list of the IEEE"),
        (b"Registry,Assignment,Organization Name,X\nMA-L,0018E7," + b"x" * 200_000 + b",\n", "field larger than"),
    ],
)
def test_what_is_not_a_list(tmp_path: Path, content: bytes, said: str) -> None:
    with pytest.raises(makers.MakersError, match=f"list0: .*{said}"):
        makers.Files(files(tmp_path, content))


def test_bounds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(makers, "MAX_ROWS", 3)
    with pytest.raises(makers.MakersError, match="more than 3 rows"):
        makers.Files(files(tmp_path, OUI_CSV))
    monkeypatch.setattr(makers, "MAX_BYTES", 1 << 20)
    with pytest.raises(makers.MakersError, match="more than 1 MiB"):
        makers.Files(files(tmp_path, b"x" * ((1 << 20) + 1)))
    with pytest.raises(makers.MakersError, match="No such file"):
        makers.Files([str(tmp_path / "none")])
    long = makers.Makers([("00AABB", "n" * 500)]).find("00aabb")
    assert long is not None
    assert len(long.name) == makers.MAX_NAME


def test_a_changed_file_is_read_again_and_a_broken_one_is_not_used(tmp_path: Path) -> None:
    (path,) = files(tmp_path, OUI_CSV)
    lists = makers.Files([path])
    assert lists.check() is False
    Path(path).write_text(OUI_CSV.replace("Boxes & Sons Ltd.", "Renamed"))
    assert lists.check() is True
    assert lists.list.find("0018e7") == makers.Maker("Renamed")
    Path(path).write_text("broken")
    with pytest.raises(makers.MakersError):
        lists.check()
    assert lists.list.find("0018e7") == makers.Maker("Renamed")
    assert lists.check() is False  # said once
    Path(path).unlink()
    with pytest.raises(makers.MakersError):
        lists.check()
    Path(path).write_text(OUI_CSV)
    assert lists.check() is True
