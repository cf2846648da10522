"""What Ray is asked for, and what no node has."""

import pytest

from shoal.executors.ray.tasks import ray_options, shortage
from shoal.model.policies import Resources

NODES = [{"CPU": 4.0, "memory": 100.0}, {"CPU": 1.0, "GPU": 2.0, "memory": 900.0}]


@pytest.mark.parametrize(
    ("resources", "expected"),
    [
        (Resources(), None),
        (Resources(cpus=0.5, gpus=1), None),
        (Resources(cpus=5), "CPU 5 (the largest node has 4)"),
        (Resources(memory=1000), "memory 1000 (the largest node has 900)"),
        (Resources(custom=(("fish", 2.0),)), "fish 2 (the largest node has 0)"),
        (Resources(cpus=4, gpus=1), "this combination of resources on one node"),
    ],
)
def test_shortage(resources, expected):
    assert shortage(resources, NODES) == expected


def test_a_step_without_resources_asks_for_one_cpu_and_zero_is_zero():
    assert ray_options(Resources()) == {"num_cpus": 1}
    assert ray_options(Resources(cpus=0, gpus=1, memory=5, custom=(("a", 1.0),))) == {
        "num_cpus": 0,
        "num_gpus": 1,
        "memory": 5,
        "resources": {"a": 1.0},
    }
