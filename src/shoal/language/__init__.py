"""YAML text to validated workflows, and templates to values.

Import the parts: `loading` (files to workflows), `evaluation` (templates to arguments), `inputs` (checking a run's inputs),
`durations`, `schema` (for editors). Nothing here touches Ray, SQL or the network.
"""
