"""milinfer."""
