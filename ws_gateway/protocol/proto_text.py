"""A Protobuf message's schema as text, with the messages in it and no others.

It is written from what the codec reads and writes with, so that it cannot be another one, and
whole for one message, because readers of AsyncAPI look for a single root.
"""

from __future__ import annotations

from google.protobuf.descriptor import Descriptor, FieldDescriptor

__all__ = ["proto_text"]

_SCALARS = {
    FieldDescriptor.TYPE_BOOL: "bool",
    FieldDescriptor.TYPE_BYTES: "bytes",
    FieldDescriptor.TYPE_INT32: "int32",
    FieldDescriptor.TYPE_INT64: "int64",
    FieldDescriptor.TYPE_STRING: "string",
    FieldDescriptor.TYPE_UINT32: "uint32",
    FieldDescriptor.TYPE_UINT64: "uint64",
}


def proto_text(root: Descriptor) -> str:
    """Write the ``.proto`` of a message and of all that occur in it.

    Raises:
        KeyError: A field is of a scalar type that no message had so far.
    """
    found: dict[str, Descriptor] = {}
    waiting = [root]
    while waiting:
        message = waiting.pop()
        if message.name in found:
            continue
        if not message.GetOptions().map_entry:
            found[message.name] = message
        waiting += [field.message_type for field in message.fields if field.message_type]
    package = f'syntax = "proto3";\n\npackage {root.file.package};\n'
    return "\n".join([package, *(_message(message) for message in found.values())])


def _message(message: Descriptor) -> str:
    fields = "".join(
        f"  {_type(field)} {field.name} = {field.number};\n" for field in message.fields
    )
    return f"message {message.name} {{\n{fields}}}\n"


def _type(field: FieldDescriptor) -> str:
    held = field.message_type
    if held is None:
        name = _SCALARS[field.type]
    elif held.GetOptions().map_entry:
        key, value = held.fields
        return f"map<{_type(key)}, {_type(value)}>"
    else:
        name = held.name
    return f"repeated {name}" if field.is_repeated else name
