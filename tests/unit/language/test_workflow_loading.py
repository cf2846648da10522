"""Files to workflows: order, references, defaults, sub-workflows."""

from datetime import timedelta

import pytest
from language_scope import problems

from shoal.errors import DefinitionError
from shoal.language.durations import parse_duration, parse_size
from shoal.language.loading import load_file, load_mapping, load_text
from shoal.language.tool_references import parse_tool
from shoal.model.policies import Isolation, OnError
from shoal.model.workflow import CallTool, Condition, Constant, ListOf, Reference, RunWorkflow, Sleep, Text, WaitSignal

SEED = """\
id: answer-life-universe-everything
inputs:
  - {name: question, type: string, default: "six by nine"}
steps:
  - name: answer
    tool: return_answer_tool@0.1.2
    inputs:
      - {name: answer, value: '{"answer": 42}'}
    outputs:
      - name: result
outputs:
  - {name: answer, value: "{{steps.answer.outputs.result}}"}
"""


def steps(text, head="id: w\ninputs: {x: }\n"):
    return {s.name: s for s in load_text(f"{head}steps:\n{text}").steps}


def test_seed_form_and_mapping_form_mean_the_same():
    mapping = """\
id: answer-life-universe-everything
inputs: {question: {type: string, default: six by nine}}
steps:
  - {name: answer, tool: return_answer_tool@0.1.2, inputs: {answer: '{"answer": 42}'}, outputs: [result]}
outputs: {answer: "{{ steps.answer.outputs.result }}"}
"""
    assert load_text(SEED) == load_text(mapping)
    assert load_text(SEED).steps[0].inputs == (("answer", Constant('{"answer": 42}')),)


def test_output_without_a_value_is_the_last_steps():
    workflow = load_text("id: w\nsteps: [{name: s, tool: t}]\noutputs: [{name: result}]")
    assert workflow.outputs == (("result", Reference(("steps", "s", "outputs", "result"), (), "steps.s.outputs.result")),)


def test_a_step_waits_for_the_one_before_or_for_what_it_is_told_and_for_what_it_refers_to():
    found = steps("""
- {name: a, tool: t}
- {name: b, tool: t}
- {name: c, tool: t, needs: []}
- {name: d, tool: t, needs: [a], inputs: {x: "{{ steps.c.outputs.k }}"}}
- {name: e, tool: t, needs: [], if: steps.b.status == 'failed'}
- {name: f, tool: t, needs: [], foreach: steps.a.outputs.list, env: {V: "{{ steps.d.outputs.z }}"}}
""")
    assert {n: s.needs for n, s in found.items()} == {
        "a": (), "b": ("a",), "c": (), "d": ("a", "c"), "e": ("b",), "f": ("d", "a") if found["f"].needs[0] == "d" else ("a", "d"),
    }  # fmt: skip
    assert found["e"].condition.statuses == ("b",)


def test_finally_steps_wait_among_themselves_only():
    workflow = load_text("""
id: w
steps: [{name: a, tool: t}]
finally:
  - {name: x, tool: t, inputs: {s: "{{ steps.a.status }}"}}
  - {name: y, tool: t, needs: [a]}
  - {name: z, tool: t, needs: [x]}
""")
    assert {s.name: s.needs for s in workflow.finally_steps} == {"x": (), "y": (), "z": ("x",)}


def test_defaults_are_merged_key_by_key():
    found = steps(
        """
- {name: a, tool: t, retry: {max_attempts: 2}, env: {A: mine}, resources: {gpus: 1}}
- {name: b, sleep: 1}
- {name: c, tool: t, timeout: 5, isolation: task}
""",
        head="id: w\ndefaults: {retry: {max_attempts: 9, initial: 3s}, timeout: 1m, env: {A: all, B: 2}, resources: {cpus: 2}, isolation: process}\n",
    )
    a, b, c = found["a"], found["b"], found["c"]
    assert (a.retry.max_attempts, a.retry.initial, a.retry.explicit) == (2, timedelta(seconds=3), True)
    assert dict(a.env) == {"A": Constant("mine"), "B": Constant("2")}
    assert (a.resources.cpus, a.resources.gpus) == (2, 1)
    assert (a.timeout, c.timeout) == (timedelta(minutes=1), timedelta(seconds=5))
    assert (a.isolation, c.isolation) == (Isolation.PROCESS, Isolation.TASK)
    assert (b.env, b.timeout, b.retry.explicit) == ((), None, False)


def test_a_step_without_retry_leaves_the_choice_to_the_tool():
    assert steps("- {name: a, tool: t}")["a"].retry.explicit is False


def test_every_key_arrives():
    found = steps("""
- name: a
  tool: pkg.mod:fn
  if: inputs.x > 1 && always()
  foreach: [1, "{{ inputs.x }}"]
  concurrency: 3
  inputs: {k: "a{{ inputs.x }}b", l: [1, {m: "{{ inputs.x }}"}]}
  env_vars: {P: "{{ inputs.x }}", Q: true}
  requirements: ["requests>=2", "x @ git+https://h/x"]
  resources: {cpus: 0.5, gpus: 1, memory: 512MiB, custom: {tpu: 2}}
  retry: {max_attempts: 3, initial: 2, max: 1m, multiplier: 3, jitter: false, on: [ValueError, timeout]}
  timeout: 90
  deadline: 1h30m5s
  on_error: continue
  checkpoint: false
- {name: w, wait: {signal: "go-{{ inputs.x }}", timeout: 2d}}
- {name: s, sleep: 5s}
""")
    a = found["a"]
    assert a.action == CallTool(parse_tool("pkg.mod:fn"), ("requests>=2", "x @ git+https://h/x"))
    assert a.condition.after_failure
    assert isinstance(a.foreach, ListOf)
    assert a.concurrency == 3
    assert dict(a.env) == {"P": Text((Reference(("inputs", "x"), (), "inputs.x"),)), "Q": Constant("true")}
    assert (a.resources.memory, a.resources.custom) == (512 * 1024 * 1024, (("tpu", 2.0),))
    assert (a.retry.maximum, a.retry.multiplier, a.retry.jitter, a.retry.on) == (
        timedelta(minutes=1),
        3,
        False,
        ("ValueError", "timeout"),
    )
    assert (a.timeout, a.deadline) == (timedelta(seconds=90), timedelta(seconds=5405))
    assert (a.on_error, a.checkpoint) == (OnError.CONTINUE, False)
    assert isinstance(found["w"].action, WaitSignal)
    assert found["w"].action.timeout == timedelta(days=2)
    assert found["s"].action == Sleep(Constant("5s"))


def test_if_may_be_a_boolean_or_stand_in_braces():
    found = steps("""
- {name: a, tool: t, if: false}
- {name: b, tool: t, if: "{{ inputs.x }}"}
- {name: c, tool: t, if: failure()}
- {name: d, tool: t, if: success()}
""")
    assert found["a"].condition == Condition(Constant(value=False))
    assert isinstance(found["b"].condition.expression, Reference)
    assert [found[n].condition.after_failure for n in "bcd"] == [False, True, False]


def test_parameters_are_environment_variables():
    assert dict(steps("- {name: a, tool: t, parameters: [{name: KEY, value: v}]}")["a"].env) == {"KEY": Constant("v")}


# ---------------------------------------------------------------- sub-workflows


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "child.yaml").write_text(
        "id: child\ninputs: {n: {type: integer}}\nsteps: [{name: c, tool: t}]\noutputs: {r: '{{ steps.c.outputs.q }}'}\n"
    )
    return tmp_path


def write(folder, text, name="parent.yaml"):
    path = folder / name
    path.write_text(text)
    return path


def test_sub_workflow_is_embedded_by_path_and_by_id(folder):
    path = write(folder, "id: p\nsteps:\n- {name: a, workflow: ./child.yaml, inputs: {n: 1}}\n- {name: b, workflow: child}\n")
    workflow = load_file(path, workflows=[folder])
    child = workflow.steps[0].action.workflow
    assert child.id == "child"
    assert child.base_dir == workflow.base_dir == str(folder)
    assert workflow.steps[1].action == RunWorkflow(child)


def test_problems_of_a_sub_workflow_name_its_file(folder):
    write(folder, "id: bad\nsteps: []\n", "bad.yaml")
    path = write(folder, "id: p\nsteps:\n- {name: a, workflow: ./bad.yaml}\n- {name: b, tool: [x]}\n")
    with pytest.raises(DefinitionError) as caught:
        load_file(path)
    assert [(p.file.rsplit("/", 1)[-1], p.line) for p in caught.value.problems] == [("bad.yaml", 2), ("parent.yaml", 4)]


@pytest.mark.parametrize(
    ("step", "words"),
    [
        ("{name: a, workflow: ./chidl.yaml}", "there is no file './chidl.yaml'"),
        ("{name: a, workflow: chil}", "there is no workflow 'chil'"),
        ("{name: a, workflow: ../x.yaml}", "lies outside of"),
        ("{name: a, workflow: /etc/x.yaml}", "lies outside of"),
        ("{name: a, workflow: ./child.yaml, inputs: {m: 1}}", "has no input 'm'"),
        ("{name: a, workflow: ./parent.yaml}", "workflows contain each other: parent.yaml -> parent.yaml"),
        ("{name: a, workflow: 'not an id'}", "neither an id nor a path"),
        ("{name: a, workflow: ./child.yaml, timeout: 3}", "`timeout` has no meaning for a step with `workflow`"),
    ],
)
def test_bad_sub_workflows(folder, step, words):
    with pytest.raises(DefinitionError) as caught:
        load_file(write(folder, f"id: p\nsteps:\n- {step}\n"), workflows=[folder])
    assert words in str(caught.value)


def test_outputs_of_a_sub_workflow_are_known(folder):
    path = write(folder, "id: p\nsteps: [{name: a, workflow: ./child.yaml}]\noutputs: {x: '{{ steps.a.outputs.s }}'}\n")
    with pytest.raises(DefinitionError, match="step 'a' has no output 's'"):
        load_file(path)


def test_link_out_of_the_folder_is_refused(folder, tmp_path_factory):
    outside = write(tmp_path_factory.mktemp("outside"), "id: o\nsteps: [{name: a, tool: t}]\n")
    (folder / "link.yaml").symlink_to(outside)
    with pytest.raises(DefinitionError, match="lies outside of"):
        load_file(write(folder, "id: p\nsteps: [{name: a, workflow: ./link.yaml}]\n"))


def test_embedding_that_doubles_is_bounded(folder):
    for i in range(15):
        inner = f"./w{i + 1}.yaml" if i < 14 else "./child.yaml"
        body = "".join(f"- {{name: s{k}, workflow: {inner}}}\n" for k in range(4))
        write(folder, f"id: w{i}\nsteps:\n{body}", f"w{i}.yaml")
    with pytest.raises(DefinitionError, match="more than 20,000 steps"):
        load_file(folder / "w0.yaml")


def test_continuation_names_no_other_workflow():
    with pytest.raises(DefinitionError, match="cannot be named by path here"):
        load_mapping({"id": "c", "steps": [{"name": "a", "workflow": "./x.yaml"}]})
    with pytest.raises(DefinitionError, match="there is no workflow"):
        load_mapping({"id": "c", "steps": [{"name": "a", "workflow": "x"}]})


def test_continuation_is_a_workflow():
    made = load_mapping(
        {"id": "c", "inputs": {"n": {}}, "steps": [{"name": "a", "tool": "t", "inputs": {"x": "{{ inputs.n }}"}}]}
    )
    assert made.steps[0].inputs == (("x", Reference(("inputs", "n"), (), "inputs.n")),)
    assert made.base_dir is None


# ---------------------------------------------------------------- small forms


@pytest.mark.parametrize(
    ("text", "kind", "name", "version", "url"),
    [
        ("name", "distribution", "name", "", ""),
        ("My_Tool@1.2.0", "distribution", "my-tool", "1.2.0", ""),
        ("a.b@1!2.0+local", "distribution", "a-b", "1!2.0+local", ""),
        ("x @ file:./path", "direct", "x", "", "file:./path"),
        ("x@git+https://h/r@main#egg=x", "direct", "x", "", "git+https://h/r@main#egg=x"),
        ("pkg.mod:fn", "function", "pkg.mod:fn", "", ""),
        ("shell", "builtin", "shell", "", ""),
    ],
)
def test_tool_references(text, kind, name, version, url):
    found = parse_tool(text)
    assert (found.kind, found.name, found.version, found.url, found.text) == (kind, name, version, url, text)


@pytest.mark.parametrize(
    "text", ["", "a b", "a==1", "a>=1", "a[x]", "a:b:c", "mod:", ":fn", "a@", "-a", "x @ http://h", "a;b", "a/b", "x" * 501]
)
def test_what_is_no_tool_reference(text):
    with pytest.raises(DefinitionError):
        parse_tool(text)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        (90, 90),
        (0.5, 0.5),
        ("90", 90),
        ("1h30m5s", 5405),
        ("2d", 172800),
        ("250ms", 0.25),
        ("1w", 604800),
        ("1.5s", 1.5),
        (0, 0),
    ],
)
def test_durations(text, seconds):
    assert parse_duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    "text", [-1, True, None, "", "1:30", "5 minutes", "1h 30m", "-5s", "1e400", 1e300, float("nan"), "9" * 50, [], "s", "30m1h"]
)
def test_what_is_no_duration(text):
    with pytest.raises(ValueError, match="duration"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("text", "size"),
    [(1024, 1024), ("512MiB", 536870912), ("2G", 2_000_000_000), ("1.5Gi", 1610612736), ("100kB", 100_000), ("7", 7)],
)
def test_sizes(text, size):
    assert parse_size(text) == size


@pytest.mark.parametrize("text", [0, -1, True, None, "", "x", "1 parsec", "MiB", float("nan"), float("inf"), "0", "1i"])
def test_what_is_no_size(text):
    with pytest.raises(ValueError, match="size"):
        parse_size(text)


@pytest.mark.parametrize("word", ["runs", "health", "v1", "well-known"])
def test_ids_of_fixed_routes_are_reserved(word):
    assert "is reserved" in problems(f"id: {word}\nsteps: [{{name: a, tool: t}}]")[0][2]


@pytest.mark.parametrize("word", ["Ab", "a_b", "a--b", "-a", "a-", "ä", "a b"])
def test_ids_are_kebab_case(word):
    assert "is not an id" in problems(f"id: '{word}'\nsteps: [{{name: a, tool: t}}]")[0][2]


@pytest.mark.parametrize("key", ["queue: q", "expose: true", "schedule: daily", "on_start: true", "on_failure: []"])
def test_keys_of_later_versions_are_named_as_such(key):
    assert [m for _, _, m, _ in problems(f"id: w\n{key}\nsteps: [{{name: a, tool: t}}]")] == [
        f"{key.split(':')[0]!r} is not in this version"
    ]


def test_problems_are_capped():
    body = "".join(f"- {{name: s{i}, tool: t, k{i}: 1}}\n" for i in range(500))
    found = problems(f"id: w\nsteps:\n{body}")
    assert len(found) == 101
    assert any("400 more problems" in m for _, _, m, _ in found)


def test_defaults_refer_to_no_steps():
    text = "id: w\ndefaults: {env: {A: '{{ steps.a.outputs.x }}'}}\nsteps: [{name: a, tool: t}]"
    assert "`defaults` may refer to inputs" in problems(text)[0][2]


@pytest.mark.parametrize(
    ("steps", "told"),
    [
        ("[{name: a, tool: t, needs: [a]}]", ["step 'a' waits for itself"]),
        ("[{name: a, tool: t}, {name: a, tool: t}]", ["two steps are called 'a'"]),
        ("[{name: a, tool: t}, {name: b, tool: t, needs: [c]}]", ["there is no step 'c'"]),
        ("[{name: a, tool: t, needs: [b]}, {name: b, tool: t}]", ["steps wait for each other: a -> b -> a"]),
    ],
)
def test_one_mistake_is_one_problem(steps, told):
    assert [m for _, _, m, _ in problems(f"id: w\nsteps: {steps}")] == told
