"""What every module may use: errors, limits, task resources, GPU devices, scheduling, heartbeats, shared locks."""
