"""Public: run workflows with fake tools, fault plans, a fake clock; the conformance suites of the ports."""
