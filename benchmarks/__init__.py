"""Ours against a named peer, in one process on one pinned thread; each module prints one JSON line."""
