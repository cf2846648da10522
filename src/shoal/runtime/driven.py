"""A run that this orchestrator drives."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from shoal.engine.decider import RunEngine
from shoal.model.ids import AttemptId, RunId, StepPath
from shoal.model.run import Change, RunRecord, RunSpec
from shoal.model.tools import ToolLock, ToolRequest

EPOCH: Final = datetime.fromtimestamp(0, UTC)


@dataclass(slots=True, eq=False)
class Driven:
    """A run under this orchestrator's lease.

    Attributes:
        epoch: Of the lease of its root.
        root: The run at the top of its tree; itself, if it is no sub-workflow.
        engine: None until its tools are pinned.
        locks: The tools pinned for the whole tree; kept at the root.
        tree: At the root: every run of the tree that is being driven, itself included.
        attempts: Attempts handed to the executor: where they belong, for logs.
        pending: Changes of the orchestrator's own that go into the next commit.
        canceled_children: At the root: sub-workflows that are to be canceled, also those still being opened.
        taken_at: At the root: when its lease was taken.
        automatic: At the root: whether it was taken over from an owner that died.
        inbox_seen: Commands up to this sequence number have been handed in.
        left: Set when it is no longer driven.
        over: Its end is among the pending changes.
        parking: It is being given back; nothing new is dispatched.
        park: Whether it waits for an explicit resume then.
        accept_tool_change: Whether a resume goes on with tools that changed in the base environment.
    """

    record: RunRecord
    spec: RunSpec
    epoch: int
    root: Driven = None  # type: ignore[assignment]  # set to itself below
    engine: RunEngine | None = None
    locks: dict[ToolRequest, ToolLock] = field(default_factory=dict["ToolRequest", "ToolLock"])
    tree: dict[RunId, Driven] = field(default_factory=dict["RunId", "Driven"])
    attempts: dict[AttemptId, tuple[StepPath, int]] = field(default_factory=dict["AttemptId", "tuple[StepPath, int]"])
    pending: list[Change] = field(default_factory=list["Change"])
    canceled_children: set[RunId] = field(default_factory=set["RunId"])
    taken_at: datetime = EPOCH
    automatic: bool = False
    inbox_seen: int = 0
    left: asyncio.Event = field(default_factory=asyncio.Event)
    over: bool = False
    parking: bool = False
    park: bool = True
    accept_tool_change: bool = False

    def __post_init__(self) -> None:
        """Make a run without a parent the root of its tree."""
        if self.root is None:  # pyright: ignore[reportUnnecessaryComparison]
            self.root = self
        self.root.tree[self.id] = self

    @property
    def id(self) -> RunId:
        """Return the id of the run."""
        return self.record.id
