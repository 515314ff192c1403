"""One verb a file: resolve the request, import the library, drive a generator, report."""
