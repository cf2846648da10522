"""YAML text to a validated workflow, with source positions; references and expressions."""
