"""Model weights on disk, and the networks that load them."""
