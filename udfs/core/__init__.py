"""What every module may use: errors, limits, resources, devices, scheduling, shared locks."""
