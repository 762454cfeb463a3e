"""The names of this program's own packages, and of the module for programs that use it."""

CODE = ("jobs", "schemas", "udfs")
PACKAGES = ("conf", *CODE)
MODULE = "reelmill"
