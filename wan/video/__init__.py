"""Video files: writer, fragments, reader."""
