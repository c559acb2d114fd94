"""The page: complete where the run is, silent where it is not, inert whatever the run's texts hold."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest

from reread.errors import UsageError
from reread.report import load_run, render_html, write_report

WriteRun = Callable[..., Path]

HOSTILE = "<script>alert(1)</script>{{ 7 * 7 }}{% raw %}<img src=http://evil.example/x onerror=alert(2)>&\"'$x$</svg>"
PARTS = ("Accuracy", "Compute multiplier", "How far it hangs on the curve", "Controls", "What retrieval finds",
         "By subject", "What retrieval changed", "The bill", "Decontamination", "How to repeat this")  # fmt: skip


class Page(HTMLParser):
    """Tags, attributes and text of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.unbalanced: list[str] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "br", "img", "link", "path", "use", "rect"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if tag in ("path", "use", "rect"):
            return
        if not self.open or self.open.pop() != tag:
            self.unbalanced.append(tag)

    def handle_data(self, data: str) -> None:
        if not self.open or self.open[-1] != "style":
            self.text += data


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, write_run: WriteRun) -> Path:
    return write_run(tmp_path_factory.mktemp("run"), n=150)


@pytest.fixture(scope="module")
def page(folder: Path) -> str:
    return render_html(load_run(folder))


def test_a_whole_run_gets_every_part(page: str) -> None:
    text = Page(page).text
    assert [part for part in PARTS if part not in text] == []


def test_the_page_is_well_formed(page: str) -> None:
    parsed = Page(page)
    assert parsed.unbalanced == [] and parsed.open == []


def test_the_page_loads_nothing_and_runs_nothing(page: str) -> None:
    for tag, attributes in Page(page).tags:
        assert tag not in ("script", "link", "iframe", "object", "img", "base", "form")
        assert not [name for name in attributes if name.startswith("on")]
        for name in ("src", "href", "xlink:href"):
            assert (attributes.get(name) or "#").startswith("#")
    assert "@import" not in page
    assert re.findall(r"url\((?!#)", page) == []


def test_ids_are_unique_and_every_reference_has_its_id(page: str) -> None:
    ids = [attributes["id"] for _, attributes in Page(page).tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    references = re.findall(r'(?:href="|url\()#([^")]+)', page)
    assert references and set(references) <= set(ids)


def test_measured_numbers_stand_in_the_page(page: str, folder: Path) -> None:
    scores = json.loads((folder / "scores.json").read_text())
    for rung in scores["rungs"]:
        for score in rung["arms"].values():
            assert f"{100 * score['accuracy']:.1f}" in page
        assert f"{rung['multipliers']['retrieval']['value']:.2f}x" in page


def test_hostile_text_comes_out_inert(tmp_path: Path, write_run: WriteRun) -> None:
    folder = write_run(
        tmp_path, n=60, n_rungs=3, question=HOSTILE, passage=HOSTILE + " Oona Vass", title=HOSTILE,
        choices=("Oona Vass", HOSTILE, "b", "c"), subjects=(HOSTILE, "other"), name=HOSTILE, benchmark=HOSTILE,
        arms={"baseline": 0.0, "retrieval": 0.2, HOSTILE: 0.1},
    )  # fmt: skip
    (folder / "recipe.yaml").write_text(HOSTILE)
    (folder / "manifest.json").write_text(json.dumps({"reread": HOSTILE, HOSTILE: [HOSTILE]}))
    html = render_html(load_run(folder))
    test_the_page_loads_nothing_and_runs_nothing(html)
    test_the_page_is_well_formed(html)
    text = Page(html).text
    assert "<script>alert(1)</script>{{ 7 * 7 }}{% raw %}" in text
    assert "$x$" in text
    assert "4949" not in text and "}}49" not in text


def test_hostile_names_do_not_leave_the_run_folder(tmp_path: Path, write_run: WriteRun) -> None:
    folder = write_run(tmp_path / "run", n=60, n_rungs=3, benchmark="../../escaped", name="../up")
    write_report(folder, folder / "report.html")
    assert {path.name for path in tmp_path.iterdir()} == {"run"}
    assert all(path.name[0] in "acf" for path in (folder / "figures").iterdir())


def test_a_report_is_the_same_bytes_again(folder: Path) -> None:
    assert render_html(load_run(folder)) == render_html(load_run(folder))


def test_figures_lie_beside_the_page_as_files_of_their_own(tmp_path: Path, write_run: WriteRun) -> None:
    folder = write_run(tmp_path, n=60)
    assert write_report(folder, folder / "report.html") == folder / "report.html"
    drawn = sorted(path.name for path in (folder / "figures").iterdir())
    assert drawn == ["arms-1.svg", "curve-1.svg", "fits-1.svg"]
    assert "var(--" not in (folder / "figures" / "curve-1.svg").read_text()


def test_a_page_elsewhere_writes_nothing_into_the_run(tmp_path: Path, write_run: WriteRun) -> None:
    folder = write_run(tmp_path / "run", n=60)
    before = sorted(path.name for path in folder.iterdir())
    write_report(load_run(folder), tmp_path / "out" / "page.html")
    assert sorted(path.name for path in folder.iterdir()) == before


def test_several_runs_share_a_page_without_mixing_their_parts(tmp_path: Path, write_run: WriteRun) -> None:
    folders = [write_run(tmp_path / name, n=60, name=f"run {name}") for name in ("a", "b")]
    write_report(folders, tmp_path / "both.html")
    html = (tmp_path / "both.html").read_text()
    assert "run a" in html and "run b" in html
    test_ids_are_unique_and_every_reference_has_its_id(html)


def test_a_run_without_a_ladder_has_no_curve_and_no_bill(tmp_path: Path, write_run: WriteRun) -> None:
    html = render_html(load_run(write_run(tmp_path, n=120, n_rungs=1, ladder=False)))
    text = Page(html).text
    for part in ("Compute multiplier", "How far it hangs", "The bill"):
        assert part not in text
    assert "retrieval raised accuracy from" in text
    assert "unparsed" in text


def test_only_the_parts_that_a_run_has_are_shown(tmp_path: Path) -> None:
    arms = {"baseline": {"n": 100, "accuracy": 0.5, "low": 0.4, "high": 0.6}}
    scores = {"benchmarks": {"mmlu": {"rungs": [{"name": "r", "train_flops": None, "arms": arms}]}}}
    (tmp_path / "scores.json").write_text(json.dumps(scores))
    text = Page(render_html(load_run(tmp_path))).text
    shown = [part for part in PARTS if part in text]
    assert shown == ["Accuracy", "How to repeat this"]
    assert "No retrieval was tried on mmlu" in text


def test_the_reason_for_a_missing_curve_is_told(tmp_path: Path, write_run: WriteRun) -> None:
    folder = write_run(tmp_path, n=60)
    scores = json.loads((folder / "scores.json").read_text())
    entry = scores["benchmarks"]["world"]
    entry.update(curve=None, sensitivity=[], curve_error="every base accuracy is 0.25")
    for rung in entry["rungs"]:
        rung["multipliers"] = {}
    (folder / "scores.json").write_text(json.dumps(scores))
    html = render_html(load_run(folder))
    assert "every base accuracy is 0.25" in html
    assert "raised accuracy" in html


def test_missing_numbers_are_dashes_not_zeros(tmp_path: Path, write_run: WriteRun) -> None:
    folder = write_run(tmp_path, n=60)
    scores = json.loads((folder / "scores.json").read_text())
    rung = scores["benchmarks"]["world"]["rungs"][-1]
    rung["multipliers"]["retrieval"] = {
        "value": None, "low": 3.2, "high": None, "extrapolated": True, "equivalent_flops": None,
        "reason": "too good",
    }  # fmt: skip
    rung["arms"]["docs"] = {"n": 0, "accuracy": None, "low": None, "high": None, "unparsed": 0}
    (folder / "scores.json").write_text(json.dumps(scores))
    text = Page(render_html(load_run(folder))).text
    assert "3.20x to no upper end" in text
    assert "too good" in text
    assert "None" not in text and "nan" not in text.split()


def test_published_figures_stand_beside_a_run_of_the_papers_recipe(tmp_path: Path, write_run: WriteRun) -> None:
    folder = write_run(tmp_path, n=60, n_rungs=1, ladder=False, benchmark="math500")
    scores = json.loads((folder / "scores.json").read_text())
    assert "published" not in Page(render_html(load_run(folder))).text
    scores["published"] = "paper"
    (folder / "scores.json").write_text(json.dumps(scores))
    text = Page(render_html(load_run(folder))).text
    assert "published" in text and "56.7" in text and "32.0" in text


def test_a_run_without_a_reader_tells_what_retrieval_found(tmp_path: Path) -> None:
    shares = {
        k: {"n": 90, "recall": r, "low": r - 0.1, "high": r + 0.1} for k, r in (("1", 0.4), ("5", 0.7), ("20", 0.8))
    }
    entry = {"kind": "short", "rungs": [], "retrieval": {"answer": shares, "gold": {}}}
    (tmp_path / "scores.json").write_text(json.dumps({"benchmarks": {"nq_open": entry}}))
    text = Page(render_html(load_run(tmp_path))).text
    assert "first 5 hits hold the answer string of 70.0" in text
    assert "What retrieval finds" in text


def test_a_fallen_accuracy_is_not_called_raised(tmp_path: Path, write_run: WriteRun) -> None:
    folder = write_run(tmp_path, n=200, n_rungs=1, ladder=False, arms={"baseline": 0.2, "retrieval": 0.0})
    text = Page(render_html(load_run(folder))).text
    assert "retrieval lowered accuracy" in text


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no scores\.json"):
        load_run(tmp_path)
    (tmp_path / "scores.json").write_text('{"benchmarks": {}}')
    with pytest.raises(UsageError, match="names no benchmarks"):
        load_run(tmp_path)
    (tmp_path / "scores.json").write_text('{"benchmarks": {"mmlu": {"rungs": [{"arms": 3}]}}}')
    with pytest.raises(UsageError, match="does not have the shape"):
        load_run(tmp_path)
    (tmp_path / "scores.json").write_text('{"benchmarks": {"mmlu": {"rungs": []}}}')
    (tmp_path / "manifest.json").write_text("{")
    with pytest.raises(UsageError, match="is not JSON"):
        load_run(tmp_path)
