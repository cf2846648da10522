"""Templates on values: what is handed on whole, what is computed, what is refused."""

import json
import time

import pytest
from language_scope import MappingScope, problems, step, template, value

from shoal.errors import ExpressionError
from shoal.language import _cel
from shoal.language.evaluation import evaluate, evaluate_condition, evaluate_items, materialize, materialize_all
from shoal.model.encoding import json_bytes, value_to_json
from shoal.model.values import Arguments, SecretName, SecretText, Value
from shoal.model.workflow import Constant, Expression, Recorded


def test_whole_references_keep_their_value_and_are_not_loaded(scope):
    made = materialize_all(
        step("{name: s, tool: t, inputs: {a: '{{ inputs.n }}', b: ['{{ steps.py.outputs.k }}']}}").inputs, scope
    )
    assert made == Arguments(
        {"a": None, "b": [None]}, ((("a",), value(5)), (("b", 0), scope.found["steps", "py", "outputs", "k"]))
    )
    assert scope.loaded == []


def test_skipped_outputs_are_null_and_so_is_what_lies_below(scope):
    assert materialize(template("{{ steps.skipped.outputs.k }}"), scope) == Arguments(None)
    assert evaluate(template("{{ steps.skipped.outputs.k.deep[0] }}"), scope) is None


def test_secrets_stay_names(scope):
    assert materialize(template("{{ secrets.K }}"), scope).holes == (((), SecretText((SecretName("K"),))),)
    made = materialize(template("Bearer {{ secrets.K }} for {{ inputs.n }}{{ inputs.t }}"), scope)
    assert made == Arguments(None, (((), SecretText(("Bearer ", SecretName("K"), " for 5text"))),))
    with pytest.raises(ExpressionError, match="secret"):
        evaluate(template("{{ secrets.K }}"), scope)


def test_parts_of_a_text_become_strings(scope):
    text = template(
        "{{ inputs.t }}|{{ inputs.n }}|{{ inputs.xs }}|{{ inputs.o.e }}|{{ steps.skipped.outputs.k }}|{{ true }}|{{ 1.5 }}"
    )
    assert materialize(text, scope) == Arguments("text|5|[1,2,3,4]|{}|null|true|1.5")


@pytest.mark.parametrize(
    "text", ["{{ secrets.X }}", "${HOME}", "$(id)", '{"a": 1}', "[1]", "true", "{{ 1 + 1 }}", "{% x %}", "null", "}}"]
)
def test_a_result_is_never_evaluated_again(text):
    scope = MappingScope({("inputs", "t"): value(text), ("inputs", "o"): value({"s": text})})
    assert materialize(template("{{ inputs.o.s }}"), scope) == Arguments(text)
    assert materialize(template("<{{ inputs.t }}>"), scope) == Arguments(f"<{text}>")
    assert materialize(template("{{ inputs.t + '' }}"), scope) == Arguments(text)
    assert evaluate(template("{{ inputs.t }}"), scope) == text


@pytest.mark.parametrize(
    ("expression", "result"),
    [
        ("inputs.n + 1", 6), ("inputs.n - 1", 4), ("-inputs.n", -5), ("double(inputs.n) / 2.0", 2.5),
        ("inputs.n > 3 && inputs.t == 'text'", True), ("inputs.xs[1] + inputs.xs[inputs.n - 4]", 4), ("inputs.xs.size()", 4),
        ("size(inputs.t)", 4), ("inputs.xs.map(x, x * 2)", [2, 4, 6, 8]), ("inputs.xs.filter(x, x > 2)", [3, 4]),
        ("inputs.xs.map(x, x > 2, x * inputs.n)", [15, 20]), ("inputs.xs.all(x, x > 0)", True), ("inputs.xs.exists(x, x == 9)", False),
        ("inputs.xs.exists_one(x, x == 2)", True), ("inputs.xs.map(x, inputs.xs.map(y, x * y))[3]", [4, 8, 12, 16]),
        ("inputs.xs.map(x, inputs.xs.filter(y, y < x).size())", [0, 1, 2, 3]), ("{'b': 1, 'a': 2}.map(k, k)", ["a", "b"]),
        ("inputs.o['b-c'][0]", 1), ("inputs.o.b-c[0]", 1), ("has(inputs.o.s)", True), ("has(inputs.o.zz)", False), ("has(inputs.o.b-c)", True),
        ("has(context.user) && context.user == 'ann'", True), ("has(steps.skipped.outputs.k.x)", False), ("context.user + run.id", "annr1"),
        ("'{{' + '}}'", "{{}}"), ("{'a': {'b': inputs.n}}", {"a": {"b": 5}}), ("inputs.n > 3 ? 'big' : inputs.o.absent", "big"),
        ("inputs.n > 3 || inputs.o.absent", True), ("null", None), ("[1, 'a', null, 2.5, true]", [1, "a", None, 2.5, True]),
        ("1u", 1), ("string(inputs.n)", "5"), ("inputs.t.matches('^te.t$')", True), ("matches(inputs.t, 'y')", False),
        ("inputs.t.startsWith('te') && inputs.t.endsWith('xt') && inputs.t.contains('ex')", True), ("'x' in {'x': 1}", True),
        ("timestamp('2026-01-02T00:00:00Z').getFullYear()", 2026), ("inputs.o == {'b-c': [1], 's': '{{ secrets.K }}', 'e': {}}", True),
        ("'''a\n'b''' + r'\\d'", "a\n'b\\d"), ("type(1) == int", True), ("steps.skipped.outputs.k == null", True),
    ],
)  # fmt: skip
def test_expressions(scope, expression, result):
    assert evaluate(template(f"{{{{ {expression} }}}}"), scope) == result


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("1 / 0", "division by zero"), ("1 % 0", "division by zero"), ("9223372036854775807 + inputs.n", "64 bits"),
        ("inputs.n + inputs.t", "convert"), ("inputs.n + 1.5", "convert"), ("inputs.o.absent + 1", "there is b-c, s, e"),
        ("inputs.xs[9] + 1", "has no item 9"), ("inputs.xs[inputs.n]", "out of bounds"), ("0.0 / 0.0", "nan"), ("1.0 / 0.0", "inf"),
        ("b'x'", "bytes"), ("timestamp('2026-01-02T00:00:00Z')", "timestamp"), ("duration('3s')", "duration"), ("{1: 2}", "must be text"),
        ("inputs.n.map(x, x)", "lists and mappings"), ("inputs.xs.filter(x, x)", "true or false"), ("inputs.xs.map(x, x / 0)", "division"),
        ("inputs.t.matches('(')", "regular expression"), ("inputs.t.matches(inputs.n)", "a text and a pattern"), ("int('x')", "int"),
        ("steps.py.outputs.k == 1", "Python object"), ("timestamp('no')", "timestamp"), ("!inputs.n", "convert"),
        ("inputs.xs.map(x, inputs.o.absent)", "no key 'absent'"),
    ],
)  # fmt: skip
def test_errors_name_the_expression(scope, capfd, expression, words):
    with pytest.raises(ExpressionError, match=words) as caught:
        evaluate(template(f"{{{{ {expression} }}}}"), scope)
    assert caught.value.expression
    assert capfd.readouterr() == ("", "")  # the binding prints nothing


@pytest.mark.parametrize("text", ["{{ size(steps.py.outputs.k) }}", "{{ steps.py.outputs.k.x }}", "a {{ steps.py.outputs.k }}"])
def test_a_python_object_in_an_expression_names_step_output_type_and_what_to_do(scope, text):
    with pytest.raises(ExpressionError) as caught:
        evaluate(template(text), scope)
    assert "(output 'k' of step 'py'): it is a Python object (m.T)" in caught.value.message
    assert "let the tool return JSON" in caught.value.hint


def test_absent_keys_name_those_there_are():
    scope = MappingScope({("inputs", "o"): value({f"k{i}": i for i in range(30)})})
    with pytest.raises(ExpressionError) as caught:
        evaluate(template("{{ inputs.o.nope }}"), scope)
    assert str(caught.value).startswith("inputs.o.nope: inputs.o has no key 'nope' (there is k0, k1,")
    assert "and 20 more" in str(caught.value)


@pytest.mark.parametrize("number", [2**63, -(2**63) - 1, 2**64, 2**70])
def test_numbers_beyond_64_bits_pass_whole_and_are_not_computed_with(number):
    scope = MappingScope({("inputs", "n"): value([number])})
    assert materialize(template("{{ inputs.n }}"), scope).holes[0][1] == value([number])
    assert evaluate(template("{{ inputs.n[0] }}"), scope) == number
    with pytest.raises(ExpressionError, match="64 bits"):
        evaluate(template("{{ inputs.n[0] + 1 }}"), scope)


def test_integers_and_floats_and_booleans_keep_their_types(scope):
    for text, wanted in (("1", 1), ("1.0", 1.0), ("true", True), ("[1.0, 1, true]", [1.0, 1, True])):
        result = evaluate(template(f"{{{{ {text} }}}}"), scope)
        assert json.dumps(result) == json.dumps(wanted)


def test_conditions(scope):
    for text, holds in (
        ("inputs.n == 5", True),
        ("'{{ inputs.n < 5 }}'", False),
        ("true", True),
        ("failure()", False),
        ("success()", True),
    ):
        assert evaluate_condition(step(f"{{name: s, tool: t, if: {text}}}").condition, scope) is holds
    scope.failed = True
    for text, holds in (("failure()", True), ("success() || inputs.n == 5", True), ("success()", False), ("always()", True)):
        assert evaluate_condition(step(f"{{name: s, tool: t, if: {text}}}").condition, scope) is holds


@pytest.mark.parametrize("text", ["inputs.n", "inputs.t", "1", "inputs.xs", "steps.skipped.outputs.k"])
def test_a_condition_is_true_or_false_and_nothing_else(scope, text):
    with pytest.raises(ExpressionError, match="must be true or false") as caught:
        evaluate_condition(step(f"{{name: s, tool: t, if: '{text}'}}").condition, scope)
    assert text in str(caught.value)


def test_items(scope):
    def items(text):
        return list(evaluate_items(step(f"{{name: s, tool: t, foreach: {text}}}").foreach, scope))

    assert items("inputs.xs") == [Constant(i) for i in (1, 2, 3, 4)]
    assert items("'{{ inputs.xs.map(x, x + 1) }}'") == [Constant(i) for i in (2, 3, 4, 5)]
    assert items("[a, '{{ inputs.n }}']") == [Constant("a"), Constant(5)]
    for text in ("inputs.n", "inputs.o", "steps.skipped.outputs.k"):
        with pytest.raises(ExpressionError, match="must be a list"):
            items(text)


def test_items_of_a_manifest_are_not_decoded():
    entries = [value(1), Value("pickle", 3, data=b"abc", type_name="m.T"), value(None), Value("json", 99, digest="0" * 64)]
    raw = json_bytes([value_to_json(v) for v in entries])
    scope = MappingScope()
    found = evaluate_items(Recorded(Value("manifest", len(raw), data=raw, type_name="list")), scope)
    assert list(found) == [entries[0], entries[1], Constant(None), entries[3]]
    assert scope.loaded == []


def test_items_are_bounded():
    scope = MappingScope({("inputs", "xs"): Constant([0] * 100_001)})
    for text in ("inputs.xs",):
        with pytest.raises(ExpressionError, match="100,001 items"):
            evaluate_items(step(f"{{name: s, tool: t, foreach: {text}}}").foreach, scope)


def test_input_of_an_expression_is_bounded():
    scope = MappingScope({("inputs", "t"): value("x" * 1_100_000)})
    with pytest.raises(ExpressionError, match="1 MiB"):
        evaluate(template("{{ size(inputs.t) }}"), scope)
    assert len(evaluate(template("{{ inputs.t }}"), scope)) == 1_100_000


FLAT = [0] * 400_000
WORST = [
    ("_0.map(x, x)", FLAT), ("_0.map(x, _0)", ["a" * 1000] * 1000), ("_0.map(x, _0.map(y, x * y))", list(range(300))),
    ("_0.all(x, _0.all(y, x >= 0 && y >= 0))", list(range(400))), ("_0.map(k, _0[k])", {str(i): i for i in range(60_000)}),
    ("[" + "_0," * 400 + "_0]", FLAT), ("size(" + "_0+" * 1200 + "_0)", "a" * 1_000_000), ("[1]" + ".map(a,[a,a])" * 200, 0),
    ("[1].map(a,[" + "a," * 900 + "a]).map(a,[" + "a," * 900 + "a])", 0), ("_0.matches('(a|b)*a(a|b){500}c')", "ab" * 500_000),
    ("_0.matches('((a{100}){100}){100}')", "ab" * 500), ("_0.filter(f, f.matches('\\\\w+\\\\w+\\\\w+'))", ["abc def ghi"] * 20_000),
    ("_0.exists(x, x in _0)", list(range(1, 3000))),
]  # fmt: skip


@pytest.mark.parametrize(("source", "data"), WORST, ids=range(len(WORST)))
def test_the_worst_is_bounded(source, data):
    program = _cel.compile_source(source)
    start = time.perf_counter()
    try:
        _cel.Evaluation().run(program, {"_0": data})
    except _cel.CelError as error:
        assert "too much work" in error.message or "elements" in error.message  # noqa: PT017
    assert time.perf_counter() - start < 5  # under a second on a quiet machine


@pytest.mark.parametrize(
    "expression",
    ["(" * 3000 + "1" + ")" * 900, "(" * 40 + "1" + ")" * 40, "[" * 2000, "!" * 2000 + "true", "-" * 100 + "1", "true?1:" * 100 + "1",
     "1" + "+1" * 3000, "int(" * 100 + "1" + ")" * 100, "{'a':" * 60 + "1" + "}" * 60],
)  # fmt: skip
def test_nesting_and_length_are_bounded_before_anything_is_compiled(expression):
    text = json.dumps(f"{{{{ {expression} }}}}")
    assert problems(f"id: w\nsteps: [{{name: a, tool: t, inputs: {{x: {text}}}}}]")


def test_long_chains_are_fine(scope):
    assert evaluate(template("{{ 1" + " + 1" * 900 + " }}"), scope) == 901


def test_expression_from_elsewhere_is_an_error_not_a_crash(scope):
    for source in ("(" * 10_000, "nope + 1", "", "_7"):
        with pytest.raises(ExpressionError):
            evaluate(Expression(source), scope)


def test_values_nested_deeply_are_handed_on_and_not_computed_with():
    deep = []
    for _ in range(900):
        deep = [deep]
    scope = MappingScope({("context",): Constant({"d": deep})})
    assert materialize(template("{{ context.d }}"), scope).tree is deep
    with pytest.raises(ExpressionError, match="nested more than 100"):
        evaluate(template("{{ size(context.d) }}"), scope)


def test_results_may_be_nested_deeply(scope):
    result = evaluate(template("{{ [1]" + ".map(a,[a])" * 300 + " }}"), scope)
    for _ in range(301):
        (result,) = result
    assert result == 1


def test_foreach_does_not_refer_to_its_own_item():
    assert "no meaning in `foreach` itself" in problems("id: w\nsteps: [{name: a, tool: t, foreach: item.x}]")[0][2]
