"""How a msgspec Struct is built from a Pydantic model: the same fields, made for speed.

Owns what `schemas.structs` builds its records with, and the bases of values and rows.
"""

import re
from collections.abc import Iterable
from enum import Enum
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, Final, Literal, TypeVar, Union, get_args, get_origin

import annotated_types
import msgspec
from pydantic import AfterValidator, BaseModel, StringConstraints
from pydantic.fields import FieldInfo

_MODULE: Final = "schemas.structs"
"""Where the Structs are found by name."""


class Value(msgspec.Struct, frozen=True, gc=False):
    """Base of the small values that the core makes several of for each event: made in a third of
    the time of a dataclass, and never looked through for garbage, as none of them holds itself."""


class Row(msgspec.Struct, omit_defaults=True, gc=False):
    """Base of what a table's row holds, changed in place. What still has its default is not
    written: a new customer's row is half as long, and fields may be added without rewriting
    tables."""


column = msgspec.field
"""A Row's field whose default is made anew for each row."""


T = TypeVar("T")


def replace(record: T, **changes: Any) -> T:
    """A Struct with some fields changed, as `dataclasses.replace` makes one."""
    changed: T = msgspec.structs.replace(record, **changes)  # type: ignore[type-var]
    return changed


def _constraints(metadata: Iterable[object]) -> dict[str, Any]:
    r"""The msgspec constraints that say what this Pydantic metadata says.

    A pattern is left out where an AfterValidator follows: its function reads the whole text anyway.
    `$` becomes `\Z`, because Python's `$` would let a final newline pass and Pydantic's does not.
    """
    found: dict[str, Any] = {}
    pattern: str | None = None
    validated = False
    for item in metadata:
        if isinstance(item, FieldInfo):
            found |= _constraints(item.metadata)
        elif isinstance(item, AfterValidator):
            validated = True
        elif isinstance(item, annotated_types.Ge):
            found["ge"] = item.ge
        elif isinstance(item, annotated_types.Le):
            found["le"] = item.le
        elif isinstance(item, annotated_types.MinLen):
            found["min_length"] = item.min_length
        elif isinstance(item, annotated_types.MaxLen):
            found["max_length"] = item.max_length
        elif isinstance(item, StringConstraints):
            if item.min_length is not None:
                found["min_length"] = item.min_length
            if item.max_length is not None:
                found["max_length"] = item.max_length
            pattern = item.pattern if isinstance(item.pattern, str) else pattern
        else:
            pattern = getattr(item, "pattern", None) or pattern
    if pattern and not validated:
        found["pattern"] = re.sub(r"\$$", r"\\Z", pattern)
    return found


def _twin_type(annotation: Any) -> Any:
    """The annotation with models replaced by their Structs and constraints by msgspec's."""
    origin, args = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        constraints = _constraints(args[1:])
        base = _twin_type(args[0])
        return Annotated[base, msgspec.Meta(**constraints)] if constraints else base
    if origin in (Union, UnionType):
        return Union[tuple(_twin_type(arg) for arg in args)]  # noqa: UP007 - built at run time
    if origin in (list, dict, tuple):
        return origin[tuple(_twin_type(arg) for arg in args)]
    if origin is Literal or annotation in (Any, NoneType):
        return annotation
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return struct_of(annotation)
    if isinstance(annotation, type) and issubclass(annotation, str | int | bool | Enum):
        return annotation
    raise TypeError(f"no msgspec twin for the type {annotation!r}: extend schemas.twins")


@cache
def struct_of(model: type[BaseModel]) -> type[Any]:
    """A frozen Struct with the fields, defaults and constraints of `model`; keyword-only where a
    field with a default stands before one without.

    A `kind` field becomes the tag of the Struct; defaults are left out when it is encoded; unknown
    fields are refused when it is decoded.
    """
    fields: list[tuple[str, Any, Any]] = []
    tag: str | None = None
    for name, info in model.model_fields.items():
        if name == "kind":
            tag = info.default
            continue
        annotation = (
            Annotated[info.annotation, *info.metadata] if info.metadata else info.annotation
        )
        default = msgspec.NODEFAULT if info.is_required() else msgspec.field(default=info.default)
        if isinstance(info.default, list | dict):
            default = msgspec.field(default_factory=type(info.default))
        fields.append((name, _twin_type(annotation), default))
    return msgspec.defstruct(
        model.__name__,
        fields,
        frozen=True,
        kw_only=not _is_ordered(fields),
        forbid_unknown_fields=True,
        omit_defaults=True,
        gc=False,
        tag_field="kind" if tag else None,
        tag=tag,
        module=_MODULE,
    )


def _is_ordered(fields: list[tuple[str, Any, Any]]) -> bool:
    required = [default is msgspec.NODEFAULT for _, _, default in fields]
    return required == sorted(required, reverse=True)
