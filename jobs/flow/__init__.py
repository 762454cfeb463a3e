"""How the pending inputs of a stage are selected and processed."""
