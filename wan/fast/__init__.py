"""The models made fast: same weights, same calls, equal results; and what is put around a finished model."""
