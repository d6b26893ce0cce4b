"""Flattened device trees (Devicetree Specification 0.4, chapter 5), made and read."""

import struct
from collections.abc import Mapping

Node = Mapping[str, "bytes | Node"]
"""A node: its properties, whose values are bytes, and its child nodes, by name."""

_BEGIN, _END_NODE, _PROPERTY, _END = 1, 2, 3, 9
_MAGIC = 0xD00D_FEED


def flattened(root: Node) -> bytes:
    """Return ``root`` as the file that a boot loader loads (version 17)."""
    strings = bytearray()
    structure = _node("", root, strings) + struct.pack(">I", _END)
    # The header has 40 bytes; 16 zeros end the list of reserved memory.
    at = 56
    lengths = (at + len(structure) + len(strings), at, at + len(structure), 40)
    header = struct.pack(">10I", _MAGIC, *lengths, 17, 16, 0, len(strings), len(structure))
    return header + bytes(16) + structure + bytes(strings)


def _node(name: str, node: Node, strings: bytearray) -> bytes:
    result = struct.pack(">I", _BEGIN) + _padded(name.encode() + b"\0")
    # The properties of a node are before its children.
    for key, value in node.items():
        if isinstance(value, bytes):
            result += struct.pack(">3I", _PROPERTY, len(value), len(strings)) + _padded(value)
            strings += key.encode() + b"\0"
    for key, value in node.items():
        if not isinstance(value, bytes):
            result += _node(key, value, strings)
    return result + struct.pack(">I", _END_NODE)


def properties(tree: bytes) -> dict[str, bytes]:
    """Return the properties of all nodes by their paths, such as ``/chosen/bootargs``."""
    magic, _, at, strings = struct.unpack_from(">4I", tree)
    assert magic == _MAGIC
    found: dict[str, bytes] = {}
    path: list[str] = []
    while (token := struct.unpack_from(">I", tree, at)[0]) != _END:
        at += 4
        if token == _BEGIN:
            name = _text(tree, at)
            path.append(name)
            at += len(_padded(name.encode() + b"\0"))
        elif token == _END_NODE:
            path.pop()
        elif token == _PROPERTY:
            length, name_at = struct.unpack_from(">2I", tree, at)
            found["/".join([*path, _text(tree, strings + name_at)])] = tree[at + 8 :][:length]
            at += 8 + (length + 3) // 4 * 4
    return found


def _text(tree: bytes, at: int) -> str:
    return tree[at : tree.index(b"\0", at)].decode()


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)
