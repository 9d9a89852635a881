from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ModelDescriptor(_message.Message):
    __slots__ = ("name", "description", "dataType", "modeltype", "data", "location", "version", "created_ms", "sha256", "size", "inputs", "outputs", "metrics", "operation", "signature", "force", "plan", "graph", "smoke_rows", "record_fields", "experiment", "batch_dependent", "bundle", "signer")
    class ModelType(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        TENSORFLOW: _ClassVar[ModelDescriptor.ModelType]
        TENSORFLOWSAVED: _ClassVar[ModelDescriptor.ModelType]
        PMML: _ClassVar[ModelDescriptor.ModelType]
        GRAPH: _ClassVar[ModelDescriptor.ModelType]
        ONNX: _ClassVar[ModelDescriptor.ModelType]
    TENSORFLOW: ModelDescriptor.ModelType
    TENSORFLOWSAVED: ModelDescriptor.ModelType
    PMML: ModelDescriptor.ModelType
    GRAPH: ModelDescriptor.ModelType
    ONNX: ModelDescriptor.ModelType
    class Operation(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        SERVE: _ClassVar[ModelDescriptor.Operation]
        WITHDRAW: _ClassVar[ModelDescriptor.Operation]
        DECIDE: _ClassVar[ModelDescriptor.Operation]
        EXPERIMENT: _ClassVar[ModelDescriptor.Operation]
    SERVE: ModelDescriptor.Operation
    WITHDRAW: ModelDescriptor.Operation
    DECIDE: ModelDescriptor.Operation
    EXPERIMENT: ModelDescriptor.Operation
    class MetricsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    NAME_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    DATATYPE_FIELD_NUMBER: _ClassVar[int]
    MODELTYPE_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    LOCATION_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    CREATED_MS_FIELD_NUMBER: _ClassVar[int]
    SHA256_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    INPUTS_FIELD_NUMBER: _ClassVar[int]
    OUTPUTS_FIELD_NUMBER: _ClassVar[int]
    METRICS_FIELD_NUMBER: _ClassVar[int]
    OPERATION_FIELD_NUMBER: _ClassVar[int]
    SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    FORCE_FIELD_NUMBER: _ClassVar[int]
    PLAN_FIELD_NUMBER: _ClassVar[int]
    GRAPH_FIELD_NUMBER: _ClassVar[int]
    SMOKE_ROWS_FIELD_NUMBER: _ClassVar[int]
    RECORD_FIELDS_FIELD_NUMBER: _ClassVar[int]
    EXPERIMENT_FIELD_NUMBER: _ClassVar[int]
    BATCH_DEPENDENT_FIELD_NUMBER: _ClassVar[int]
    BUNDLE_FIELD_NUMBER: _ClassVar[int]
    SIGNER_FIELD_NUMBER: _ClassVar[int]
    name: str
    description: str
    dataType: str
    modeltype: ModelDescriptor.ModelType
    data: bytes
    location: str
    version: int
    created_ms: int
    sha256: str
    size: int
    inputs: _containers.RepeatedCompositeFieldContainer[ModelInput]
    outputs: _containers.RepeatedCompositeFieldContainer[ModelOutput]
    metrics: _containers.ScalarMap[str, float]
    operation: ModelDescriptor.Operation
    signature: str
    force: bool
    plan: str
    graph: ModelGraph
    smoke_rows: _containers.RepeatedScalarFieldContainer[bytes]
    record_fields: _containers.RepeatedCompositeFieldContainer[RecordField]
    experiment: str
    batch_dependent: bool
    bundle: bytes
    signer: str
    def __init__(self, name: _Optional[str] = ..., description: _Optional[str] = ..., dataType: _Optional[str] = ..., modeltype: _Optional[_Union[ModelDescriptor.ModelType, str]] = ..., data: _Optional[bytes] = ..., location: _Optional[str] = ..., version: _Optional[int] = ..., created_ms: _Optional[int] = ..., sha256: _Optional[str] = ..., size: _Optional[int] = ..., inputs: _Optional[_Iterable[_Union[ModelInput, _Mapping]]] = ..., outputs: _Optional[_Iterable[_Union[ModelOutput, _Mapping]]] = ..., metrics: _Optional[_Mapping[str, float]] = ..., operation: _Optional[_Union[ModelDescriptor.Operation, str]] = ..., signature: _Optional[str] = ..., force: bool = ..., plan: _Optional[str] = ..., graph: _Optional[_Union[ModelGraph, _Mapping]] = ..., smoke_rows: _Optional[_Iterable[bytes]] = ..., record_fields: _Optional[_Iterable[_Union[RecordField, _Mapping]]] = ..., experiment: _Optional[str] = ..., batch_dependent: bool = ..., bundle: _Optional[bytes] = ..., signer: _Optional[str] = ...) -> None: ...

class ModelGraph(_message.Message):
    __slots__ = ("nodes", "fields")
    NODES_FIELD_NUMBER: _ClassVar[int]
    FIELDS_FIELD_NUMBER: _ClassVar[int]
    nodes: _containers.RepeatedCompositeFieldContainer[GraphNode]
    fields: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, nodes: _Optional[_Iterable[_Union[GraphNode, _Mapping]]] = ..., fields: _Optional[_Iterable[str]] = ...) -> None: ...

class GraphNode(_message.Message):
    __slots__ = ("name", "modeltype", "data", "location", "sha256", "size", "signature", "inputs", "outputs", "combine", "of", "weights")
    class Combine(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        NONE: _ClassVar[GraphNode.Combine]
        MEAN: _ClassVar[GraphNode.Combine]
        MEDIAN: _ClassVar[GraphNode.Combine]
        MAJORITY: _ClassVar[GraphNode.Combine]
    NONE: GraphNode.Combine
    MEAN: GraphNode.Combine
    MEDIAN: GraphNode.Combine
    MAJORITY: GraphNode.Combine
    NAME_FIELD_NUMBER: _ClassVar[int]
    MODELTYPE_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    LOCATION_FIELD_NUMBER: _ClassVar[int]
    SHA256_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    INPUTS_FIELD_NUMBER: _ClassVar[int]
    OUTPUTS_FIELD_NUMBER: _ClassVar[int]
    COMBINE_FIELD_NUMBER: _ClassVar[int]
    OF_FIELD_NUMBER: _ClassVar[int]
    WEIGHTS_FIELD_NUMBER: _ClassVar[int]
    name: str
    modeltype: ModelDescriptor.ModelType
    data: bytes
    location: str
    sha256: str
    size: int
    signature: str
    inputs: _containers.RepeatedCompositeFieldContainer[GraphInput]
    outputs: _containers.RepeatedCompositeFieldContainer[ModelOutput]
    combine: GraphNode.Combine
    of: _containers.RepeatedScalarFieldContainer[str]
    weights: _containers.RepeatedScalarFieldContainer[float]
    def __init__(self, name: _Optional[str] = ..., modeltype: _Optional[_Union[ModelDescriptor.ModelType, str]] = ..., data: _Optional[bytes] = ..., location: _Optional[str] = ..., sha256: _Optional[str] = ..., size: _Optional[int] = ..., signature: _Optional[str] = ..., inputs: _Optional[_Iterable[_Union[GraphInput, _Mapping]]] = ..., outputs: _Optional[_Iterable[_Union[ModelOutput, _Mapping]]] = ..., combine: _Optional[_Union[GraphNode.Combine, str]] = ..., of: _Optional[_Iterable[str]] = ..., weights: _Optional[_Iterable[float]] = ...) -> None: ...

class GraphInput(_message.Message):
    __slots__ = ("name", "dtype", "shape", "fields", "of", "constant")
    NAME_FIELD_NUMBER: _ClassVar[int]
    DTYPE_FIELD_NUMBER: _ClassVar[int]
    SHAPE_FIELD_NUMBER: _ClassVar[int]
    FIELDS_FIELD_NUMBER: _ClassVar[int]
    OF_FIELD_NUMBER: _ClassVar[int]
    CONSTANT_FIELD_NUMBER: _ClassVar[int]
    name: str
    dtype: str
    shape: _containers.RepeatedScalarFieldContainer[int]
    fields: _containers.RepeatedScalarFieldContainer[str]
    of: _containers.RepeatedScalarFieldContainer[str]
    constant: str
    def __init__(self, name: _Optional[str] = ..., dtype: _Optional[str] = ..., shape: _Optional[_Iterable[int]] = ..., fields: _Optional[_Iterable[str]] = ..., of: _Optional[_Iterable[str]] = ..., constant: _Optional[str] = ...) -> None: ...

class ModelInput(_message.Message):
    __slots__ = ("name", "dtype", "shape", "fields", "constant")
    NAME_FIELD_NUMBER: _ClassVar[int]
    DTYPE_FIELD_NUMBER: _ClassVar[int]
    SHAPE_FIELD_NUMBER: _ClassVar[int]
    FIELDS_FIELD_NUMBER: _ClassVar[int]
    CONSTANT_FIELD_NUMBER: _ClassVar[int]
    name: str
    dtype: str
    shape: _containers.RepeatedScalarFieldContainer[int]
    fields: _containers.RepeatedScalarFieldContainer[str]
    constant: str
    def __init__(self, name: _Optional[str] = ..., dtype: _Optional[str] = ..., shape: _Optional[_Iterable[int]] = ..., fields: _Optional[_Iterable[str]] = ..., constant: _Optional[str] = ...) -> None: ...

class RecordField(_message.Message):
    __slots__ = ("name", "path", "form", "default", "missing", "constant", "scale", "unit", "record_unit", "pad", "pad_at", "keep", "low", "high")
    NAME_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    FORM_FIELD_NUMBER: _ClassVar[int]
    DEFAULT_FIELD_NUMBER: _ClassVar[int]
    MISSING_FIELD_NUMBER: _ClassVar[int]
    CONSTANT_FIELD_NUMBER: _ClassVar[int]
    SCALE_FIELD_NUMBER: _ClassVar[int]
    UNIT_FIELD_NUMBER: _ClassVar[int]
    RECORD_UNIT_FIELD_NUMBER: _ClassVar[int]
    PAD_FIELD_NUMBER: _ClassVar[int]
    PAD_AT_FIELD_NUMBER: _ClassVar[int]
    KEEP_FIELD_NUMBER: _ClassVar[int]
    LOW_FIELD_NUMBER: _ClassVar[int]
    HIGH_FIELD_NUMBER: _ClassVar[int]
    name: str
    path: str
    form: str
    default: str
    missing: bool
    constant: str
    scale: int
    unit: str
    record_unit: str
    pad: str
    pad_at: str
    keep: str
    low: float
    high: float
    def __init__(self, name: _Optional[str] = ..., path: _Optional[str] = ..., form: _Optional[str] = ..., default: _Optional[str] = ..., missing: bool = ..., constant: _Optional[str] = ..., scale: _Optional[int] = ..., unit: _Optional[str] = ..., record_unit: _Optional[str] = ..., pad: _Optional[str] = ..., pad_at: _Optional[str] = ..., keep: _Optional[str] = ..., low: _Optional[float] = ..., high: _Optional[float] = ...) -> None: ...

class ModelOutput(_message.Message):
    __slots__ = ("name", "alias")
    NAME_FIELD_NUMBER: _ClassVar[int]
    ALIAS_FIELD_NUMBER: _ClassVar[int]
    name: str
    alias: str
    def __init__(self, name: _Optional[str] = ..., alias: _Optional[str] = ...) -> None: ...

class ModelLog(_message.Message):
    __slots__ = ("served", "pending", "newest", "former", "quarantined")
    class Entry(_message.Message):
        __slots__ = ("name", "version", "sha256", "descriptor", "attempts", "signer")
        NAME_FIELD_NUMBER: _ClassVar[int]
        VERSION_FIELD_NUMBER: _ClassVar[int]
        SHA256_FIELD_NUMBER: _ClassVar[int]
        DESCRIPTOR_FIELD_NUMBER: _ClassVar[int]
        ATTEMPTS_FIELD_NUMBER: _ClassVar[int]
        SIGNER_FIELD_NUMBER: _ClassVar[int]
        name: str
        version: int
        sha256: str
        descriptor: bytes
        attempts: int
        signer: str
        def __init__(self, name: _Optional[str] = ..., version: _Optional[int] = ..., sha256: _Optional[str] = ..., descriptor: _Optional[bytes] = ..., attempts: _Optional[int] = ..., signer: _Optional[str] = ...) -> None: ...
    class Quarantined(_message.Message):
        __slots__ = ("name", "version", "sha256", "reason", "since")
        NAME_FIELD_NUMBER: _ClassVar[int]
        VERSION_FIELD_NUMBER: _ClassVar[int]
        SHA256_FIELD_NUMBER: _ClassVar[int]
        REASON_FIELD_NUMBER: _ClassVar[int]
        SINCE_FIELD_NUMBER: _ClassVar[int]
        name: str
        version: int
        sha256: str
        reason: str
        since: int
        def __init__(self, name: _Optional[str] = ..., version: _Optional[int] = ..., sha256: _Optional[str] = ..., reason: _Optional[str] = ..., since: _Optional[int] = ...) -> None: ...
    class NewestEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    SERVED_FIELD_NUMBER: _ClassVar[int]
    PENDING_FIELD_NUMBER: _ClassVar[int]
    NEWEST_FIELD_NUMBER: _ClassVar[int]
    FORMER_FIELD_NUMBER: _ClassVar[int]
    QUARANTINED_FIELD_NUMBER: _ClassVar[int]
    served: ModelLog.Entry
    pending: _containers.RepeatedCompositeFieldContainer[ModelLog.Entry]
    newest: _containers.ScalarMap[str, int]
    former: ModelLog.Entry
    quarantined: _containers.RepeatedCompositeFieldContainer[ModelLog.Quarantined]
    def __init__(self, served: _Optional[_Union[ModelLog.Entry, _Mapping]] = ..., pending: _Optional[_Iterable[_Union[ModelLog.Entry, _Mapping]]] = ..., newest: _Optional[_Mapping[str, int]] = ..., former: _Optional[_Union[ModelLog.Entry, _Mapping]] = ..., quarantined: _Optional[_Iterable[_Union[ModelLog.Quarantined, _Mapping]]] = ...) -> None: ...

class RouterLog(_message.Message):
    __slots__ = ("candidates", "plans")
    class Candidate(_message.Message):
        __slots__ = ("name", "log", "modeltype", "metrics")
        class MetricsEntry(_message.Message):
            __slots__ = ("key", "value")
            KEY_FIELD_NUMBER: _ClassVar[int]
            VALUE_FIELD_NUMBER: _ClassVar[int]
            key: str
            value: float
            def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
        NAME_FIELD_NUMBER: _ClassVar[int]
        LOG_FIELD_NUMBER: _ClassVar[int]
        MODELTYPE_FIELD_NUMBER: _ClassVar[int]
        METRICS_FIELD_NUMBER: _ClassVar[int]
        name: str
        log: ModelLog
        modeltype: ModelDescriptor.ModelType
        metrics: _containers.ScalarMap[str, float]
        def __init__(self, name: _Optional[str] = ..., log: _Optional[_Union[ModelLog, _Mapping]] = ..., modeltype: _Optional[_Union[ModelDescriptor.ModelType, str]] = ..., metrics: _Optional[_Mapping[str, float]] = ...) -> None: ...
    CANDIDATES_FIELD_NUMBER: _ClassVar[int]
    PLANS_FIELD_NUMBER: _ClassVar[int]
    candidates: _containers.RepeatedCompositeFieldContainer[RouterLog.Candidate]
    plans: ModelLog
    def __init__(self, candidates: _Optional[_Iterable[_Union[RouterLog.Candidate, _Mapping]]] = ..., plans: _Optional[_Union[ModelLog, _Mapping]] = ...) -> None: ...

class CandidateLogs(_message.Message):
    __slots__ = ("logs", "heard")
    class LogsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: ModelLog
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[ModelLog, _Mapping]] = ...) -> None: ...
    LOGS_FIELD_NUMBER: _ClassVar[int]
    HEARD_FIELD_NUMBER: _ClassVar[int]
    logs: _containers.MessageMap[str, ModelLog]
    heard: RouterLog
    def __init__(self, logs: _Optional[_Mapping[str, ModelLog]] = ..., heard: _Optional[_Union[RouterLog, _Mapping]] = ...) -> None: ...
