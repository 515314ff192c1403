"""Wan2.2 behind its commands: flags, requests, runs, comparisons."""
