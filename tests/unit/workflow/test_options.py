"""Options of tasks: the carrier through Ray, and what they mean to a step (ADR 0014)."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
import ray

from shoal import workflow
from shoal.errors import InvalidInputError, UnsupportedError
from shoal.workflow._options import read_options


@ray.remote(num_cpus=2, max_retries=5)
def task(x):
    return x


def options_of(node):
    return read_options(node._body, node.get_options())


def test_the_options_go_through_ray_in_a_label_and_come_out_unchanged():
    given = workflow.options(task_id="a", metadata={"k": ["v", 1, None]}, checkpoint=False, catch_exceptions=True)
    node = task.options(num_cpus=1, **given).bind(1)
    assert json.loads(node.get_options()["_labels"]["shoal.workflow"])["task_id"] == "a"
    found = options_of(node)
    assert (found.task_id, found.metadata, found.checkpoint, found.catch) == ("a", {"k": ["v", 1, None]}, False, True)
    assert found.resources.cpus == 1


def test_the_decorator_leaves_the_function_it_is_given_alone_and_options_override_it_one_by_one():
    decorated = workflow.options(task_id="a", checkpoint=False)(task)
    assert options_of(decorated.bind(1)).task_id == "a"
    both = options_of(decorated.options(num_cpus=0, **workflow.options(task_id="b")).bind(1))
    assert (both.task_id, both.checkpoint, both.resources.cpus) == ("b", False, 0)
    assert options_of(task.bind(1)).task_id is None
    assert options_of(decorated.bind(1)).resources.cpus == 2, "Ray's own options are kept"


def test_the_decorator_keeps_what_ray_sets_by_itself_for_gpus():
    @workflow.options(checkpoint=True)
    @ray.remote(num_cpus=2, num_gpus=3, max_retries=5)
    def read_data(num: int):
        return list(range(num))

    found = options_of(read_data.options(num_cpus=1, num_gpus=1, **workflow.options(checkpoint=True)).bind(1))
    assert (found.resources.cpus, found.resources.gpus, found.retry.worker_lost) == (1, 1, 5)


@pytest.mark.parametrize(
    ("given", "attempts", "lost"),
    [
        ({}, 1, 3),
        ({"max_retries": 5}, 1, 5),
        ({"max_retries": 5, "retry_exceptions": True}, 6, 5),
        ({"max_retries": 0, "retry_exceptions": True}, 1, 0),
        ({"max_retries": -1, "retry_exceptions": True}, 1_000_001, 1_000_000),
    ],
)
def test_max_retries_are_for_lost_workers_and_for_exceptions_only_where_retry_exceptions_says_so(given, attempts, lost):
    @ray.remote
    def plain():
        return 1

    policy = options_of(plain.options(**given).bind()).retry
    assert (policy.max_attempts, policy.worker_lost, policy.out_of_memory, policy.explicit) == (attempts, lost, lost, True)


def test_a_list_of_exceptions_is_retried_by_name():
    policy = options_of(task.options(retry_exceptions=[ValueError, json.JSONDecodeError]).bind(1)).retry
    assert policy.on == ("ValueError", "json.decoder.JSONDecodeError", "worker_lost", "oom")


def test_time_out_and_back_off():
    found = options_of(task.options(**workflow.options(timeout=timedelta(minutes=1), backoff=2, max_backoff=8)).bind(1))
    assert found.timeout == timedelta(minutes=1)
    assert (found.retry.initial, found.retry.maximum) == (timedelta(seconds=2), timedelta(seconds=8))


def test_a_runtime_env_has_variables_and_packages():
    found = options_of(task.options(runtime_env={"env_vars": {"B": "2", "A": "1"}, "pip": ["six==1.17.0"]}).bind(1))
    assert (found.env, found.requirements) == ((("A", "1"), ("B", "2")), ("six==1.17.0",))


@pytest.mark.parametrize(
    "given",
    [
        {"runtime_env": {"working_dir": "/tmp"}},
        {"scheduling_strategy": "SPREAD"},
        {"name": "x"},
        {"_labels": {"mine": "x"}},
    ],
)
def test_an_option_without_meaning_here_is_refused_by_name(given):
    node = task.bind(1)
    with pytest.raises(UnsupportedError, match="is not in this version"):
        read_options(node._body, {**node.get_options(), **given})


def test_several_return_values_are_refused():
    with pytest.raises(InvalidInputError, match="one return value"):
        options_of(task.options(num_returns=2).bind(1))


@pytest.mark.parametrize(
    "given", [{"nothing": 1}, {"metadata": {"k": object()}}, {"task_id": 1}, {"checkpoint": "no"}, {"timeout": -1}]
)
def test_a_wrong_option_of_ours_is_a_value_error(given):
    with pytest.raises(ValueError, match=r"workflow.options|metadata"):
        workflow.options(**given)


def test_only_remote_functions_are_decorated():
    with pytest.raises(ValueError, match=r"above @ray\.remote"):
        workflow.options(task_id="a")(lambda: 1)
