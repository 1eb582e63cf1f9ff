"""Manifests are read whole or not at all."""

import json
import logging

from skytrace.provenance.runs import read_manifests


def test_half_a_manifest_is_no_manifest_and_a_damaged_one_is_named(tmp_path, caplog):
    for name in ("2026-01-01", "2026-01-02"):
        (tmp_path / f"{name}.json").write_text(json.dumps({"run_id": name, "status": "done"}))
    # what a run leaves that is killed while it renews its manifest: half, or whole and not yet renamed
    (tmp_path / ".2026-01-03.json.host-17-4.partial.json").write_text('{"run_id": "2026-01-03", "sta')
    (tmp_path / ".2026-01-04.json.host-18-4.partial.json").write_text('{"run_id": "2026-01-04", "status": "done"}')
    (tmp_path / "2026-01-05.json").write_text('{"run_id": "2026-01-05", "sta')
    with caplog.at_level(logging.WARNING):
        found = read_manifests(tmp_path)
    assert [facts["run_id"] for facts in found] == ["2026-01-02", "2026-01-01"]
    (record,) = caplog.records
    assert "2026-01-05.json cannot be read" in record.getMessage() and "delete it" in record.getMessage()
