"""Studies on recorded outcomes: calibration, pools, labels, signals, transfer, and their tables."""
