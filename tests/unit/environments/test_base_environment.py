"""The base environment as overlays see it."""

import subprocess
import sys


def test_the_fingerprint_is_the_same_before_and_after_ray_is_imported():
    code = "{}import shoal.environments.base as b; print(b.fingerprint(), sorted(b.fixed_packages()))"
    told = {
        subprocess.run([sys.executable, "-c", code.format(before)], capture_output=True, text=True, check=True).stdout
        for before in ("", "import ray; import ray._private.services; ")
    }
    assert len(told) == 1
