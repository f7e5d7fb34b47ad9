"""The command line: `synthex`."""
