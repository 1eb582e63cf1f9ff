"""Notebooks: one for every question, nothing of a run kept in them, and names that the catalog knows.

They run where the small sky of every pipeline is there anyway: tests/test_dvc.py.
"""

import re
import subprocess

import nbformat
import pytest
import yaml
from nbclient.exceptions import CellExecutionError

from skytrace.pipeline_registry import LINEAGES
from tests.notebook_runs import QUOTED, Story, run_story

#: They go on where another pipeline's question ends.
CONTINUATIONS = {"injection_studies", "cluster_modelling"}
_NAMED = re.compile(rf"`((?:{'|'.join(LINEAGES)})\.[\w.]+)`")
_LOADED = re.compile(r"""catalog(?:\.load\(|\[)["']([\w.]+)["'][)\]]""")


@pytest.fixture(scope="module")
def committed(repository) -> dict[str, str]:
    """Path -> text of every notebook, as git has it: a notebook that is open just now may hold outputs."""

    def git(*command: str) -> str:
        done = subprocess.run(["git", *command], cwd=repository, capture_output=True, check=True)
        return done.stdout.decode("utf-8")

    return {path: git("show", f":{path}") for path in git("ls-files", "-z", "*.ipynb").split("\0") if path}


@pytest.fixture(scope="module")
def stories(repository) -> dict[str, Story]:
    return {path.stem: Story.read(path) for path in sorted((repository / "notebooks").glob("*.ipynb"))}


def test_no_notebook_in_git_holds_anything_of_a_run(committed):
    assert {path.removeprefix("notebooks/").removesuffix(".ipynb") for path in committed} == set(QUOTED)
    for path, text in committed.items():
        book = nbformat.reads(text, as_version=4)
        nbformat.validate(book)
        assert set(book.metadata) == {"kernelspec", "language_info"} and set(book.metadata.language_info) == {"name"}
        for cell in book.cells:
            assert not cell.get("outputs"), f"{path}: clear all outputs before you commit"
            assert cell.get("execution_count") is None, f"{path}: clear all outputs before you commit"
            assert set(cell.metadata) <= {"tags"}, f"{path}: {dict(cell.metadata)}"
        assert not re.search(r"/(home|root|Users|tmp|work|mnt)/", text), f"{path} names a place on one machine"


def test_every_pipeline_that_answers_a_question_has_its_story(stories):
    assert {story.traced.partition(".")[0] for story in stories.values()} == set(LINEAGES) - CONTINUATIONS
    for name, story in stories.items():
        heading = story.cells[0].source.splitlines()[0]
        assert heading.startswith("# ") and heading.endswith("?")
        assert re.sub(r"\W+", "_", heading.strip("# ?").lower()) == name
        assert sum("quoted" in cell.metadata.get("tags", []) for cell in story.cells) == 1
        assert 5 <= len(story.cells) <= 10, f"{name} is no short story"
        assert any("What it does not show" in cell.source for cell in story.cells if cell.cell_type == "markdown")


def test_stories_take_their_data_by_name_from_the_catalog(stories, repository):
    catalog: set[str] = set()
    for path in (repository / "conf" / "base").glob("catalog*.yml"):
        catalog |= set(yaml.safe_load(path.read_text(encoding="utf-8")))
    for name, story in stories.items():
        source = "\n".join(cell.source for cell in story.cells if cell.cell_type == "code")
        loaded = set(_LOADED.findall(source))
        assert loaded and loaded <= catalog, name
        assert story.traced.partition(":")[0] in loaded, f"{name} traces a number of a dataset that it did not load"
        assert {found for cell in story.cells for found in _NAMED.findall(cell.source)} <= catalog, name
        assert "data/" not in source and "read_csv" not in source and "read_parquet" not in source


def test_the_documentation_lists_every_notebook(stories, repository):
    page = (repository / "docs" / "how_to" / "notebooks.md").read_text(encoding="utf-8")
    assert sorted(re.findall(r"`notebooks/(\w+)\.ipynb`", page)) == sorted(stories)


def test_a_cell_that_raises_is_an_error_here(tmp_path):
    """What runs the notebooks in test_dvc.py would not let one fail in silence."""
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("print(6 * 7)\n1 / 0")])
    nbformat.write(book, tmp_path / "broken.ipynb")
    with pytest.raises(CellExecutionError, match="ZeroDivisionError"):
        run_story(tmp_path / "broken.ipynb", {"IPYTHONDIR": str(tmp_path / "ipython")})
