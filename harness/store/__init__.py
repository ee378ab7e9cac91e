"""What a run keeps: its cells in SQLite, its folder, and the outcome matrix made from them."""
