"""The TensorFlow operators that a model may hold, by name.

An operator is here only if it computes on tensors, flows control, or keeps state inside its own session:
it opens no file, socket or library, starts no process, calls no Python, and cannot end the process. Made
from the registry of TensorFlow 2.20 by choosing kinds and reading through every name; operators of later
releases are refused until they have been read in the same way. Left out on purpose, although harmless to
files: queues, staging areas and batchers (they can wait for ever), `Print` (writes to the log of the task),
`ParseTensor` and the sparse (de)serialisers (they revive resource handles from bytes), `Abort`, `Timestamp`,
everything that is internal to TensorFlow or bound to another device. Also left out: what returns memory that
nobody wrote (`UNWRITTEN`), what may end the process (`ENDING`) or never end (`ENDLESS`), and by default
gradients and update rules (`TRAINING`), whose kernels are tried least with shapes that no training produces;
the few gradients that served graphs hold are in `GRADIENTS`.
"""

from __future__ import annotations

# Tables in memory. Those that fill themselves from a file or a data set are not here.
LOOKUP = """
    AnonymousHashTable AnonymousMutableDenseHashTable AnonymousMutableHashTable
    AnonymousMutableHashTableOfTensors HashTable HashTableV2 InitializeTable InitializeTableV2
    LookupTableExport LookupTableExportV2 LookupTableFind LookupTableFindV2 LookupTableImport
    LookupTableImportV2 LookupTableInsert LookupTableInsertV2 LookupTableRemoveV2 LookupTableSize
    LookupTableSizeV2 MutableDenseHashTable MutableDenseHashTableV2 MutableHashTable
    MutableHashTableOfTensors MutableHashTableOfTensorsV2 MutableHashTableV2
"""

# They make a string; the operators that write it to a file are not here.
SUMMARIES = """
    AudioSummary AudioSummaryV2 HistogramSummary ImageSummary MergeSummary ScalarSummary TensorSummary
    TensorSummaryV2
"""

# Calls name functions of the model's own library, which are checked too.
CONTROL_FLOW = """
    Assert Case Const ControlTrigger EmptyTensorList EmptyTensorMap EnsureShape Enter Exit For
    GuaranteeConst Identity IdentityN If LoopCond Merge NextIteration NoOp PartitionedCall Placeholder
    PlaceholderV2 PlaceholderWithDefault PreventGradient RefEnter RefExit RefIdentity RefMerge
    RefNextIteration RefSelect RefSwitch Select StatefulPartitionedCall StatelessCase StatelessIf
    StatelessWhile StopGradient Switch TensorArray TensorArrayClose TensorArrayCloseV2 TensorArrayCloseV3
    TensorArrayConcat TensorArrayConcatV2 TensorArrayConcatV3 TensorArrayGather TensorArrayGatherV2
    TensorArrayGatherV3 TensorArrayGrad TensorArrayGradV2 TensorArrayGradV3 TensorArrayGradWithShape
    TensorArrayPack TensorArrayRead TensorArrayReadV2 TensorArrayReadV3 TensorArrayScatter
    TensorArrayScatterV2 TensorArrayScatterV3 TensorArraySize TensorArraySizeV2 TensorArraySizeV3
    TensorArraySplit TensorArraySplitV2 TensorArraySplitV3 TensorArrayUnpack TensorArrayV2 TensorArrayV3
    TensorArrayWrite TensorArrayWriteV2 TensorArrayWriteV3 TensorListConcat TensorListConcatV2
    TensorListElementShape TensorListFromTensor TensorListGather TensorListGetItem
    TensorListLength TensorListPopBack TensorListPushBack TensorListPushBackBatch TensorListReserve
    TensorListResize TensorListScatter TensorListScatterIntoExistingList TensorListScatterV2
    TensorListSetItem TensorListSplit TensorListStack TensorMapErase TensorMapHasKey TensorMapInsert
    TensorMapLookup TensorMapSize TensorMapStackKeys ToBool While
"""

# Gradients that served graphs hold: of activations, element by element, and transposed convolutions.
GRADIENTS = """
    Conv2DBackpropInput Conv2DBackpropInputV2 Conv3DBackpropInput Conv3DBackpropInputV2
    DepthwiseConv2dNativeBackpropInput EluGrad InvGrad L2Loss LeakyReluGrad ReciprocalGrad Relu6Grad ReluGrad
    RsqrtGrad SeluGrad SigmoidGrad SoftplusGrad SoftsignGrad SqrtGrad TanhGrad
"""

# Values that may be absent, as branches return them; and what older exports hold.
OPTIONAL = """
    BatchNormWithGlobalNormalization EncodeJpeg EncodePng OptionalFromValue OptionalGetValue OptionalHasValue
    OptionalNone SerializeTensor SpaceToBatch
"""

# Variables.
STATE = """
    Assign AssignAdd AssignAddVariableOp AssignSub AssignSubVariableOp AssignVariableOp CountUpTo DeepCopy
    DestroyResourceOp DisableCopyOnRead InplaceAdd InplaceSub InplaceUpdate
    IsVariableInitialized ReadVariableOp ResourceCountUpTo ResourceGather ResourceGatherNd
    ResourceScatterAdd ResourceScatterMax ResourceScatterMin ResourceScatterMul
    ResourceScatterNdAdd ResourceScatterNdMax ResourceScatterNdMin ResourceScatterNdSub
    ResourceScatterNdUpdate ResourceScatterSub ResourceScatterUpdate ResourceStridedSliceAssign
    RngReadAndSkip RngSkip ScatterAdd ScatterMax ScatterMin ScatterMul ScatterNdAdd
    ScatterNdMax ScatterNdMin ScatterNdNonAliasingAdd ScatterNdSub ScatterNdUpdate ScatterSub
    ScatterUpdate VarHandleOp VarIsInitializedOp Variable VariableShape VariableV2
"""

QUANTISED = """
    Dequantize QuantizeAndDequantize QuantizeAndDequantizeV2 QuantizeAndDequantizeV3
    QuantizeAndDequantizeV4 QuantizeDownAndShrinkRange QuantizeV2 QuantizedAdd QuantizedAvgPool
    QuantizedBiasAdd QuantizedConcat QuantizedConcatV2 QuantizedConv2D QuantizedConv2DAndRelu
    QuantizedConv2DAndReluAndRequantize QuantizedConv2DAndRequantize QuantizedConv2DPerChannel
    QuantizedConv2DWithBias QuantizedConv2DWithBiasAndRelu QuantizedConv2DWithBiasAndReluAndRequantize
    QuantizedConv2DWithBiasAndRequantize QuantizedConv2DWithBiasSignedSumAndReluAndRequantize
    QuantizedConv2DWithBiasSumAndRelu QuantizedConv2DWithBiasSumAndReluAndRequantize
    QuantizedDepthwiseConv2D QuantizedDepthwiseConv2DWithBias QuantizedDepthwiseConv2DWithBiasAndRelu
    QuantizedDepthwiseConv2DWithBiasAndReluAndRequantize
    QuantizedMatMulWithBias QuantizedMatMulWithBiasAndDequantize QuantizedMatMulWithBiasAndRelu
    QuantizedMatMulWithBiasAndReluAndRequantize QuantizedMatMulWithBiasAndRequantize QuantizedMaxPool
    QuantizedMul QuantizedRelu QuantizedRelu6 QuantizedReluX QuantizedReshape QuantizedResizeBilinear
    RequantizationRange RequantizationRangePerChannel Requantize RequantizePerChannel UniformDequantize
    UniformQuantize UniformQuantizedAdd UniformQuantizedClipByValue
    UniformQuantizedDot UniformQuantizedDotHybrid UniformRequantize
"""

RANDOM = """
    AllCandidateSampler LearnedUnigramCandidateSampler LogUniformCandidateSampler Multinomial
    NonDeterministicInts ParameterizedTruncatedNormal RandomGamma RandomIndexShuffle
    RandomShuffle RandomStandardNormal RandomUniform RandomUniformInt
    SampleDistortedBoundingBox SampleDistortedBoundingBoxV2 SobolSample
    StatefulStandardNormal StatefulStandardNormalV2 StatefulTruncatedNormal StatefulUniform
    StatefulUniformFullInt StatefulUniformInt StatelessMultinomial StatelessParameterizedTruncatedNormal
    StatelessRandomBinomial StatelessRandomGammaV2 StatelessRandomGammaV3 StatelessRandomGetAlg
    StatelessRandomGetKeyCounter StatelessRandomGetKeyCounterAlg StatelessRandomNormal
    StatelessRandomNormalV2 StatelessRandomUniform StatelessRandomUniformFullInt
    StatelessRandomUniformFullIntV2 StatelessRandomUniformInt StatelessRandomUniformIntV2
    StatelessRandomUniformV2 StatelessSampleDistortedBoundingBox StatelessShuffle StatelessTruncatedNormal
    StatelessTruncatedNormalV2 StochasticCastToInt ThreadUnsafeUnigramCandidateSampler TruncatedNormal
    UniformCandidateSampler
"""

TEXT = """
    AsString DecodeBase64 DecodeCSV DecodeJSONExample DecodePaddedRaw DecodeRaw EditDistance EncodeBase64
    Fingerprint ParseExample ParseExampleV2 ParseSequenceExample ParseSequenceExampleV2 ParseSingleExample
    ParseSingleSequenceExample ReduceJoin RegexFullMatch RegexReplace StaticRegexFullMatch
    StaticRegexReplace StringFormat StringJoin StringLength StringLower StringNGrams StringSplit
    StringSplitV2 StringStrip StringToHashBucket StringToHashBucketFast StringToHashBucketStrong
    StringToNumber StringUpper Substr UnicodeDecode UnicodeDecodeWithOffsets UnicodeEncode UnicodeScript
    UnicodeTranscode
"""

# Pictures and sound from bytes in a tensor.
MEDIA = """
    AdjustContrast AdjustContrastv2 AdjustHue AdjustSaturation AudioSpectrogram CombinedNonMaxSuppression
    CropAndResize DecodeAndCropJpeg DecodeBmp DecodeGif DecodeImage DecodeJpeg DecodePng DecodeWav
    DecodeWebP DrawBoundingBoxes DrawBoundingBoxesV2 ExtractGlimpse ExtractGlimpseV2 ExtractImagePatches
    ExtractJpegShape GenerateBoundingBoxProposals HSVToRGB ImageProjectiveTransformV2
    ImageProjectiveTransformV3 Mfcc NonMaxSuppression NonMaxSuppressionV2 NonMaxSuppressionV3
    NonMaxSuppressionV4 NonMaxSuppressionV5 NonMaxSuppressionWithOverlaps RGBToHSV ResizeArea ResizeBicubic
    ResizeBilinear ResizeNearestNeighbor
"""

SPARSE_AND_RAGGED = """
    CSRSparseMatrixComponents CSRSparseMatrixToDense CSRSparseMatrixToSparseTensor DenseCountSparseOutput
    DenseToCSRSparseMatrix DenseToSparseSetOperation RaggedBincount RaggedCountSparseOutput RaggedCross
    RaggedFillEmptyRows RaggedGather RaggedRange RaggedTensorFromVariant RaggedTensorToSparse
    RaggedTensorToTensor RaggedTensorToVariant SparseAdd SparseBincount SparseConcat
    SparseCountSparseOutput SparseCross SparseCrossHashed SparseCrossV2 SparseDenseCwiseAdd
    SparseDenseCwiseDiv SparseDenseCwiseMul SparseFillEmptyRows SparseMatMul SparseMatrixAdd
    SparseMatrixMul SparseMatrixNNZ SparseMatrixOrderingAMD SparseMatrixSoftmax SparseMatrixTranspose
    SparseMatrixZeros SparseReduceMax SparseReduceMaxSparse SparseReduceSum SparseReduceSumSparse
    SparseReorder
    SparseReshape SparseSegmentMean SparseSegmentMeanWithNumSegments SparseSegmentSqrtN
    SparseSegmentSqrtNWithNumSegments SparseSegmentSum SparseSegmentSumWithNumSegments SparseSlice
    SparseSoftmax SparseSoftmaxCrossEntropyWithLogits SparseSparseMaximum SparseSparseMinimum SparseSplit
    SparseTensorDenseAdd SparseTensorDenseMatMul SparseTensorToCSRSparseMatrix SparseToDense
    SparseToSparseSetOperation
"""

# Arithmetic, arrays, neural networks, linear algebra, signals.
MATHS = """
    Abs AccumulateNV2 Acos Acosh Add AddN AddV2 All Angle Any ApproxTopK ApproximateEqual ArgMax ArgMin
    Asin Asinh Atan Atan2 Atanh AvgPool AvgPool3D BandedTriangularSolve BatchCholesky BatchFFT BatchFFT2D
    BatchFFT3D BatchIFFT BatchIFFT2D BatchIFFT3D BatchMatMul BatchMatMulV2 BatchMatMulV3
    BatchMatrixBandPart BatchMatrixDeterminant BatchMatrixDiag BatchMatrixDiagPart BatchMatrixInverse
    BatchMatrixSetDiag BatchMatrixSolve BatchMatrixTriangularSolve BatchSelfAdjointEig
    BatchSelfAdjointEigV2 BatchSvd BatchToSpace BatchToSpaceND BesselI0 BesselI0e BesselI1 BesselI1e
    BesselJ0 BesselJ1 BesselK0 BesselK0e BesselK1 BesselK1e BesselY0 BesselY1 Betainc BiasAdd BiasAddV1
    Bincount Bitcast BitwiseAnd BitwiseOr BitwiseXor BroadcastArgs BroadcastGradientArgs BroadcastTo
    Bucketize CTCBeamSearchDecoder CTCGreedyDecoder Cast Ceil CheckNumerics CheckNumericsV2 Cholesky
    ClipByValue Complex ComplexAbs ComputeAccidentalHits Concat ConcatOffset ConcatV2 Conj
    ConjugateTranspose Conv Conv2D Conv3D Cos Cosh Cross Cumprod Cumsum CumulativeLogsumexp
    DataFormatDimMap DataFormatVecPermute Dawsn DenseBincount DenseToDenseSetOperation DepthToSpace
    DepthwiseConv2dNative Diag DiagPart Digamma Dilation2D Div DivNoNan DynamicPartition DynamicStitch Eig
    Einsum Elu Equal Erf Erfc Erfinv EuclideanNorm Exp ExpandDims Expint Expm1 ExtractVolumePatches FFT
    FFT2D FFT3D FFTND FakeQuantWithMinMaxArgs FakeQuantWithMinMaxVars FakeQuantWithMinMaxVarsPerChannel
    Fill Floor FloorDiv FloorMod FractionalAvgPool FractionalMaxPool FresnelCos FresnelSin FusedBatchNorm
    FusedBatchNormV2 FusedBatchNormV3 GRUBlockCell Gather GatherNd GatherV2 Greater GreaterEqual
    HistogramFixedWidth IFFT IFFT2D IFFT3D IFFTND IRFFT IRFFT2D IRFFT3D IRFFTND Igamma IgammaGradA Igammac
    Imag InTopK InTopKV2 Inv Invert InvertPermutation IsFinite IsInf IsNan IsTensorFloat32Enabled
    KthOrderStatistic LRN LSTMBlockCell LeakyRelu LeftShift Less LessEqual Lgamma LinSpace ListDiff Log
    Log1p LogMatrixDeterminant LogSoftmax LogicalAnd LogicalNot LogicalOr LowerBound Lu MatMul
    MatrixBandPart MatrixDeterminant MatrixDiag MatrixDiagPart MatrixDiagPartV2 MatrixDiagPartV3
    MatrixDiagV2 MatrixDiagV3 MatrixExponential MatrixInverse MatrixSetDiag MatrixSetDiagV2
    MatrixSetDiagV3 MatrixSolve MatrixSquareRoot MatrixTriangularSolve Max MaxPool MaxPool3D MaxPoolV2
    MaxPoolWithArgmax Maximum Mean Min Minimum MirrorPad Mod Mul MulNoNan Ndtri Neg NextAfter NotEqual
    NthElement OneHot OnesLike Pack Pad PadV2 Polygamma PopulationCount Pow Prod Qr RFFT RFFT2D RFFT3D
    RFFTND Range Rank Real RealDiv Reciprocal Relu Relu6 Reshape Reverse ReverseSequence ReverseV2
    RightShift Rint Roll Round Rsqrt ScaleAndTranslate ScatterNd SegmentMax SegmentMaxV2 SegmentMean
    SegmentMin SegmentMinV2 SegmentProd SegmentProdV2 SegmentSum SegmentSumV2 SelectV2 SelfAdjointEig
    SelfAdjointEigV2 Selu SetSize Shape ShapeN Sigmoid Sign Sin Sinh Size Slice Softmax
    SoftmaxCrossEntropyWithLogits Softplus Softsign SpaceToBatchND SpaceToDepth Spence Split SplitV Sqrt
    Square SquaredDifference Squeeze StridedSlice StridedSliceAssign Sub Sum Svd Tan Tanh TensorScatterAdd
    TensorScatterMax TensorScatterMin TensorScatterSub TensorScatterUpdate TensorStridedSliceUpdate Tile
    TopK TopKUnique TopKV2 TopKWithUnique Transpose TridiagonalMatMul TridiagonalSolve TruncateDiv
    TruncateMod Unique UniqueV2 UniqueWithCounts UniqueWithCountsV2 Unpack UnravelIndex UnsortedSegmentJoin
    UnsortedSegmentMax UnsortedSegmentMin UnsortedSegmentProd UnsortedSegmentSum UpperBound Where Xdivy
    Xlog1py Xlogy ZerosLike Zeta
"""

ALLOWED = frozenset(
    name
    for kind in (
        LOOKUP,
        SUMMARIES,
        CONTROL_FLOW,
        GRADIENTS,
        OPTIONAL,
        STATE,
        QUANTISED,
        RANDOM,
        TEXT,
        MEDIA,
        SPARSE_AND_RAGGED,
        MATHS,
    )
    for name in kind.split()
)

# It reads checkpoints: for the part of a SavedModel that restores its own variables.
RESTORES = frozenset({"RestoreV2"})

# Tables filled from text files: only from assets of the model, which the loader feeds.
TEXT_TABLES = frozenset({"InitializeTableFromTextFile", "InitializeTableFromTextFileV2"})

# They write to the log, and their results are not needed: taken out of what is served.
PRINTS = frozenset({"Print", "PrintV2"})

# They hand out memory as they find it, with what another model's records left there: `Empty` always, others
# for inputs without a row or a filter, `QuantizedMatMul` for matrices without a column.
UNWRITTEN = frozenset(
    {
        "BatchMatrixSolveLs",
        "BlockLSTM",
        "BlockLSTMV2",
        "DestroyTemporaryVariable",
        "Empty",
        "FakeParam",
        "FusedPadConv2D",
        "FusedResizeAndPadConv2D",
        "MatrixSolveLs",
        "QuantizedMatMul",
        "TemporaryVariable",
    }
)

# They end the process: by a division by 0, for inputs that do not fit each other, for a permutation that is
# none, or by lists that double until no memory is left. Served models have none.
ENDING = frozenset(
    {
        "QuantizedInstanceNorm", "RandomCrop", "ResourceScatterDiv", "ScatterDiv", "SparseMatrixMatMul",
        "SparseMatrixSparseCholesky", "SparseMatrixSparseMatMul", "StatefulRandomBinomial",
        "TensorListConcatLists",
        "UniformQuantizedConvolution", "UniformQuantizedConvolutionHybrid",
    }
)  # fmt: skip

# They look for a number until it is there, which it never is at a rate that is no number, or take roots of a
# matrix until it is near to one that a singular matrix never comes near to.
ENDLESS = frozenset({"MatrixLogarithm", "RandomPoisson", "RandomPoissonV2", "StatelessRandomPoisson"})

_CHANGING = (
    "Assign", "CountUpTo", "LookupTableImport", "LookupTableInsert", "LookupTableRemove", "ResourceCountUpTo",
    "ResourceScatter", "Rng", "Scatter",
)  # fmt: skip

# Gradients, losses and update rules: only where the job's settings take them. Loops of the old kind keep in
# stacks what their gradients need, and nothing else does.
_TRAINING = """
    ApplyAdaMax ApplyAdadelta ApplyAdagrad ApplyAdagradDA ApplyAdagradV2 ApplyAdam ApplyAddSign
    ApplyCenteredRMSProp ApplyFtrl ApplyFtrlV2 ApplyGradientDescent ApplyMomentum ApplyPowerSign
    ApplyProximalAdagrad ApplyProximalGradientDescent ApplyRMSProp AvgPool3DGrad AvgPoolGrad
    BatchCholeskyGrad BatchNormWithGlobalNormalizationGrad BiasAddGrad BlockLSTMGrad BlockLSTMGradV2
    CTCLoss CTCLossV2 CholeskyGrad Conv2DBackpropFilter Conv2DBackpropFilterV2 Conv3DBackpropFilter
    Conv3DBackpropFilterV2 CropAndResizeGradBoxes CropAndResizeGradImage
    DepthwiseConv2dNativeBackpropFilter Dilation2DBackpropFilter Dilation2DBackpropInput
    FakeQuantWithMinMaxArgsGradient FakeQuantWithMinMaxVarsGradient
    FakeQuantWithMinMaxVarsPerChannelGradient FractionalAvgPoolGrad FractionalMaxPoolGrad
    FusedBatchNormGrad FusedBatchNormGradV2 FusedBatchNormGradV3 GRUBlockCellGrad LRNGrad
    LSTMBlockCellGrad MaxPool3DGrad MaxPool3DGradGrad MaxPoolGrad MaxPoolGradGrad MaxPoolGradGradV2
    MaxPoolGradGradWithArgmax MaxPoolGradV2 MaxPoolGradWithArgmax MirrorPadGrad
    QuantizeAndDequantizeV4Grad RaggedFillEmptyRowsGrad RaggedTensorToVariantGradient RandomGammaGrad
    ResizeBicubicGrad ResizeBilinearGrad ResizeNearestNeighborGrad ResourceApplyAdaMax
    ResourceApplyAdadelta ResourceApplyAdagrad ResourceApplyAdagradDA ResourceApplyAdagradV2
    ResourceApplyAdam ResourceApplyAdamWithAmsgrad ResourceApplyAddSign ResourceApplyCenteredRMSProp
    ResourceApplyFtrl ResourceApplyFtrlV2 ResourceApplyGradientDescent ResourceApplyKerasMomentum
    ResourceApplyMomentum ResourceApplyPowerSign ResourceApplyProximalAdagrad
    ResourceApplyProximalGradientDescent ResourceApplyRMSProp ResourceSparseApplyAdadelta
    ResourceSparseApplyAdagrad ResourceSparseApplyAdagradDA ResourceSparseApplyAdagradV2
    ResourceSparseApplyCenteredRMSProp ResourceSparseApplyFtrl ResourceSparseApplyFtrlV2
    ResourceSparseApplyKerasMomentum ResourceSparseApplyMomentum ResourceSparseApplyProximalAdagrad
    ResourceSparseApplyProximalGradientDescent ResourceSparseApplyRMSProp ScaleAndTranslateGrad
    SparseAddGrad SparseApplyAdadelta SparseApplyAdagrad SparseApplyAdagradDA SparseApplyAdagradV2
    SparseApplyCenteredRMSProp SparseApplyFtrl SparseApplyFtrlV2 SparseApplyMomentum
    SparseApplyProximalAdagrad SparseApplyProximalGradientDescent SparseApplyRMSProp
    SparseFillEmptyRowsGrad SparseMatrixSoftmaxGrad SparseSegmentMeanGrad SparseSegmentMeanGradV2
    SparseSegmentSqrtNGrad SparseSegmentSqrtNGradV2 SparseSegmentSumGrad SparseSegmentSumGradV2
    SparseSliceGrad Stack StackClose StackCloseV2 StackPop StackPopV2 StackPush StackPushV2 StackV2
    StridedSliceGrad TileGrad
"""
TRAINING = frozenset(_TRAINING.split())

# They write into the memory of what they are given, also where others read it.
WRITES_OVER = frozenset({"InplaceAdd", "InplaceSub", "InplaceUpdate"})

# They change what a later call reads.
CHANGES = frozenset(
    name
    for name in (*STATE.split(), *LOOKUP.split())
    if name.startswith(_CHANGING) or name.endswith("StridedSliceAssign")
) - {"ScatterNdNonAliasingAdd"}

# They draw from a generator, so that each call answers otherwise; the stateless ones compute from a seed.
DRAWS = frozenset(name for name in RANDOM.split() if not name.startswith("Stateless")) - {
    "RandomIndexShuffle",
    "SobolSample",
    "StochasticCastToInt",
}
