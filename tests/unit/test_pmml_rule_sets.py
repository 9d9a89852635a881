# ruff: noqa: E501 - documents are written in one line
"""Rule sets of PMML 4.4 (RuleSet), alone and as segments of mining models, against a row-by-row evaluation."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest

from schemas.errors import PredictError, UnprovenModelError
from tests.pmml_documents import Leaf, Split, document, ensemble, less, schema, tree
from tests.pmml_evaluator import evaluate
from tests.unit.test_pmml_models import expected, mining, output, read, results, simple

CRITERIA = ("firstHit", "weightedSum", "weightedMax")
# The example of the standard, RuleSet: "BP" is k here, "K" is x, "Na" is y, and everybody is young.
STANDARD = (
    f'<SimpleRule id="RULE1" score="b" confidence="0.9" weight="0.9"><CompoundPredicate booleanOperator="and">{simple("k", "equal", "red")}'
    f"{simple('x', 'greaterThan', 0.045804001)}{simple('y', 'lessOrEqual', 0.77240998)}</CompoundPredicate></SimpleRule>"
    f'<SimpleRule id="RULE2" score="a" confidence="0.6" weight="0.6"><CompoundPredicate booleanOperator="and">'
    f"{simple('x', 'greaterThan', 0.057789002)}{simple('k', 'equal', 'red')}</CompoundPredicate></SimpleRule>"
    f'<SimpleRule id="RULE3" score="a" confidence="0.36" weight="0.36"><CompoundPredicate booleanOperator="and">{simple("k", "equal", "red")}'
    f"{simple('y', 'greaterThan', 0.21)}</CompoundPredicate></SimpleRule>"
)
CASE = {"x": 0.0621, "y": 0.5023, "k": "red"}


def rule_set(
    criterion: str, rules: str, default: str = 'defaultScore="c"', told: str = "", target: bool = True
) -> str:
    return (
        f'<RuleSetModel functionName="classification">{schema(target)}{told}<RuleSet {default}>'
        f'<RuleSelectionMethod criterion="{criterion}"/>{rules}</RuleSet></RuleSetModel>'
    )


def told(entity: bool = True, prefix: str = "") -> str:
    """Output fields of a rule set."""
    fields = [f'name="{prefix}l" feature="predictedValue" dataType="string"', f'name="{prefix}s" feature="confidence" dataType="double"']  # fmt: skip
    return output(*fields, *[f'name="{prefix}i" feature="entityId" dataType="string"'] * entity)


def rule(identity: str, score: str, weight: float, condition: str, confidence: float = 1.0) -> str:
    return f'<SimpleRule id="{identity}" score="{score}" weight="{weight}" confidence="{confidence}">{condition}</SimpleRule>'


@pytest.mark.parametrize(
    ("criterion", "label", "sure"),
    [("firstHit", "b", 0.9), ("weightedMax", "b", 0.9), ("weightedSum", "a", (0.6 + 0.36) / 3)],
)
def test_the_example_of_the_standard(criterion: str, label: str, sure: float) -> None:
    default = 'defaultScore="c" defaultConfidence="0.125"'
    text = document(rule_set(criterion, STANDARD, default, told(False)))
    found = results(text, [CASE, {**CASE, "k": "blue"}])
    assert found["l"] == [label, "c"]
    assert found["s"] == pytest.approx([sure, 0.125], rel=1e-12)
    if criterion != "weightedSum":
        named = document(rule_set(criterion, STANDARD, default, told()))
        assert results(named, [CASE])["i"] == ["RULE1"]
        with pytest.raises(PredictError, match=r"no 'i' in rows 1$"):  # no rule decided
            results(named, [CASE, {**CASE, "k": "blue"}])


def made(seed: int, criterion: str, silent: bool = True) -> tuple[str, list[dict[str, Any]]]:
    """Rules of all forms, and rows of which values are missing."""
    draw = random.Random(seed)

    def condition() -> str:
        one = draw.choice([
            simple("x", draw.choice(("lessThan", "greaterOrEqual")), draw.choice((-1, 0, 2))),
            simple("y", draw.choice(("lessOrEqual", "greaterThan")), draw.choice((0, 1))),
            simple("k", draw.choice(("equal", "notEqual")), draw.choice(("red", "blue"))),
            '<SimplePredicate field="y" operator="isMissing"/>', "<True/>",
        ])  # fmt: skip
        if draw.random() < 0.6:
            return one
        return f'<CompoundPredicate booleanOperator="{draw.choice(("and", "or", "surrogate"))}">{one}{condition()}</CompoundPredicate>'

    def some(depth: int) -> str:
        text = ""
        for _ in range(draw.randint(1, 3)):
            if depth and draw.random() < 0.4:
                text += f"<CompoundRule>{condition()}{some(depth - 1)}</CompoundRule>"
            else:
                weight = draw.choice((-0.5, 0.0, 0.3, 0.7, 0.7))
                sure = weight if criterion == "weightedSum" else draw.choice((0.1, 0.5, 0.9))
                text += rule(f"r{draw.random()}", draw.choice("abc"), weight, condition(), sure)
        return text

    default = draw.choice(("",) * silent + ('defaultScore="b"', 'defaultScore="c" defaultConfidence="0.2"'))
    rows = [
        {"x": draw.choice((-1.0, 0.0, 3.0, None)), "y": draw.choice((0.0, 1.0, 5.0, None)),
         "k": draw.choice(("red", "blue", "green", None))}
        for _ in range(40)
    ]  # fmt: skip
    return document(rule_set(criterion, some(2), default, told(criterion != "weightedSum"))), rows


@pytest.mark.parametrize("criterion", CRITERIA)
@pytest.mark.parametrize("seed", range(12))
def test_rules_say_of_each_row_what_they_say_of_it_alone(seed: int, criterion: str) -> None:
    text, rows = made(seed, criterion)
    whole = "sil" if criterion != "weightedSum" else "sl"
    alone = []
    for row in rows:
        try:
            alone.append(evaluate(text, row))
        except NotImplementedError:  # equal sums
            alone.append(None)
    for told_name in whole:  # one output alone, so that a row without another is not refused for that
        one = text
        for name in whole:
            if name not in (told_name, "l"):
                one = one.replace(f'<OutputField name="{name}"', f'<OutputField isFinalResult="false" name="{name}"')  # fmt: skip
        want = {
            k: {"l": r.value, "s": r.confidences.get(r.value), "i": r.entity}[told_name]
            for k, r in enumerate(alone) if r is not None
        }  # fmt: skip
        good = [k for k, value in want.items() if value is not None and alone[k].value is not None]
        if good:
            found = results(one, [rows[k] for k in good])[told_name]
            assert found == (
                pytest.approx([want[k] for k in good], abs=1e-12)
                if told_name == "s"
                else [want[k] for k in good]
            )
        bad = [k for k, value in want.items() if value is None]
        for k in bad[:2]:
            with pytest.raises(PredictError):
                results(one, [rows[k]])


def test_a_category_that_no_rule_speaks_for_does_not_win_over_a_sum_that_is_not_positive() -> None:
    none = document(rule_set("weightedSum", rule("r", "b", 0.0, "<True/>")))
    expected(none, "predicted_t", ["b", "b"])  # and not a, with which nothing has to do
    against = document(rule_set("weightedSum", rule("r", "c", -0.5, "<True/>") + rule("q", "b", -0.25, "<True/>")))  # fmt: skip
    expected(against, "predicted_t", ["b", "b"])


def test_of_equal_sums_the_category_that_the_dictionary_has_first_wins() -> None:
    rules = rule("r1", "c", 0.5, "<True/>") + rule("r2", "b", 0.5, "<True/>") + rule("r3", "a", 0.5, simple("x", "lessThan", 0))  # fmt: skip
    expected(document(rule_set("weightedSum", rules)), "predicted_t", ["a", "b"])
    # Where it lists none, the standard has no winner.
    with pytest.raises(PredictError, match=r"rows 0$"):
        results(document(rule_set("weightedSum", rules), classes=()), [{"x": 1.0, "y": 0.0, "k": "red"}])
    expected(document(rule_set("weightedSum", rules), classes=("b", "a")), "predicted_t", ["b", "b"])
    heavy = rules + rule("r4", "c", 0.5, "<True/>")
    expected(document(rule_set("weightedSum", heavy), classes=()), "predicted_t", ["c", "c"])


def test_a_record_may_lack_a_field_that_rules_ask_for() -> None:
    runtime = read(document(rule_set("firstHit", STANDARD)))
    assert {i.name: i.optional for i in runtime.inputs} == {"x": True, "y": True, "k": True}


def test_a_first_hit_is_sure_of_other_categories_by_their_own_first_rules() -> None:
    rules = (
        rule("r1", "b", 1, "<True/>", 0.9)
        + rule("r2", "b", 1, "<True/>", 0.8)
        + rule("r3", "a", 1, simple("x", "greaterThan", 0), 0.4)
        + rule("r4", "a", 1, "<True/>", 0.3)
    )
    asked = output('name="a" feature="confidence" value="a" dataType="double"')
    expected(document(rule_set("firstHit", rules, told=asked)), "a", [0.3, 0.4])
    for criterion in ("weightedMax", "weightedSum"):  # of which the standard does not say it
        with pytest.raises((PredictError, UnprovenModelError)):
            results(document(rule_set(criterion, rules, told=asked)))


def test_a_sum_whose_weights_are_no_confidences_has_no_confidence() -> None:
    with pytest.raises(UnprovenModelError, match="asks for a confidence"):
        read(document(rule_set("weightedSum", rule("r", "a", 0.5, "<True/>", 0.25), told=told(False))))
    with pytest.raises(UnprovenModelError, match="asks for an entity"):
        read(document(rule_set("weightedSum", rule("r", "a", 1, "<True/>"), told=told())))
    with pytest.raises(UnprovenModelError, match="asks for a probability"):
        read(
            document(
                rule_set(
                    "firstHit", STANDARD, told=output('name="p" feature="probability" dataType="double"')
                )
            )
        )


def segments(seed: int) -> tuple[list[str], list[dict[str, Any]]]:
    """Three rule sets without targets of their own, and rows."""
    parts, rows = [], []
    for k, criterion in enumerate(CRITERIA):
        text, rows = made(100 * seed + k, criterion, silent=k == seed % 3)
        start, end = text.index("<RuleSetModel"), text.index("</PMML>")
        inner = text[start:end].replace('<MiningField name="t" usageType="target"/>', "")
        parts.append(inner[: inner.index("<Output>")] + inner[inner.index("</Output>") + len("</Output>") :])
    return parts, rows


@pytest.mark.parametrize("method", ["majorityVote", "weightedMajorityVote"])
@pytest.mark.parametrize("seed", range(6))
def test_rule_sets_vote(seed: int, method: str) -> None:
    parts, rows = segments(seed)
    leaf = tree(Split([(p, Leaf([("b", 2)])) for p in less("x", 0.0)]), target=False, attributes='missingValueStrategy="nullPrediction"')  # fmt: skip
    text = document(ensemble([*parts, leaf], method, weights=(0.5, 0.11, 0.17, 0.33)))
    known = []
    for row in rows:
        try:
            known.append((row, evaluate(text, row)))
        except NotImplementedError:  # equal sums of a segment
            continue
    good = [(row, one) for row, one in known if one.value is not None]
    found = results(text, [row for row, _ in good])
    for c in "abc":
        shares = [one.probabilities.get(c, 0.0) for _, one in good]
        assert found[f"probability_{c}"] == pytest.approx(shares, abs=1e-12)
    for k, (_, one) in enumerate(good):
        best = max(one.probabilities.values())  # of equal votes the category that is declared first
        first = min(c for c, share in one.probabilities.items() if share == pytest.approx(best, abs=1e-12))
        assert found["predicted_t"][k] == first
    for row in [row for row, one in known if one.value is None][:3]:
        with pytest.raises(PredictError):
            results(text, [row])


def test_a_rule_set_without_a_prediction_is_skipped_where_the_document_says_so() -> None:
    silent = rule_set("firstHit", rule("r", "a", 1, simple("x", "greaterThan", 0)), "", target=False)
    sure = rule_set("firstHit", rule("r", "b", 1, "<True/>"), "", target=False)
    text = document(ensemble([silent, sure, silent], "majorityVote"))
    row = [{"x": -1.0, "y": 0.0, "k": "red"}]
    with pytest.raises(PredictError):
        results(text, row)
    skips = text.replace('"majorityVote"', '"majorityVote" missingPredictionTreatment="skipSegment"')
    expected(skips, "predicted_t", ["b", "a"], [*row, {"x": 1.0, "y": 0.0, "k": "red"}])


def test_a_chain_hands_on_what_a_rule_set_said() -> None:
    """The rule, its category and how sure it is, each read by a later rule set."""
    first = rule_set("weightedMax", STANDARD, 'defaultScore="c" defaultConfidence="0"', told(prefix="f"), target=False)  # fmt: skip
    first = first.replace("<OutputField", '<OutputField isFinalResult="false"')
    rules = (
        rule("q1", "a", 1, simple("fi", "equal", "RULE1"))
        + rule("q2", "b", 1, simple("fs", "greaterThan", 0.5))
        + rule("q3", "c", 1, simple("fl", "equal", "c"))
    )
    second = rule_set("firstHit", rules, 'defaultScore="b"').replace(
        "<MiningSchema>", "<MiningSchema>" + "".join(f'<MiningField name="{n}"/>' for n in ("fi", "fs", "fl"))
    )
    chain = mining("modelChain", [("<True/>", first), ("<True/>", second)]).replace(
        'functionName="regression"', 'functionName="classification"', 1
    )
    text = document(chain)
    rows = [CASE, {**CASE, "y": 0.9}, {**CASE, "k": "blue"}, {**CASE, "x": None}, {"x": 0.05, "y": 0.9, "k": "red"}, {}]  # fmt: skip
    alone = [evaluate(text, row).value for row in rows]
    assert alone == ["a", "b", "c", "b", "b", "c"]
    expected(text, "predicted_t", alone, rows)


def test_the_first_rule_set_whose_condition_is_true_is_selected() -> None:
    parts = [rule_set("firstHit", rule("r", c, 1, simple("y", "greaterThan", 0)), f'defaultScore="{d}"', target=False) for c, d in ("ab", "bc")]  # fmt: skip
    asked = output('name="l" dataType="string"', 'name="i" feature="entityId" segmentId="s0" dataType="string"')  # fmt: skip
    choice = mining("selectFirst", [(simple("x", "greaterThan", 0), parts[0]), ("<True/>", parts[1])])
    choice = choice.replace('functionName="regression"', 'functionName="classification"', 1)
    rows = [{"x": x, "y": y, "k": "red"} for x in (1.0, -1.0, None) for y in (1.0, -1.0)]
    text = document(choice)
    alone = [evaluate(text, row).value for row in rows]
    assert alone == ["a", "b", "b", "c", "b", "c"]
    expected(text, "predicted_t", alone, rows)
    # The rule of a segment, where that is the one.
    named = document(choice.replace("<Segmentation", asked + "<Segmentation"))
    assert results(named, rows[:1])["i"] == ["r"]
    with pytest.raises(PredictError, match=r"no 'i'.*rows 1, 2$"):
        results(named, rows[:3])


def test_rule_sets_have_no_probabilities_to_average() -> None:
    parts = [rule_set("firstHit", STANDARD, target=False)] * 2
    with pytest.raises(UnprovenModelError, match="a segment has none"):
        read(document(ensemble(parts, "average")))


def test_rule_sets_that_say_nothing_are_refused() -> None:
    with pytest.raises(UnprovenModelError, match="'b' is no double"):
        read(
            document(rule_set("firstHit", STANDARD).replace('"classification"', '"regression"'), numeric=True)
        )
    with pytest.raises(UnprovenModelError, match="'clustering' is not known"):
        read(document(rule_set("firstHit", STANDARD).replace('"classification"', '"clustering"')))
    with pytest.raises(UnprovenModelError, match="neither rules nor a default"):
        read(document(rule_set("firstHit", "", ""), classes=()))
    deep = "<CompoundRule><True/>" * 13 + STANDARD + "</CompoundRule>" * 13
    with pytest.raises(UnprovenModelError, match="nested too deeply"):
        read(document(rule_set("firstHit", deep)))


def numbers(text: str) -> str:
    """The rules of a classification as those of a regression: 1, 2.5 and -4, the first written in two ways."""
    for name, values in (("a", ("1", "1.0")), ("b", ("2.5",)), ("c", ("-4",))):
        for attribute in ("score", "defaultScore"):
            old = f' {attribute}="{name}"'
            for k in range(text.count(old)):
                text = text.replace(old, f' {attribute}="{values[k % len(values)]}"', 1)
    start, end = text.index('<DataField name="t"'), text.index('<DataField name="x"')
    declared = '<DataField name="t" optype="continuous" dataType="double"/>'
    text = text[:start] + declared + text[end:]
    return text.replace('functionName="classification"', 'functionName="regression"').replace(
        '<OutputField name="l" feature="predictedValue" dataType="string"', '<OutputField name="l" feature="predictedValue" dataType="double"'
    )  # fmt: skip


@pytest.mark.parametrize("criterion", CRITERIA)
@pytest.mark.parametrize("seed", range(6))
def test_rules_whose_scores_are_numbers(seed: int, criterion: str) -> None:
    text, rows = made(seed, criterion)
    text = numbers(text)
    only = text.replace('<OutputField name="s"', '<OutputField isFinalResult="false" name="s"')
    only = only.replace('<OutputField name="i"', '<OutputField isFinalResult="false" name="i"')
    known, tied = [], []
    for row in rows:
        try:
            known.append((row, evaluate(text, row)))
        except NotImplementedError:  # equal sums, of which no dictionary says which is first
            tied.append(row)
    good = [(row, one) for row, one in known if one.value is not None]
    assert good
    expected(only, "l", [one.value for _, one in good], [row for row, _ in good])
    for row in [*tied[:2], *[row for row, one in known if one.value is None][:2]]:
        with pytest.raises(PredictError):
            results(only, [row])
    sure = [(row, one) for row, one in good if one.confidences and (one.entity or criterion == "weightedSum")]
    found = results(text, [row for row, _ in sure])
    assert found["s"] == pytest.approx([one.confidences[one.value] for _, one in sure], abs=1e-12)


@pytest.mark.parametrize("method", ["sum", "average", "median", "weightedAverage"])
def test_rule_sets_of_numbers_are_combined(method: str) -> None:
    parts, rows = segments(3)
    text = numbers(document(ensemble(parts, method, weights=(0.5, 0.25, 2.0))))
    known = []
    for row in rows:
        try:
            known.append((row, evaluate(text, row).value))
        except NotImplementedError:
            continue
    good = [(row, value) for row, value in known if value is not None]
    assert len({value for _, value in good}) > 2
    expected(text, "predicted_t", [value for _, value in good], [row for row, _ in good])


def test_a_chain_corrects_a_regression_by_rules() -> None:
    """A rule set after a regression, and a result of both: what business rules are exported for."""
    line = (
        '<RegressionModel functionName="regression"><MiningSchema><MiningField name="x"/></MiningSchema>'
        + output('name="price" feature="predictedValue" dataType="double" isFinalResult="false"')
        + '<RegressionTable intercept="1"><NumericPredictor name="x" coefficient="10"/></RegressionTable></RegressionModel>'
    )
    rules = rule("q1", "-5", 1, simple("price", "greaterThan", 20)) + rule("q2", "0.5", 1, simple("k", "equal", "blue"))  # fmt: skip
    both = (
        '<Output><OutputField name="by" feature="predictedValue" dataType="double" isFinalResult="false"/>'
        '<OutputField name="net" feature="transformedValue" dataType="double"><Apply function="+"><FieldRef field="price"/><FieldRef field="by"/></Apply></OutputField></Output>'
    )
    after = rule_set("firstHit", rules, 'defaultScore="0"', both).replace("classification", "regression")
    after = after.replace("<MiningSchema>", '<MiningSchema><MiningField name="price"/>')
    text = document(mining("modelChain", [("<True/>", line), ("<True/>", after)]), numeric=True)
    rows = [{"x": x, "y": 0.0, "k": k} for x, k in ((3.0, "blue"), (1.0, "blue"), (1.0, "red"))]
    expected(text, "predicted_t", [-5.0, 0.5, 0.0], rows)
    expected(text, "net", [26.0, 11.5, 11.0], rows)


def test_targets_treat_the_number_of_a_rule() -> None:
    rules = rule("r", "3", 1, simple("x", "greaterThan", 0))
    treated = (
        '<Targets><Target field="t" rescaleFactor="2"><TargetValue defaultValue="7"/></Target></Targets>'
    )
    text = document(rule_set("firstHit", rules, "", treated).replace("classification", "regression"), numeric=True)  # fmt: skip
    expected(text, "predicted_t", [14.0, 6.0])


def test_scores_that_are_one_number_are_one_score() -> None:
    """Also where no target says that they are numbers."""
    rules = rule("r1", "1", 0.4, "<True/>") + rule("r2", "1.0", 0.4, "<True/>") + rule("r3", "2", 0.6, "<True/>")  # fmt: skip
    inner = rule_set("weightedSum", rules, "", target=False).replace("classification", "regression")
    expected(document(mining("sum", [("<True/>", inner)]), numeric=True), "predicted_t", [1.0, 1.0])
    asked = output('name="s" feature="confidence" value="1" dataType="double"')
    sure = rule_set("firstHit", rules, "", asked).replace("classification", "regression")
    with pytest.raises(UnprovenModelError, match="does not predict"):
        read(document(sure, numeric=True))


def test_a_score_of_a_float_context_is_a_float() -> None:
    inner = rule_set("firstHit", rule("r", "0.1", 1, "<True/>"), "").replace("classification", "regression")
    single = inner.replace("<RuleSetModel", '<RuleSetModel x-mathContext="float"')
    assert results(document(single, numeric=True))["predicted_t"] == [float(np.float32(0.1))] * 2
    assert results(document(inner, numeric=True))["predicted_t"] == [0.1] * 2
