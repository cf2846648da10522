"""Bringing a journal's schema up to date."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import create_engine

from shoal.stores.sqlite.schema import metadata


def bring_up_to_date(path: Path) -> None:
    """Make the tables that are not there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(f"sqlite:///{path}")
    metadata.create_all(engine)
    engine.dispose()
