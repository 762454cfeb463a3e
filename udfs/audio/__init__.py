"""The sound of a file: choose a track, read it, copy it or encode it."""
