"""schemas.structs: the Struct of every model has the model's fields, defaults and requirements."""

import inspect
from types import ModuleType
from typing import Any

import msgspec
import pytest
from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from schemas import (
    answer,
    ask,
    attribution,
    budget,
    catalog,
    deadletter,
    entry,
    envelope,
    invoice,
    preflight,
    signal,
    structs,
    usage,
)
from schemas.structs import struct_of

MODULES: list[ModuleType] = [
    answer,
    ask,
    attribution,
    budget,
    catalog,
    deadletter,
    entry,
    envelope,
    invoice,
    preflight,
    signal,
    usage,
]

MODELS = sorted(
    {
        found
        for module in MODULES
        for _, found in inspect.getmembers(module, inspect.isclass)
        if issubclass(found, BaseModel) and found.__module__.startswith("schemas.")
    },
    key=lambda model: model.__name__,
)


def test_the_models_were_found() -> None:
    names = {model.__name__ for model in MODELS}
    assert {"Usage", "Signal", "Grant", "UsageEntry", "PriceBook", "Preflight"} <= names
    assert len(names) == len(MODELS) >= 25


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_a_struct_has_the_fields_of_its_model_in_their_order(model: type[BaseModel]) -> None:
    names = [name for name in model.model_fields if name != "kind"]
    assert [found.name for found in msgspec.structs.fields(struct_of(model))] == names


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_a_struct_requires_and_defaults_what_its_model_does(model: type[BaseModel]) -> None:
    for found in msgspec.structs.fields(struct_of(model)):
        info = model.model_fields[found.name]
        assert found.required == info.is_required(), found.name
        if not found.required:
            assert _default(found) == info.get_default(call_default_factory=True), found.name


def _default(found: Any) -> Any:
    if found.default_factory is not msgspec.NODEFAULT:
        return found.default_factory()
    return found.default


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_a_struct_is_tagged_with_the_kind_of_its_model(model: type[BaseModel]) -> None:
    config: Any = struct_of(model).__struct_config__
    kind = model.model_fields.get("kind")
    if kind is None:
        assert (config.tag_field, config.tag) == (None, None)
    else:
        assert kind.default is not PydanticUndefined
        assert (config.tag_field, config.tag) == ("kind", kind.default)


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_a_struct_is_immutable_and_refuses_unknown_fields_as_its_model(
    model: type[BaseModel],
) -> None:
    config: Any = struct_of(model).__struct_config__
    assert (config.frozen, model.model_config["frozen"]) == (True, True)
    assert (config.forbid_unknown_fields, model.model_config["extra"]) == (True, "forbid")
    assert model.model_config["strict"] is True


def test_every_struct_is_exported_and_every_export_is_a_struct() -> None:
    exported = [getattr(structs, name) for name in structs.__all__ if name != "struct_of"]
    assert len(exported) >= 15
    concrete = {found for found in exported if inspect.isclass(found)}
    for found in concrete:
        assert issubclass(found, msgspec.Struct)


def test_a_list_default_is_not_shared_between_values() -> None:
    grants = [
        structs.Rules(schema_version=1, id="a", version=str(n), default_plan=[]) for n in (1, 2)
    ]
    assert grants[0].default_plan is not grants[1].default_plan
    spans = [struct_of(catalog.PriceSpan)(rates={}) for _ in range(2)]
    assert spans[0].unsupported is not spans[1].unsupported


def test_a_type_without_a_twin_is_refused_when_the_struct_is_built() -> None:
    class WithFloat(BaseModel):
        amount: float

    with pytest.raises(TypeError, match="no msgspec twin"):
        struct_of(WithFloat)
