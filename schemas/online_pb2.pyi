from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Value(_message.Message):
    __slots__ = ("bytes", "text", "int32", "int64", "float64", "float32", "boolean", "timestamp", "text_list", "int64_list", "float64_list", "timestamp_list", "null")
    BYTES_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    INT32_FIELD_NUMBER: _ClassVar[int]
    INT64_FIELD_NUMBER: _ClassVar[int]
    FLOAT64_FIELD_NUMBER: _ClassVar[int]
    FLOAT32_FIELD_NUMBER: _ClassVar[int]
    BOOLEAN_FIELD_NUMBER: _ClassVar[int]
    TIMESTAMP_FIELD_NUMBER: _ClassVar[int]
    TEXT_LIST_FIELD_NUMBER: _ClassVar[int]
    INT64_LIST_FIELD_NUMBER: _ClassVar[int]
    FLOAT64_LIST_FIELD_NUMBER: _ClassVar[int]
    TIMESTAMP_LIST_FIELD_NUMBER: _ClassVar[int]
    NULL_FIELD_NUMBER: _ClassVar[int]
    bytes: bytes
    text: str
    int32: int
    int64: int
    float64: float
    float32: float
    boolean: bool
    timestamp: int
    text_list: TextList
    int64_list: Int64List
    float64_list: Float64List
    timestamp_list: Int64List
    null: int
    def __init__(self, bytes: _Optional[bytes] = ..., text: _Optional[str] = ..., int32: _Optional[int] = ..., int64: _Optional[int] = ..., float64: _Optional[float] = ..., float32: _Optional[float] = ..., boolean: bool = ..., timestamp: _Optional[int] = ..., text_list: _Optional[_Union[TextList, _Mapping]] = ..., int64_list: _Optional[_Union[Int64List, _Mapping]] = ..., float64_list: _Optional[_Union[Float64List, _Mapping]] = ..., timestamp_list: _Optional[_Union[Int64List, _Mapping]] = ..., null: _Optional[int] = ...) -> None: ...

class TextList(_message.Message):
    __slots__ = ("items",)
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    items: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, items: _Optional[_Iterable[str]] = ...) -> None: ...

class Int64List(_message.Message):
    __slots__ = ("items",)
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    items: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, items: _Optional[_Iterable[int]] = ...) -> None: ...

class Float64List(_message.Message):
    __slots__ = ("items",)
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    items: _containers.RepeatedScalarFieldContainer[float]
    def __init__(self, items: _Optional[_Iterable[float]] = ...) -> None: ...
