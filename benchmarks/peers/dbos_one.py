"""A program of one durable DBOS step, from start to end; who starts it takes the time. Argument: a folder."""

import sys

from dbos import DBOS


@DBOS.step()
def noop(x: int) -> int:
    """Return what was given."""
    return x


@DBOS.workflow()
def one(x: int) -> int:
    """Call one step."""
    return noop(x)


if __name__ == "__main__":
    DBOS(
        config={
            "name": "one",
            "system_database_url": f"sqlite:///{sys.argv[1]}/one.sqlite",
            "log_level": "ERROR",
            "run_admin_server": False,
        }
    )
    DBOS.launch()
    sys.stdout.write(f"{one(1)}\n")
    DBOS.destroy()
