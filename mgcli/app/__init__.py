"""What both command lines share: console, errors, options, presets, devices, downloads, recordings."""
