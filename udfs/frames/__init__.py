"""Which frames of a video are used, and at which size."""
