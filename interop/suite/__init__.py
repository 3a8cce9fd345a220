"""Programs nobody here wrote against the built altocast: curl, nghttp, and a Python client on httpx."""
