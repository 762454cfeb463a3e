"""How the pending work of a stage is found and run."""
