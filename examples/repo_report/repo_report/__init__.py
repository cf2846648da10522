"""The agent package `repo-report`: its workflows are the YAML files in `workflows/`."""
