"""Engines: what runs an exported network. Each is imported only when it is opened."""

from models.engines.base import Engine
from models.engines.opening import engines_installed, open_engine

__all__ = ["Engine", "engines_installed", "open_engine"]
