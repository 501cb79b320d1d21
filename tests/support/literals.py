"""Flyte's literals, as FlytePropeller binds, unpacks and hashes them between tasks."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

import msgpack
from flyteidl.core import literals_pb2, tasks_pb2

Literals: TypeAlias = dict[str, literals_pb2.Literal]


CacheKey: TypeAlias = tuple[str, str, str]


def cache_key(template: tasks_pb2.TaskTemplate, inputs: Literals, index: int | None) -> CacheKey:
    """Flyte's: the task's name, its cache version, and the values it gets."""
    ignored = set(template.metadata.cache_ignore_input_vars)
    inputs = {name: literal for name, literal in inputs.items() if name not in ignored}
    if index is not None:
        inputs = {
            name: literal.collection.literals[index] if literal.HasField("collection") else literal
            for name, literal in inputs.items()
        }
    content = literals_pb2.LiteralMap(literals=inputs).SerializeToString(deterministic=True)
    digest = hashlib.sha256(content).hexdigest()
    return template.id.name, template.metadata.discovery_version, digest


def sources(bindings: Iterable[literals_pb2.Binding]) -> set[str]:
    """The nodes whose outputs are needed; the workflow's own inputs are those of node ''."""
    return {node for binding in bindings for node in _sources_of(binding.binding)}


def _sources_of(data: literals_pb2.BindingData) -> set[str]:
    if data.HasField("promise"):
        return {data.promise.node_id}
    return {node for part in data.collection.bindings for node in _sources_of(part)}


def resolve(data: literals_pb2.BindingData, done: Mapping[str, Literals]) -> literals_pb2.Literal:
    if data.HasField("scalar"):
        return literals_pb2.Literal(scalar=data.scalar)
    if data.HasField("collection"):
        parts = [resolve(part, done) for part in data.collection.bindings]
        return literals_pb2.Literal(collection=literals_pb2.LiteralCollection(literals=parts))
    literal = done[data.promise.node_id][data.promise.var]
    if not data.promise.attr_path:
        return literal
    return attribute(literal, [part.string_value for part in data.promise.attr_path])


def attribute(
    literal: literals_pb2.Literal, path: Sequence[str], *, primitives: bool = True
) -> literals_pb2.Literal:
    """An attribute of a dataclass: FlytePropeller unpacks it, picks, and packs it again.

    Source: flytepropeller/pkg/controller/nodes/attr_path_resolver.go (v1.16.8), where a text, a
    number or a boolean becomes a primitive.

    Args:
        primitives: False to pack those as msgpack, too, as earlier versions did.
    """
    value = msgpack.unpackb(literal.scalar.binary.value)
    for name in path:
        value = value[name]
    for kind, key in (
        (bool, "boolean"), (str, "string_value"), (int, "integer"), (float, "float_value"),
    ):  # fmt: skip
        if primitives and isinstance(value, kind):
            primitive = literals_pb2.Primitive(**{key: value})
            return literals_pb2.Literal(scalar=literals_pb2.Scalar(primitive=primitive))
    binary = literals_pb2.Binary(value=msgpack.packb(value), tag="msgpack")
    return literals_pb2.Literal(scalar=literals_pb2.Scalar(binary=binary))


def unpacked(literal: literals_pb2.Literal) -> Any:
    """A dataclass as it travels, as a mapping; None if there is none."""
    if literal.scalar.HasField("none_type"):
        return None
    assert literal.scalar.binary.tag == "msgpack"
    return msgpack.unpackb(literal.scalar.binary.value)
