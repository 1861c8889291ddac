"""The options of each command, a file each: only those of the command that is called are imported."""
