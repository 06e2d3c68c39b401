"""Read and write event files: LHE, ROOT, Parquet and flat tables."""
