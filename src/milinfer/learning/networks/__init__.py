"""The Keras networks behind :class:`milinfer.BagLikelihood`."""
