"""The keys of the language, in one table: what each takes and means.

Both the validator and the JSON Schema for editors are made from it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from shoal.model.values import Json

NAME_PATTERN: Final = "^[A-Za-z_][A-Za-z0-9_-]*$"
ID_PATTERN: Final = "^[a-z0-9]+(-[a-z0-9]+)*$"


@dataclass(frozen=True, slots=True)
class Key:
    """One key.

    Attributes:
        description: One sentence, for editors and the reference.
        schema: JSON Schema of its value.
        required: Whether it must be there.
    """

    description: str
    schema: dict[str, Json] = field(default_factory=dict[str, Json])
    required: bool = False


Table = dict[str, Key]

_TEXT: Final[dict[str, Json]] = {"type": "string"}
_NAME: Final[dict[str, Json]] = {"type": "string", "pattern": NAME_PATTERN}
_COUNT: Final[dict[str, Json]] = {"type": "integer", "minimum": 1}
_AMOUNT: Final[dict[str, Json]] = {"type": "number", "minimum": 0}
DURATION: Final[dict[str, Json]] = {"type": ["number", "string"], "minimum": 0, "examples": ["90", "1h30m5s", "250ms"]}
SIZE: Final[dict[str, Json]] = {"type": ["number", "string"], "exclusiveMinimum": 0, "examples": ["512MiB", "2G"]}

VALUES: Final[dict[str, Json]] = {"$ref": "#/$defs/values"}
ENV: Final[dict[str, Json]] = {"$ref": "#/$defs/env"}
OUTPUT_NAMES: Final[dict[str, Json]] = {"$ref": "#/$defs/output_names"}

RETRY: Final[Table] = {
    "max_attempts": Key("Attempts in all, the first included (default 5).", {**_COUNT, "maximum": 1000}),
    "initial": Key("Delay before the first retry (default 1s).", DURATION),
    "max": Key("Longest delay (default 60s).", DURATION),
    "multiplier": Key("Factor from one delay to the next (default 2).", {"type": "number", "minimum": 1, "maximum": 100}),
    "jitter": Key("Whether a delay is drawn at random between 0 and its bound (default true).", {"type": "boolean"}),
    "on": Key(
        "What is retried: names of exceptions, worker_lost, timeout, oom or any (default: everything that may pass).",
        {"anyOf": [_TEXT, {"type": "array", "items": _TEXT}]},
    ),
}

RESOURCES: Final[Table] = {
    "cpus": Key("CPUs that an attempt takes (default 1, or the tool's own).", _AMOUNT),
    "gpus": Key("GPUs that an attempt takes.", _AMOUNT),
    "memory": Key("Memory that an attempt takes, and above which it is ended.", SIZE),
    "custom": Key("Custom Ray resources by name.", {"type": "object", "additionalProperties": _AMOUNT}),
}

WAIT: Final[Table] = {
    "signal": Key("Name of the signal to wait for.", _TEXT, required=True),
    "timeout": Key("Longest wait; after it the step fails (default: for ever).", DURATION),
}

DEFAULTS: Final[Table] = {
    "retry": Key("Retries of every tool step.", {"$ref": "#/$defs/retry"}),
    "timeout": Key("Time for each attempt of every tool step.", DURATION),
    "env": Key("Environment variables of every tool step.", ENV),
    "resources": Key("Resources of every tool step.", {"$ref": "#/$defs/resources"}),
    "isolation": Key("Isolation of every tool step.", {"enum": ["pool", "task", "process"]}),
}

STEP: Final[Table] = {
    "name": Key("The step's name, unique in its workflow.", _NAME, required=True),
    "tool": Key("The tool to call: name, name@1.2.0, name @ file:./path, package.module:function, shell, http, python.", _TEXT),
    "workflow": Key("The workflow to run: ./file.yaml or an id.", _TEXT),
    "wait": Key("The signal to wait for; holds no worker.", {"$ref": "#/$defs/wait"}),
    "sleep": Key("How long to sleep; holds no worker.", DURATION),
    "if": Key("The step runs only if this expression is true.", {"type": ["string", "boolean"]}),
    "foreach": Key("Run the step once for each item of this list.", {"type": ["string", "array"]}),
    "concurrency": Key("Items under way at a time.", _COUNT),
    "needs": Key("The steps to wait for, instead of the one before.", {"type": "array", "items": _NAME}),
    "inputs": Key("What the tool or workflow is called with.", VALUES),
    "outputs": Key("Names of the outputs; a tool that returns others fails.", OUTPUT_NAMES),
    "env": Key("Environment variables of the tool.", ENV),
    "env_vars": Key("The same as `env`.", ENV),
    "parameters": Key("The same as `env`.", ENV),
    "requirements": Key("Packages that the tool needs besides its own (PEP 508).", {"type": "array", "items": _TEXT}),
    "isolation": Key("Where an attempt runs (default pool).", {"enum": ["pool", "task", "process"]}),
    "resources": Key("What an attempt takes of the cluster.", {"$ref": "#/$defs/resources"}),
    "retry": Key("How often the step is tried, and when.", {"$ref": "#/$defs/retry"}),
    "timeout": Key("Time for each attempt, from its start on a worker.", DURATION),
    "deadline": Key("Time for the whole step, retries included.", DURATION),
    "on_error": Key("Whether a failure fails the run (default) or counts as done.", {"enum": ["fail", "continue"]}),
    "checkpoint": Key("false: the result is not recorded.", {"type": "boolean"}),
}
"""The keys of a step."""

ACTIONS: Final = ("tool", "workflow", "wait", "sleep")
"""Exactly one of these says what a step does."""

_ANY_STEP: Final = frozenset({"name", "if", "foreach", "concurrency", "needs", "deadline", "on_error"})
KEYS_OF_ACTION: Final[dict[str, frozenset[str]]] = {
    "tool": frozenset(STEP) - {"workflow", "wait", "sleep"},
    "workflow": _ANY_STEP | {"workflow", "inputs", "outputs"},
    "wait": _ANY_STEP | {"wait", "outputs"},
    "sleep": _ANY_STEP | {"sleep"},
}
"""Which keys go with what a step does."""

WORKFLOW: Final[Table] = {
    "id": Key("The workflow's id, in kebab-case.", {"type": "string", "pattern": ID_PATTERN, "maxLength": 100}, required=True),
    "name": Key("Its name, for people.", _TEXT),
    "description": Key("What it does, for people.", _TEXT),
    "version": Key("Its version, for people.", _TEXT),
    "inputs": Key("What a run may be started with.", {"$ref": "#/$defs/input_specs"}),
    "steps": Key(
        "What it does, in order.",
        {"type": "array", "items": {"$ref": "#/$defs/step"}, "minItems": 1},
        required=True,
    ),
    "outputs": Key("The result of a run; without it, the outputs of the last step.", {"$ref": "#/$defs/outputs"}),
    "defaults": Key("What holds for every tool step that does not say otherwise.", {"$ref": "#/$defs/defaults"}),
    "timeout": Key("Time for a whole run.", DURATION),
    "max_parallel": Key("Attempts of a run at a time.", _COUNT),
    "finally": Key(
        "Steps that run last in any case, also after a failure or a cancel.",
        {"type": "array", "items": {"$ref": "#/$defs/step"}},
    ),
}
"""The keys of a workflow."""

LATER: Final = frozenset({"agent", "schedule", "on_start", "queue", "expose", "on_failure"})
"""Keys that the language has, and this version does not."""

TYPES: Final = ("string", "number", "integer", "boolean", "object", "array", "null")

INPUT: Final[Table] = {
    "name": Key("The input's name (in the list form).", _NAME),
    "type": Key("Its JSON type, or a list of them.", {"type": ["string", "array"]}),
    "default": Key("Its value if none is given."),
    "required": Key("Whether it must be given (default: unless there is a default).", {"type": "boolean"}),
    "description": Key("What it is, for people.", _TEXT),
}
"""The keys of a declared input, besides `SCHEMA_WORDS`."""

SCHEMA_WORDS: Final = frozenset(
    {
        "enum", "const", "title", "examples", "format", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum",
        "multipleOf", "minLength", "maxLength", "pattern", "items", "prefixItems", "contains", "minItems", "maxItems",
        "uniqueItems", "properties", "patternProperties", "additionalProperties", "propertyNames", "minProperties",
        "maxProperties", "anyOf", "oneOf", "allOf", "not", "if", "then", "else", "dependentRequired",
    }
)  # fmt: skip
"""Further words of JSON Schema (2020-12) that an input may use; `$ref` and its kin are left out."""

OUTPUT_NAME: Final[Table] = {
    "name": Key("The output's name (in the list form).", _NAME),
    "description": Key("What it is, for people.", _TEXT),
    "type": Key("Its type, for people.", {"type": ["string", "array"]}),
}

NAMED_VALUE: Final[Table] = {
    "name": Key("The name.", _TEXT, required=True),
    "value": Key("The value; texts in it may hold {{ expressions }}."),
    "description": Key("What it is, for people.", _TEXT),
    "type": Key("Its type, for people.", {"type": ["string", "array"]}),
}

RESERVED_IDS: Final = frozenset(
    {
        "runs", "workflows", "health", "ready", "metrics", "card", "docs", "openapi", "events", "signals", "mcp", "a2a",
        "well-known", "v1", "api", "goals", "peers", "skills", "tokens",
    }
)  # fmt: skip
"""First segments of fixed HTTP routes; no workflow has one of them as its id."""
