"""The laboratory around the router: cross-fitting, null tests, curves, oracles, simulations."""
