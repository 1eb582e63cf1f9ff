"""A trace as a Provenance Run Crate: https://w3id.org/ro/wfrun/provenance/0.5, an RO-Crate 1.1.

The workflow is the lineage itself, ``lineage.json``: its nodes, whichever runs they ran in. Every run is an action on
it, every node of a run one on the node's function. Files as their runs recorded them are copied, up to a size; raw sky
is named by place, options and SHA-256, and not copied.
"""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from pathlib import Path, PureWindowsPath
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from skytrace.compute.files import atomic_folder, atomic_path, remove_abandoned
from skytrace.errors import SkytraceError
from skytrace.provenance.trace_text import run_sentence, verdict

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["PROFILES", "write_crate"]

PROFILES = {
    "https://w3id.org/ro/wfrun/process/0.5": "Process Run Crate",
    "https://w3id.org/ro/wfrun/workflow/0.5": "Workflow Run Crate",
    "https://w3id.org/ro/wfrun/provenance/0.5": "Provenance Run Crate",
    "https://w3id.org/workflowhub/workflow-ro-crate/1.0": "Workflow RO-Crate",
}
_TERMS = "https://w3id.org/ro/terms/workflow-run/context"
_LARGEST = 100_000_000


def write_crate(facts: Mapping[str, Any], project: Path, place: Path, *, largest_bytes: int = _LARGEST) -> Path:
    """Write the crate of the facts of ``trace`` to ``place``, a folder or a ``.zip``.

    It appears whole or not at all. largest_bytes: files beyond are named, not copied, and so are files whose recorded
    path does not stay in the project: nothing is written outside ``place``, whatever a manifest says.
    Raises SkytraceError where ``place`` is there already and no zip, and where the target's file is not as its run
    recorded it, so that there is no result to hand on.
    """
    target = next(each for each in facts["datasets"] if each["number"] == facts["target"]["dataset"])
    if target["state"] != "as recorded" or not (project / target["path"]).is_file():
        raise SkytraceError(
            f"{target['name']} is {target['state'] or 'unknown'}: a crate needs its file as a run left it"
        )
    if place.suffix != ".zip" and place.exists():
        raise SkytraceError(f"{place} is there already: name a new folder, or a .zip")
    with TemporaryDirectory() as folder:
        lineage = Path(folder) / "lineage.json"
        lineage.write_text(json.dumps(facts, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        crate = _Crate(facts, project, lineage, largest_bytes).crate
        remove_abandoned(place.parent)
        if place.suffix == ".zip":
            with atomic_path(place) as partial:
                crate.write_zip(partial)  # a piece of a file at a time
        else:
            with atomic_folder(place) as partial:
                crate.write(partial)
    return place


class _Crate:
    """Fills an ROCrate from the facts."""

    def __init__(self, facts: Mapping[str, Any], project: Path, lineage: Path, largest_bytes: int) -> None:
        from rocrate.rocrate import ROCrate

        self.crate = ROCrate(version="1.1")
        self._facts, self._project, self._largest = facts, project, largest_bytes
        self._runs = {run["run_id"]: run for run in facts["runs"]}
        self._describe_root()
        self._workflow = self._add_workflow(lineage)
        self._datasets = {each["number"]: self._add_dataset(each) for each in facts["datasets"]}
        self._values: dict[tuple[str, str], Any] = {}
        self._slots: dict[str, Any] = {}
        self._steps = [self._add_step(node) for node in facts["nodes"]]
        self._add_slots()
        for run in facts["runs"]:
            self._add_run(run)
        for entity in self.crate.get_entities():  # RO-Crate 1.1: one value stands alone, not as a list of one
            for key, value in entity.properties().items():
                if key[0] != "@" and isinstance(value, list) and len(value) == 1:
                    entity.properties()[key] = value[0]

    def _context(self, name_of: str, kind: str | list[str], /, **properties: Any) -> Any:
        from rocrate.model.contextentity import ContextEntity

        return self.crate.add(ContextEntity(self.crate, name_of, properties={"@type": kind, **properties}))

    def _describe_root(self) -> None:
        facts, root = self._facts, self.crate.root_dataset
        asked = f"{facts['target']['name']}{':' + facts['target']['key'] if facts['target']['key'] else ''}"
        self.crate.name = f"Lineage of {asked}"
        said = [
            verdict(facts),
            *(f"{each['kind']} {', '.join(each['where'])}: {each['words']}" for each in facts["breaks"]),
        ]
        self.crate.description = " ".join(["Where it came from, down to the raw sky; kedro trace:", *said])
        root["datePublished"] = max((run["started"] for run in facts["runs"]), default="")
        terms = self._context("#terms", "CreativeWork", name="Terms of use",
                              description="Not stated by the runs: the raw sky's and the project's apply")  # fmt: skip
        root["license"] = terms
        profiles = [
            self._context(identifier, ["CreativeWork", "Profile"], name=name, version=identifier.rsplit("/", 1)[-1])
            for identifier, name in PROFILES.items()
        ]
        root["conformsTo"] = profiles
        self.crate.metadata.extra_contexts.append(_TERMS)

    def _add_workflow(self, lineage: Path) -> Any:
        kedro = self._context("#kedro", "ComputerLanguage", name="Kedro", url={"@id": "https://kedro.org"},
                              identifier={"@id": "https://kedro.org"})  # fmt: skip
        workflow = self.crate.add_file(
            lineage,
            "lineage.json",
            properties={
                "@type": ["File", "SoftwareSourceCode", "ComputationalWorkflow", "HowTo"],
                "name": f"The nodes that made {self._facts['target']['name']}",
                "description": "What kedro trace --json prints: datasets, nodes, parameters, runs, breaks",
                "encodingFormat": "application/json",
            },
        )
        workflow["programmingLanguage"] = kedro
        workflow["conformsTo"] = {"@id": "https://bioschemas.org/profiles/ComputationalWorkflow/1.0-RELEASE"}
        self.crate.root_dataset["mainEntity"] = workflow
        return workflow

    def _add_dataset(self, dataset: Mapping[str, Any]) -> Any:
        known = {"name": dataset["name"], **({"sha256": dataset["sha256"]} if dataset["sha256"] else {})}
        reason = self._why_not_copied(dataset)
        if reason is None:
            path = self._project / dataset["path"]
            if dataset["card"]:
                self._add_card(dataset)
            text = {"contentSize": str(dataset["bytes"]), "encodingFormat": _media_type(path)}
            return self.crate.add_file(path, dataset["path"], properties={**known, **text})
        told = {key: dataset[key] for key in ("place", "type", "path", "version", "files", "bytes", "sky", "state")}
        value = json.dumps({key: item for key, item in told.items() if item is not None}, ensure_ascii=False)
        return self._context(
            f"#dataset-{dataset['number']}", "PropertyValue", **known, value=value, description=f"Not copied: {reason}"
        )

    def _why_not_copied(self, dataset: Mapping[str, Any]) -> str | None:
        """None where its file goes into the crate."""
        if dataset["place"] != "made":
            return "raw sky" if dataset["place"] == "raw" else "in memory, never written"
        if dataset["path"] is None or dataset["state"] != "as recorded":
            return f"its file is {dataset['state'] or 'unknown'}"
        if not _stays_inside(dataset["path"]):
            return "its path leads out of the project, or to a file of the crate itself"
        path = self._project / dataset["path"]
        if not path.is_file():
            return "a folder"
        return f"more than {self._largest:,} bytes" if path.stat().st_size > self._largest else None

    def _add_card(self, dataset: Mapping[str, Any]) -> None:
        name, place = f"Card of {dataset['name']}", dataset["card"]["path"]
        known = {"name": name, "sha256": dataset["card"]["sha256"]}
        if _stays_inside(place):
            self.crate.add_file(
                self._project / place, place, properties={**known, "encodingFormat": "application/json"}
            )
        else:
            reason = "Not copied: its path leads out of the project, or to a file of the crate itself"
            self._context(f"#card-{dataset['number']}", "PropertyValue", **known, value=place, description=reason)

    def _add_step(self, node: Mapping[str, Any]) -> tuple[Mapping[str, Any], Any, Any]:
        name = f"{node['name']}@{node['run_id']}"
        tool = self._context(f"#tool-{node['number']}", "SoftwareApplication", name=node["function"] or node["name"],
                             description=f"The function of the node {node['name']}",
                             softwareVersion=self._runs[node["run_id"]]["commit"] or "unknown")  # fmt: skip
        step = self._context(f"#step-{node['number']}", "HowToStep", name=node["name"])
        step["workExample"] = tool
        self._workflow.append_to("hasPart", tool)
        self._workflow.append_to("step", step)
        action = self._context(f"#action-{node['number']}", "CreateAction", name=name, **self._ending(node))
        action["instrument"] = tool
        action["object"] = [
            *(self._datasets[number] for number in node["inputs"]),
            *(self._parameter(node["run_id"], group, values) for group, values in node["parameters"].items()),
        ]
        made = [self._datasets[each["number"]] for each in self._facts["datasets"] if each["node"] == node["number"]]
        action["result"] = made
        control = self._context(f"#control-{node['number']}", "ControlAction", name=f"control of {name}")
        control["instrument"], control["object"] = step, action
        return node, action, control

    def _ending(self, node: Mapping[str, Any]) -> dict[str, str]:
        run = self._runs[node["run_id"]]
        if node["status"] == "running":  # it went on when the run was last heard of
            return _ending(run["state"], run["error"])
        return _ending(node["status"] or run["state"], run["error"] or f"{node['name']} {node['status']}")

    def _parameter(self, run_id: str, group: str, values: Any) -> Any:
        if (run_id, group) not in self._values:
            text = values if isinstance(values, str) else json.dumps(values, ensure_ascii=False)
            entity = self._context(f"#parameters-{len(self._values) + 1}", "PropertyValue", name=group, value=text)
            self._values[run_id, group] = entity
            self._fill(f"parameters {group}", "input", "PropertyValue", entity)
        return self._values[run_id, group]

    def _add_slots(self) -> None:
        for each in self._facts["datasets"]:
            if each["place"] == "raw":
                self._fill(each["name"], "input", "PropertyValue", self._datasets[each["number"]])
        target = self._datasets[self._facts["target"]["dataset"]]
        kind = "PropertyValue" if target.type == "PropertyValue" else "File"
        self._fill(self._facts["target"]["name"], "output", kind, target)

    def _fill(self, name: str, side: str, kind: str, entity: Any) -> None:
        """``entity`` is a value of the workflow's formal parameter ``name``."""
        if name not in self._slots:
            bioschemas = {"@id": "https://bioschemas.org/profiles/FormalParameter/1.0-RELEASE"}
            slot = self._context(f"#slot-{len(self._slots) + 1}", "FormalParameter", name=name, additionalType=kind,
                                 conformsTo=bioschemas)  # fmt: skip
            self._slots[name] = slot
            self._workflow.append_to(side, slot)
        self._slots[name].append_to("workExample", entity)
        entity.append_to("exampleOfWork", self._slots[name])

    def _add_run(self, run: Mapping[str, Any]) -> None:
        steps = [each for each in self._steps if each[0]["run_id"] == run["run_id"]]
        if not steps:
            return
        made = {
            each["number"] for each in self._facts["datasets"] if each["node"] in {node["number"] for node, *_ in steps}
        }
        read = {number for node, *_ in steps for number in node["inputs"]} - made
        action = self._context(f"#run-{run['run_id']}", "CreateAction", name=f"Kedro run {run['run_id']}",
                               description=run_sentence(run), startTime=run["started"],
                               **_ending(run["state"], run["error"]), **_end(run))  # fmt: skip
        action["instrument"] = self._workflow
        action["object"] = [
            *(self._datasets[number] for number in sorted(read)),
            *(entity for (run_id, _), entity in self._values.items() if run_id == run["run_id"]),
        ]
        action["result"] = [self._datasets[number] for number in sorted(made)]
        version = (run["packages"] or {}).get("kedro")
        engine = self._context(
            f"#engine-{run['run_id']}",
            "SoftwareApplication",
            name="Kedro",
            softwareVersion=version or "",
            url={"@id": "https://kedro.org"},
        )
        organize = self._context(
            f"#organize-{run['run_id']}", "OrganizeAction", name=f"Kedro's part in run {run['run_id']}"
        )
        organize["instrument"], organize["result"] = engine, action
        organize["object"] = [control for *_, control in steps]
        self.crate.root_dataset.append_to("mentions", action)


def _ending(state: str, error: str | None) -> dict[str, str]:
    """How an action ended, by the Process Run Crate; nothing of one that goes on, or of which nobody here can say."""
    if state == "done":
        return {"actionStatus": "http://schema.org/CompletedActionStatus"}
    if state in ("running", "unfinished"):
        return {}
    return {"actionStatus": "http://schema.org/FailedActionStatus", "error": error or state}


def _end(run: Mapping[str, Any]) -> dict[str, str]:
    """When it ended: nobody wrote that down of a run that was killed."""
    if run["state"] not in ("done", "failed", "interrupted") or run["seconds"] is None:
        return {}
    end = datetime.fromisoformat(run["started"]) + timedelta(seconds=run["seconds"])
    return {"endTime": end.isoformat(timespec="seconds")}


def _stays_inside(path: str) -> bool:
    """Whether a crate may name a file so: it stays in the crate's folder on any system, and is none of its own."""
    parts = PureWindowsPath(path)  # both kinds of slashes part, and a drive counts
    return (
        not parts.anchor
        and ".." not in parts.parts
        and parts.as_posix().lower() not in (".", "lineage.json", "ro-crate-metadata.json", "ro-crate-preview.html")
    )


def _media_type(path: Path) -> str:
    import mimetypes

    known = {".parquet": "application/vnd.apache.parquet", ".npz": "application/zip", ".nc": "application/netcdf"}
    return known.get(path.suffix) or mimetypes.guess_type(path.name)[0] or "application/octet-stream"
