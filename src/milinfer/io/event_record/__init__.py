"""The event record that all file formats share."""
