"""Validates bodies against the JSON schemas beside this package, which were written from RFC 7285, RFC 8189, RFC 8895 and
the drafts."""
import json
import pathlib

import jsonschema
import referencing

from .report import equal

FOLDER = pathlib.Path(__file__).parent.parent / "schemas"
DOCUMENTS = {path.name: json.loads(path.read_text()) for path in sorted(FOLDER.glob("*.json"))}
REGISTRY = referencing.Registry().with_resources(
    (name, referencing.Resource.from_contents(document)) for name, document in DOCUMENTS.items()
)
VALIDATORS = {
    f"application/alto-{media}+json": jsonschema.Draft202012Validator(DOCUMENTS[f"{name}.json"], registry=REGISTRY)
    for media, name in {
        "directory": "directory",
        "networkmap": "network-map",
        "costmap": "cost-map",
        "endpointcost": "endpoint-cost",
        "endpointprop": "endpoint-properties",
        "error": "error",
        "tips": "tips",
        "updatestreamcontrol": "update-control",
        "transport": "transport-queue",
    }.items()
}
# Messages of a WebSocket have no media type of their own.
VALIDATORS["websocket update"] = jsonschema.Draft202012Validator(DOCUMENTS["websocket-update.json"], registry=REGISTRY)


def no_duplicates(pairs):
    """RFC 8259 leaves duplicate member names open; an ALTO client could not tell which one counts."""
    members = dict(pairs)
    assert len(members) == len(pairs), f"duplicate member names among {[name for name, _ in pairs][:20]}"
    return members


def parse(body, media_type):
    """The JSON value of `body`, valid for the schema of `media_type`."""
    value = json.loads(body, object_pairs_hook=no_duplicates)
    error = jsonschema.exceptions.best_match(VALIDATORS[media_type].iter_errors(value))
    if error is not None:
        place = "/".join(str(step) for step in error.absolute_path)
        raise AssertionError(f"not valid for {media_type} at /{place}: {error.message[:300]}")
    return value


def parse_error(content_type, body, code=None, field=None):
    """The `meta` of an ALTO error body (RFC 7285 section 8.5)."""
    equal(content_type, "application/alto-error+json", "content-type")
    meta = parse(body, "application/alto-error+json")["meta"]
    if code:
        equal(meta["code"], code, "meta.code")
    if field:
        equal(meta.get("field"), field, "meta.field")
    return meta
