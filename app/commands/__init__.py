"""One module per subcommand: `add_parser` describes it, `run` does it and returns the exit code."""
