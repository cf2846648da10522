"""The asyncio orchestrator: leases, recovery, dispatch, timers, signals, cancellation."""
