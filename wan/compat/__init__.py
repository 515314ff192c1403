"""What code written against the official classes passes, behind our interfaces."""
