"""The identity of a frame's data: the same on every machine, however the rows come in batches."""

import hashlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from data_pipeline.transfer.arrow_types import is_list, plain_list
from data_pipeline.transfer.stable_hash import fingerprint


class ContentHash:
    """A running SHA-256 over the columns of record batches.

    Three streams are hashed for each column: the row numbers of its NULLs, the lengths of its
    variable-size values, and the values. Batches only cut these streams, so they leave no trace.
    """

    def __init__(self, schema: pa.Schema) -> None:
        self._fields = list(schema)
        self._columns = [_ColumnHash() for _ in schema]
        self._rows = 0

    def update(self, batch: pa.RecordBatch) -> None:
        """Take the next rows into account."""
        for column, array in zip(self._columns, batch.columns, strict=True):
            column.update(array)
        self._rows += batch.num_rows

    def watch(self, reader: pa.RecordBatchReader) -> pa.RecordBatchReader:
        """Return a reader of the same batches that updates this hash as they pass."""

        def passing() -> Iterator[pa.RecordBatch]:
            for batch in reader:
                self.update(batch)
                yield batch

        return pa.RecordBatchReader.from_batches(reader.schema, passing())

    def version(self) -> str:
        """Return the identity of all rows so far, their column names and types."""
        columns = [
            [item.name, str(_canonical(item.type)), column.digests()]
            for item, column in zip(self._fields, self._columns, strict=True)
        ]
        return fingerprint("content-1", self._rows, columns)


class _ColumnHash:
    """The three streams of one column, and those of the columns nested in it."""

    def __init__(self) -> None:
        self._nulls, self._lengths, self._values = (hashlib.sha256() for _ in range(3))
        self._children: dict[int, _ColumnHash] = {}
        self._rows = 0

    def digests(self) -> list[Any]:
        own: list[Any] = [item.hexdigest() for item in (self._nulls, self._lengths, self._values)]
        return own + [[key, child.digests()] for key, child in sorted(self._children.items())]

    def update(self, array: pa.Array) -> None:
        array = _plain(array)
        if array.null_count:
            missing = np.flatnonzero(array.is_null().to_numpy(zero_copy_only=False))
            self._nulls.update((missing + self._rows).astype("<i8").tobytes())
        self._rows += len(array)
        kind = array.type
        if pa.types.is_null(kind):
            return
        if pa.types.is_list(kind) or pa.types.is_large_list(kind):
            lengths = pc.fill_null(pc.list_value_length(array), 0)
            self._lengths.update(lengths.cast(pa.int64()).to_numpy().tobytes())
            self._child(0).update(pc.list_flatten(array))
        elif pa.types.is_struct(kind):
            for number, child in enumerate(array.flatten()):
                self._child(number).update(child)
        elif pa.types.is_large_binary(kind):
            self._update_binary(array)
        else:
            self._update_fixed(array)

    def _child(self, number: int) -> "_ColumnHash":
        return self._children.setdefault(number, _ColumnHash())

    def _update_binary(self, array: pa.Array) -> None:
        if array.null_count:
            array = pc.fill_null(array, b"")
        _, offsets, data = array.buffers()
        if not len(array):
            return
        bounds = np.frombuffer(offsets, dtype="<i8")[array.offset : array.offset + len(array) + 1]
        self._lengths.update(np.diff(bounds).tobytes())
        if data is not None:
            self._values.update(memoryview(data)[bounds[0] : bounds[-1]])

    def _update_fixed(self, array: pa.Array) -> None:
        if pa.types.is_boolean(array.type):
            array = array.cast(pa.uint8())
        width = array.type.bit_width // 8
        if array.null_count:
            array = _filled(array, width)
        data = array.buffers()[1]
        if data is not None:
            start = array.offset * width
            self._values.update(memoryview(data)[start : start + len(array) * width])


def _filled(array: pa.Array, width: int) -> pa.Array:
    """Return the array with zero bytes where it is NULL, whatever lay there before."""
    data = np.frombuffer(array.buffers()[1], dtype=np.uint8)
    start = array.offset * width
    values = data[start : start + len(array) * width].reshape(len(array), width).copy()
    values[array.is_null().to_numpy(zero_copy_only=False)] = 0
    return pa.Array.from_buffers(array.type, len(array), [None, pa.py_buffer(values)])


def _plain(array: pa.Array) -> pa.Array:
    """Return the array in the one layout that is hashed for its kind of type."""
    if isinstance(array, pa.ExtensionArray):
        array = array.storage
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    if is_list(array.type):
        return plain_list(array)
    target = _canonical(array.type)
    if pa.types.is_map(array.type):
        array = pa.array([None if item is None else _by_text(item) for item in array.to_pylist()])
        return _plain(array.cast(pa.string()) if pa.types.is_null(array.type) else array)
    if pa.types.is_large_string(target):
        return array.cast(pa.large_string()).view(pa.large_binary())
    return array if array.type == target else array.cast(target)


def _by_text(pairs: list[tuple[Any, Any]]) -> dict[str, Any]:
    """Return a map by the text of its keys: others are refused when they are sent, by name."""
    return {key if isinstance(key, str) else repr(key): value for key, value in pairs}


def _canonical(kind: pa.DataType) -> pa.DataType:
    """Return the type that stands for all types with the same values and another layout."""
    if isinstance(kind, pa.BaseExtensionType):
        return _canonical(kind.storage_type)
    if pa.types.is_dictionary(kind):
        return _canonical(kind.value_type)
    if pa.types.is_string(kind) or pa.types.is_string_view(kind):
        return pa.large_string()
    if pa.types.is_binary(kind) or pa.types.is_binary_view(kind):
        return pa.large_binary()
    if is_list(kind) and not (pa.types.is_list(kind) or pa.types.is_large_list(kind)):
        return pa.list_(kind.value_type)
    return kind
