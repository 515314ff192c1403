"""Every file format that comes in: checkpoints in their layouts, and the names in them."""
