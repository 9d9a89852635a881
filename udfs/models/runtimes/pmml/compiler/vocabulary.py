# ruff: noqa: E501 - a table
"""The elements and attributes that the compiler knows. Anything else in a document is refused by name.

An attribute stands here if the compiler reads it, or if by the standard it has no influence on scores
(descriptions, counts, statistics of the training).
"""

from __future__ import annotations

import xml.etree.ElementTree as ET

from udfs.models.runtimes.pmml.compiler.elements import refuse

_MODEL = "modelName functionName algorithmName isScorable x-mathContext"
_TABLE = """
PMML version x-baseVersion baseVersion
DataDictionary numberOfFields
DataField name displayName optype dataType isCyclic
Value value displayValue property
Interval closure leftMargin rightMargin
TransformationDictionary
DefineFunction name optype dataType
ParameterField name optype dataType displayName
LocalTransformations
DerivedField name displayName optype dataType datatype
Constant dataType missing
FieldRef field mapMissingTo
NormContinuous mapMissingTo field outliers
LinearNorm orig norm
NormDiscrete field value mapMissingTo method
Discretize field mapMissingTo defaultValue dataType
DiscretizeBin binValue
MapValues mapMissingTo defaultValue outputColumn dataType
FieldColumnPair field column
InlineTable
TextIndex textField localTermWeights isCaseSensitive maxLevenshteinDistance countHits wordSeparatorCharacterRE tokenize x-wordRE
TextIndexNormalization inField outField regexField recursive isCaseSensitive
Apply function mapMissingTo defaultValue invalidValueTreatment
MiningSchema
MiningField name usageType optype importance outliers lowValue highValue missingValueReplacement missingValueTreatment invalidValueTreatment invalidValueReplacement x-invalidValueReplacement
Output
OutputField name displayName optype dataType targetField feature value ruleFeature algorithm rank rankBasis rankOrder isMultiValued segmentId isFinalResult
Decisions businessProblem description
Decision value displayValue description
Targets
Target field optype castInteger min max rescaleConstant rescaleFactor
TargetValue value displayValue rawDataValue priorProbability defaultValue
ModelVerification recordCount fieldCount
VerificationFields
VerificationField field column precision zeroThreshold
True
False
SimplePredicate field operator value
SimpleSetPredicate field booleanOperator
CompoundPredicate booleanOperator
Array n type
INT-SparseArray n defaultValue
REAL-SparseArray n defaultValue
Indices
INT-Entries
REAL-Entries
TreeModel MODEL missingValueStrategy missingValuePenalty noTrueChildStrategy splitCharacteristic
Node id score recordCount defaultChild
ScoreDistribution value recordCount confidence probability
RegressionModel MODEL modelType targetFieldName normalizationMethod
RegressionTable intercept targetCategory
NumericPredictor name field exponent coefficient mean
CategoricalPredictor name field value coefficient
PredictorTerm name coefficient
GeneralRegressionModel MODEL targetVariableName modelType targetReferenceCategory cumulativeLink cumulativeLinkFunction linkFunction linkParameter trialsVariable trialsValue distribution distParameter offsetVariable offsetValue modelDF endTimeVariable startTimeVariable subjectIDVariable statusVariable baselineStrataVariable
ParameterList
Parameter name label referencePoint
FactorList
CovariateList
Predictor name contrastMatrixType
Categories
Category value
Matrix kind nbRows nbCols diagDefault offDiagDefault
MatCell row col
PPMatrix
PPCell value predictorName parameterName targetCategory
ParamMatrix
PCell targetCategory parameterName beta df
EventValues
BaseCumHazardTables maxTime
BaselineStratum value label maxTime
BaselineCell time cumHazard
PCovMatrix type
PCovCell pRow pCol tRow tCol value targetCategory
MiningModel MODEL
Segmentation multipleModelMethod missingPredictionTreatment x-missingPredictionTreatment missingThreshold x-missingThreshold
Segment id weight
ClusteringModel MODEL modelClass numberOfClusters
ComparisonMeasure kind compareFunction minimum maximum
euclidean
squaredEuclidean
cityBlock
chebychev
minkowski p-parameter
simpleMatching
jaccard
tanimoto
binarySimilarity c00-parameter c01-parameter c10-parameter c11-parameter d00-parameter d01-parameter d10-parameter d11-parameter
ClusteringField field isCenterField fieldWeight similarityScale compareFunction
Comparisons
MissingValueWeights
Cluster id name size
KohonenMap coord1 coord2 coord3
NearestNeighborModel MODEL numberOfNeighbors continuousScoringMethod categoricalScoringMethod instanceIdVariable threshold
TrainingInstances isTransformed recordCount fieldCount
InstanceFields
InstanceField field column
KNNInputs
KNNInput field fieldWeight compareFunction
SupportVectorMachineModel MODEL threshold svmRepresentation classificationMethod maxWins alternateBinaryTargetCategory
LinearKernelType description
PolynomialKernelType description gamma coef0 degree
RadialBasisKernelType description gamma
SigmoidKernelType description gamma coef0
VectorDictionary numberOfVectors
VectorFields numberOfFields
VectorInstance id
SupportVectorMachine targetCategory alternateTargetCategory threshold
SupportVectors numberOfSupportVectors numberOfAttributes
SupportVector vectorId
Coefficients numberOfCoefficients absoluteValue
Coefficient value
NeuralNetwork MODEL activationFunction threshold x-leakage width altitude normalizationMethod numberOfLayers
NeuralInputs numberOfInputs
NeuralInput id
NeuralLayer numberOfNeurons activationFunction threshold x-leakage width altitude normalizationMethod
Neuron id bias width altitude
Con from weight
NeuralOutputs numberOfOutputs
NeuralOutput outputNeuron
NaiveBayesModel MODEL threshold
BayesInputs
BayesInput fieldName
TargetValueStats
TargetValueStat value
GaussianDistribution mean variance
PoissonDistribution mean
PairCounts value
TargetValueCounts
TargetValueCount value count
BayesOutput fieldName
RuleSetModel MODEL
RuleSet recordCount nbCorrect defaultScore defaultConfidence
RuleSelectionMethod criterion
SimpleRule id score recordCount nbCorrect confidence weight
CompoundRule
Scorecard MODEL initialScore useReasonCodes reasonCodeAlgorithm baselineScore baselineMethod
Characteristics
Characteristic name reasonCode baselineScore
Attribute reasonCode partialScore
ComplexPartialScore
AssociationModel MODEL numberOfTransactions maxNumberOfItemsPerTA avgNumberOfItemsPerTA minimumSupport minimumConfidence lengthLimit numberOfItems numberOfItemsets numberOfRules
Item id value field category weight
Itemset id support numberOfItems
ItemRef itemRef
AssociationRule id antecedent consequent support confidence lift leverage affinity
AnomalyDetectionModel MODEL algorithmType sampleDataSize
"""


def _known() -> dict[str, frozenset[str]]:
    lines = (line.split() for line in _TABLE.replace("MODEL", _MODEL).strip().splitlines())
    return {tag: frozenset(attributes) for tag, *attributes in lines}


KNOWN = _known()
SILENT = frozenset({
    "Header", "MiningBuildTask", "ModelStats", "ModelExplanation", "ModelLiftData", "Partition", "row",
    "Covariances", "ResultField",
})  # fmt: skip
"""Subtrees that are not looked into: they describe the model's making, or are read by whoever needs them."""


def check_vocabulary(root: ET.Element) -> None:
    """Refuse a document with an element or an attribute that is not known, by name."""
    doubtful = [e for e in root.iter() if e.tag not in KNOWN or not KNOWN[e.tag].issuperset(e.keys())]
    silent = {id(e) for top in doubtful if top.tag in SILENT for e in top.iter()}
    for element in doubtful:
        if id(element) in silent:
            continue
        known = KNOWN.get(element.tag)
        if known is None:
            refuse(f"the element {element.tag!r} is not known")
        odd = sorted(name for name in element.attrib if name not in known and name[0] != "{")
        if odd:
            refuse(f"the attribute {odd[0]!r} of {element.tag} is not known")
