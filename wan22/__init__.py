"""Wan2.2 A14B: two experts and the plan that says which works when, on how many frames, with how many branches."""
