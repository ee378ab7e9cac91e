"""Where cells run. An engine gets cells and the two stages of work; it decides only when and where each stage runs."""
