"""The tests of a module share a database, emptied before each."""

from emptied import mongo_settings, shared_settings

__all__ = ["mongo_settings", "shared_settings"]
