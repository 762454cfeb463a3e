"""The commands, one file each: the first line of a file says which tables it reads and writes."""
