"""Parameters become frozen options before anything runs, and a key that nobody reads is an error, not a silence.

Kedro builds a dataclass from a node's annotation with ``cls(**values)``. Here YAML lists also become tuples and nested
mappings nested dataclasses, where the annotations say so, and every problem comes out in one message with the names
that would have been right.
"""

import dataclasses
import types
from typing import Any, Union, get_args, get_origin, get_type_hints

from kedro.framework.context import KedroContext
from kedro.framework.project import pipelines as project_pipelines
from kedro.pipeline import Pipeline
from kedro.validation import TypeExtractor

from skytrace.errors import OptionError, unknown_name
from skytrace.pipeline_registry import LINEAGES, create_lineage

__all__ = ["TypedContext", "build_options", "typed_parameters"]


class TypedContext(KedroContext):
    """Kedro's context, whose ``params`` are typed and checked by this module."""

    def _get_validated_params(self) -> dict[str, Any]:
        # private to Kedro: kept in step by the kedro~=1.7.0 pin and by tests/test_parameters.py
        scope = self._pipelines_to_validate
        if self._validated_params_cache is None or self._cached_validation_scope != scope:
            names = list(project_pipelines) if scope is None else scope
            pipelines = {name: project_pipelines[name] for name in names}
            self._validated_params_cache = typed_parameters(self.config_loader["parameters"], pipelines)
            self._cached_validation_scope = scope
        return self._validated_params_cache


def typed_parameters(raw: dict[str, Any], pipelines: dict[str, Pipeline]) -> dict[str, Any]:
    """Return ``raw`` with the groups that nodes annotate as dataclasses replaced by instances.

    Raises OptionError listing every unknown key (with the keys there are), every missing group and every value out of
    its range. Top-level keys are pipelines' names; the groups of a pipeline that is not in ``pipelines`` are left be.
    """
    problems = [*_unknown_groups(raw, pipelines)]
    typed = _copied(raw)
    for key, annotation in TypeExtractor(pipelines).extract_types_from_pipelines().items():
        *parents, last = key.split(".")
        group = typed
        for parent in parents:
            group = group.get(parent) or {}
        if last not in group:
            problems.append(f"{key} is missing from the parameters")
            continue
        try:
            group[last] = build_options(key, group[last], annotation)
        except OptionError as error:
            problems.append(str(error))
    if problems:
        raise OptionError("the parameters cannot be used:\n" + "\n".join(f"  - {problem}" for problem in problems))
    return typed


def build_options(key: str, value: Any, annotation: Any) -> Any:
    """Return ``value`` as ``annotation`` asks: dataclasses from mappings, tuples from lists, whole numbers from floats
    that are whole, anything else as it is.
    """
    if get_origin(annotation) in (Union, types.UnionType):
        if value is None and type(None) in get_args(annotation):
            return None
        inner = [choice for choice in get_args(annotation) if choice is not type(None)]
        return build_options(key, value, inner[0]) if len(inner) == 1 else value
    if dataclasses.is_dataclass(annotation) and isinstance(annotation, type):
        return _build_dataclass(key, value, annotation)
    if get_origin(annotation) is tuple and isinstance(value, list):
        arguments = [item for item in get_args(annotation) if item is not Ellipsis]
        kinds = arguments if len(arguments) == len(value) else arguments[:1] * len(value)
        return tuple(build_options(f"{key}[{i}]", *pair) for i, pair in enumerate(zip(value, kinds, strict=False)))
    if annotation is int and isinstance(value, float) and value.is_integer():
        return int(value)  # 1.0e3 in YAML
    return value


def _build_dataclass(key: str, value: Any, kind: type) -> Any:
    if isinstance(value, kind):
        return value
    if not isinstance(value, dict):
        raise OptionError(f"{key} = {value!r} is not a group of options ({kind.__name__})")
    fields = [field.name for field in dataclasses.fields(kind) if field.init]
    unknown = [name for name in value if name not in fields]
    if unknown:
        raise OptionError("; ".join(_unknown(f"{key}.{name}", name, fields) for name in unknown))
    try:
        hints = get_type_hints(kind)
    except NameError:  # a name that exists only for the type checker: no nested conversion for this class
        hints = {}
    built = {name: build_options(f"{key}.{name}", item, hints.get(name, Any)) for name, item in value.items()}
    try:
        return kind(**built)
    except (TypeError, ValueError) as error:
        raise OptionError(f"{key}: {error}") from error


def _unknown_groups(raw: dict[str, Any], pipelines: dict[str, Pipeline]) -> list[str]:
    read = {
        tuple(name.removeprefix("params:").split("."))
        for pipeline in pipelines.values()
        for name in pipeline.inputs()
        if name.startswith("params:")
    }
    loaded = {path[0] for path in read}
    problems = []
    for top, groups in raw.items():
        if top.startswith("_"):  # a YAML anchor
            continue
        if top not in loaded:
            if top not in LINEAGES:
                problems.append(_unknown(top, top, sorted({*LINEAGES, *loaded})))
            continue
        names = sorted({path[1] for path in read if path[0] == top and len(path) > 1})
        if isinstance(groups, dict) and (top,) not in read:
            if top in LINEAGES and not set(groups) <= set(names):  # a lineage may hold a part of this pipeline only
                names = sorted({*names, *_groups_of(top)})
            problems += [_unknown(f"{top}.{name}", name, names) for name in groups if name not in names]
    return problems


def _groups_of(pipeline: str) -> set[str]:
    """Parameter groups that the whole pipeline reads."""
    names = create_lineage((pipeline,)).inputs()
    prefix = f"params:{pipeline}."
    return {name.removeprefix(prefix).split(".")[0] for name in names if name.startswith(prefix)}


def _unknown(path: str, name: str, allowed: list[str]) -> str:
    return unknown_name(f"{path} is not a parameter", name, allowed)


def _copied(value: Any) -> Any:
    return {key: _copied(item) for key, item in value.items()} if isinstance(value, dict) else value
