"""Here so that pytest puts the checkout on the import path."""
