"""Events at known parameter points: samples, their files, weights and bags."""
