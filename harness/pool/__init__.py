"""The pool through time: new models from few labels, and what each pool was worth."""
