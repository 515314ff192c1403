"""The two command lines, `mg` and `wan22`: terminal, files, progress. No tensor math lives here."""
