"""What `import reelmill` offers: an output as Python objects, and the jobs as functions."""
