"""Video files: writer, encoder (ffmpeg), fragments, reader."""
