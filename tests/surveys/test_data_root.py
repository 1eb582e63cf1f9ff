"""Where real data is looked for."""

from pathlib import Path

import pytest

from skytrace.errors import SurveyError
from skytrace.surveys.data_root import data_root, require_folder, under_data_root


def test_variable_wins_and_its_absence_means_the_projects_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("SKYTRACE_DATA", str(tmp_path))
    assert data_root() == tmp_path
    for unset in ("", "  "):
        monkeypatch.setenv("SKYTRACE_DATA", unset)
        assert data_root() == Path("data/00_external")
    monkeypatch.delenv("SKYTRACE_DATA")
    assert data_root() == Path("data/00_external")


def test_relative_folders_lie_under_the_root_and_absolute_ones_stay(monkeypatch, tmp_path):
    monkeypatch.setenv("SKYTRACE_DATA", str(tmp_path))
    assert under_data_root("imaging/x") == tmp_path / "imaging" / "x"
    assert under_data_root("/somewhere/x") == Path("/somewhere/x")


def test_missing_folder_is_named_with_what_belongs_there(monkeypatch, tmp_path):
    monkeypatch.delenv("SKYTRACE_DATA", raising=False)
    with pytest.raises(SurveyError, match=r"no folder .*/absent; \$SKYTRACE_DATA is not set.*the sweep tables"):
        require_folder(tmp_path / "absent", files="the sweep tables")
    assert require_folder(tmp_path, files="anything") == tmp_path
