"""Programs nobody here wrote against the built altocast: curl, nghttp, Node, Chromium, nginx, Varnish, Autobahn, and clients from PyPI."""
