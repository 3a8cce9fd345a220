# Varnish as a cache in front of TIPS, where each edge is asked for once however many clients poll, and of the maps, as long as the server
# says that they hold.
vcl 4.1;

backend default {
    .host = "127.0.0.1";
    .port = "6671";
    # A poll for an edge that is still to come is held for 50 s.
    .first_byte_timeout = 90s;
    .between_bytes_timeout = 90s;
}

sub vcl_recv {
    # WebSockets and update streams are not for a cache.
    if (req.http.Upgrade ~ "(?i)websocket" || req.method == "POST") {
        return (pipe);
    }
    if (req.url !~ "^/tips/[^/]+/ug/" && req.url !~ "^/resources/") {
        return (pass);
    }
    unset req.http.Cookie;
    return (hash);
}

sub vcl_pipe {
    if (req.http.Upgrade) {
        set bereq.http.Upgrade = req.http.Upgrade;
        set bereq.http.Connection = req.http.Connection;
    }
}

sub vcl_backend_response {
    # A refusal may be wrong a moment later. It must not make Varnish pass all later requests for the edge, either: no hit-for-miss.
    if (bereq.url ~ "^/tips/[^/]+/ug/" && beresp.status != 200) {
        set beresp.ttl = 0s;
        set beresp.grace = 0s;
        set beresp.keep = 0s;
        return (deliver);
    }
    if (bereq.url ~ "^/resources/") {
        # Not a second longer than the server said. After that it is asked whether the map changed, for a 304 without a body.
        set beresp.grace = 0s;
        set beresp.keep = 1h;
    }
}
