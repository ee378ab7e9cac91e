"""The commands, one file per use: parse, call, print. What is heavy is imported inside: --help answers at once."""
