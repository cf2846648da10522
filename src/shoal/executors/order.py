"""An attempt's notices before its completion.

Owns the promise that log bytes reach the caller in their order although notices and completions are two streams.
"""

from __future__ import annotations

from dataclasses import replace

from shoal.executors.outbox import Outbox
from shoal.model.attempts import Completion, Notice


def absorb(completion: Completion, notices: Outbox[Notice]) -> Completion:
    """Return a completion with the log bytes of all of its notices that nobody has taken; their progress stays."""
    late = notices.withdraw(lambda n: n.attempt_id == completion.attempt_id)
    if not late:
        return completion
    notices.put(replace(n, logs=b"", logs_dropped=0) for n in late if n.progress is not None)
    logs = b"".join(n.logs for n in late) + completion.logs
    return replace(completion, logs=logs, logs_dropped=completion.logs_dropped + sum(n.logs_dropped for n in late))
