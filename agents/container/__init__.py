"""The instance's container: commands, captured output, limits, hidden history."""
