"""Every number by name: the catalogue and the exporter."""
