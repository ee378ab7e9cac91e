"""What predicting the cost of an instance is worth, on recorded runs: `polyswe lab costs`."""
