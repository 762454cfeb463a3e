"""The commands, one file each, that spark-submit can run: the first line of each says which tables it reads and writes."""
