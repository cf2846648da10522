"""Carries out a command line over the fake client in a process of its own; argv[1] names how the world behaves."""

import sys
import types

from cli_world import World, connect_to, views

from shoal.cli import loop, main

world = World()
match sys.argv[1]:
    case "hangs":
        world.views, world.hang = views()[:1], True
    case "hangs-on-close":
        world.views, world.hang, world.hang_on_close = views()[:1], True, True
    case "talks":
        from shoal.model.ids import StepPath
        from shoal.ports import LogChunk

        world.chunks = [LogChunk(StepPath("fetch"), 1, 0, b"line\n" * 20_000)] * 50
        last = views()[-1]
        world.views = [type(last)(last.run, last.workflow, last.steps, outputs={"big": "x" * 1_000_000})]
    case "ends":
        pass
module = types.ModuleType("shoal.client")  # the real one takes a second to load, and is not what is tested
module.connect = connect_to(world)
sys.modules["shoal.client"] = module
loop.STOP_WITHIN = 1.0
status = main(sys.argv[2:])
if ("closed", (), {}) in world.calls:
    sys.stderr.write("the client was closed\n")
sys.exit(status)
