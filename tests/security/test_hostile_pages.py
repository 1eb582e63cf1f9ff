"""Names from outside on the pages that the project writes: shown as text, never obeyed, whatever they hold."""

import re
from html.parser import HTMLParser

import pandas as pd
import pytest

from skytrace.reporting.evaluation_tables import PageTable
from skytrace.reporting.html_templates import html_template
from skytrace.reporting.page import selection_function_page
from skytrace.reporting.section_page import Picture, Section, section_page
from skytrace.reporting.supernova_data_sections import _ledger_table
from skytrace.reporting.triage_page import Candidate, triage_page
from skytrace.surveys.supernovae.tables import read_light_curve_table
from tests.reporting.test_page import REPORT, surface
from tests.reporting.test_supernova_spectrum_page import SUMMARY, page_of

PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x01\0\0\0\x01\x08\0\0\0\0:~\x9bU"
EVIL = (
    "<script>window.hit=1</script>",
    "\"><img src=x onerror='window.hit=1'>",
    "' onmouseover='window.hit=1' x='",
    "javascript:window.hit=1",
    "</title></style></script><svg onload=window.hit=1>",
    "{{ 7 * 7 }}{% raw %}",
    "--><!--\\u003cscript\\u003e",
)


def explorer(name):
    """The page of the selection function, names in every place that takes text."""
    return selection_function_page(
        surface().assign(detector=name), {**REPORT, "gates": [{"name": name, "status": "pass", "sentence": name}]},
        facts={name: name}, galleries=[(name, name, PNG)], downloads={name: b"x"}, title=name,
        population=[(name, name)], gate_notes=[name], gate_figures=[(name, PNG)],
        products=[(name, name, pd.DataFrame({name: [name]}))],
    )  # fmt: skip


def cluster_page(name):
    """The page of candidate clusters."""
    one = Candidate(1, name, (name, name), (name,), PNG)
    return triage_page([one, one], subtitle=name, sentences=[name], title=name)


def injection_page(name):
    """The pages of sections: injection studies and others."""
    table = PageTable(name, (name, "n"), ((name, "1"),), (False, True))
    return section_page(name, name, [name], [Section("a", name, (name,), (Picture(PNG, name),), (table,))])


def spectrum_page(name, monkeypatch):
    """The page of a supernova's spectrum: its name, note, handling and what the tables say."""
    from tests.reporting import test_supernova_spectrum_page as plain

    told = plain.reports()
    told["observation"] |= {"name": name, "note": name, "handling": [name]}
    monkeypatch.setattr(plain, "reports", lambda: told)
    return page_of(SUMMARY.assign(flag=name))


def supernova_page(name):
    """The template of the supernova and the lens finder's pages, with every field of a section filled."""
    counts = ("supernovae_in", "supernovae_removed", "supernovae_out", "observations_removed", "observations_out")
    ledger = pd.DataFrame({"cut": [name], "reason": [name], **{key: [3] for key in counts}})
    section = {
        "key": "a", "title": name, "absence": name, "sentences": [name], "items": [name],
        "pictures": [{"source": "data:,", "width": 600, "caption": name, "alternative": name}],
        "tables": [PageTable(name, (name,), ((name,),), (False,)), _ledger_table(ledger)],
        "galleries": [{"heading": name, "caption": name,
                       "items": [{"png": PNG, "alternative": name, "lines": [name, name]}]}],
    }  # fmt: skip
    return html_template("evaluation.html.j2").render(title=name, subtitle=name, sections=[section])


PAGES = {
    "explorer": lambda name, _: explorer(name),
    "cluster page": lambda name, _: cluster_page(name),
    "injection page": lambda name, _: injection_page(name),
    "spectrum page": spectrum_page,
    "supernova and lens finder page": lambda name, _: supernova_page(name),
}


class Elements(HTMLParser):
    """Elements with the names of their attributes, in order; where attributes lead; the text."""

    def __init__(self, page):
        super().__init__(convert_charrefs=True)
        self.found, self.addresses, self.words = [], [], []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, tuple(name for name, _ in attrs)))
        self.addresses += [value for name, value in attrs if name in ("href", "src", "action", "formaction")]

    def handle_data(self, data):
        self.words.append(data)


@pytest.mark.parametrize("evil", EVIL)
@pytest.mark.parametrize("page", PAGES)
def test_a_name_changes_no_element_and_no_attribute_of_a_page(page, evil, monkeypatch):
    # as long as the hostile name: tables set long cells apart from short ones
    plain = Elements(PAGES[page]("n" * len(evil), monkeypatch))
    hostile = Elements(PAGES[page](evil, monkeypatch))
    assert hostile.found == plain.found
    assert evil in "".join(hostile.words)
    assert all(re.match(r"(#|data:)", address) for address in hostile.addresses), hostile.addresses


def test_the_comparison_finds_what_is_not_escaped():
    assert Elements(f"<p>{EVIL[0]}</p>").found != Elements("<p>n</p>").found
    assert Elements(f'<img alt="{EVIL[1]}">').found != Elements('<img alt="n">').found
    assert Elements(f"<i title='{EVIL[2]}'>").found != Elements("<i title='n'>").found


@pytest.mark.browser
@pytest.mark.parametrize("page", ["explorer", "cluster page", "supernova and lens finder page"])
def test_a_browser_runs_nothing_of_a_name_even_without_the_content_security_policy(page, browser, monkeypatch):
    html = PAGES[page]("".join(EVIL), monkeypatch)
    bare = re.sub(r"<meta http-equiv=\"Content-Security-Policy\"[^>]*>", "", html)
    assert bare != html
    seen = browser.new_page()
    seen.set_content(bare, wait_until="load")
    seen.mouse.move(200, 200)
    assert seen.evaluate("window.hit === undefined")
    assert EVIL[0] in seen.inner_text("body")
    for link in seen.locator("a").all():
        assert not link.evaluate("a => a.protocol").startswith("javascript")
    seen.close()


@pytest.mark.browser
def test_the_same_browser_would_run_it(browser):
    seen = browser.new_page()
    seen.set_content(f"<p>{''.join(EVIL)}</p>", wait_until="load")
    seen.wait_for_function("window.hit !== undefined", timeout=10_000)
    assert seen.evaluate("window.hit") == 1
    seen.close()


def test_a_name_comes_through_a_catalogue_as_it_is(tmp_path):
    """Escaping is the page's affair: a reader that cleaned names would hide them from what cross-matches."""
    path = tmp_path / "table.csv"
    pd.DataFrame({"snid": [EVIL[0]], "mjd": [1.0]}).to_csv(path, index=False)
    assert read_light_curve_table(path, survey="X")["snid"].tolist() == [EVIL[0]]
