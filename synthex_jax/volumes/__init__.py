"""CT volumes: in memory, from files, from samples anyone can install."""
