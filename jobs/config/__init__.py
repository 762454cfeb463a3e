"""Settings, command-line arguments, and the errors that end a run."""
