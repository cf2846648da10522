import pytest
from benchmarks import flows
from benchmarks.goals import load_goals
from benchmarks.machine import filesystem
from benchmarks.sizes import FULL

from shoal.language.loading import load_file, load_text


@pytest.mark.parametrize("form", flows.FORMS)
def test_every_measured_workflow_is_valid(form, tmp_path):
    flow = load_file(flows.write(tmp_path, form, flows.FORMS[form](5)))
    assert flow.steps
    assert (tmp_path / "noop.py").exists()


@pytest.mark.parametrize(
    ("form", "n"), [("wide", FULL.fanout), ("wide-bare", FULL.many_steps), ("recorded-wide", FULL.many_items)]
)
def test_the_large_graphs_fit_into_a_file(form, n):
    assert len(flows.FORMS[form](n)) < 1024 * 1024


def test_the_steps_of_a_wide_graph_wait_for_nothing():
    assert not any(step.needs for step in load_text(flows.wide(4)).steps)


def test_the_sizes_are_those_that_the_goals_tell():
    words = " ".join(f"{goal.group} {goal.what}" for goal in load_goals())
    for size in (FULL.chain, FULL.fanout, FULL.few, FULL.many_steps, FULL.many_items):
        assert f"{size:,}" in words


def test_a_folder_is_on_the_file_system_of_the_longest_mount_point(tmp_path):
    mounts = f"/dev/a / ext4 rw 0 0\ntmpfs {tmp_path} tmpfs rw 0 0\n/dev/b {tmp_path}-not xfs rw 0 0\n"
    assert filesystem(tmp_path, mounts) == "tmpfs"
    assert filesystem(tmp_path.parent, mounts) == "ext4"
