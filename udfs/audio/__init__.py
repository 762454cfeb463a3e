"""Sound: choose the audio track of a file, read it, and copy or encode it."""
