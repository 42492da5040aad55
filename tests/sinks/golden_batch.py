"""The fixed batch behind the golden files: handmade events, odd ones included."""

from shipper import Batch, Event, Origin

_EVENTS = (
    # As Auth0 sends it most days.
    (
        "90020260102030405678000000000000000001223372036854775808",
        "2026-01-02T03:04:05.678Z",
        b'{"date":"2026-01-02T03:04:05.678Z","type":"s","client_id":"made-up","user_name":"ada@example.com",'
        b'"log_id":"90020260102030405678000000000000000001223372036854775808","isMobile":false}',
    ),
    # Has a tenant_name of its own; numbers, order and escapes that decoding would lose.
    (
        "90020260102030406000000000000000000001223372036854775809",
        "2026-01-02T04:04:06.5+01:00",
        b'{"tenant_name":"other","z":1,"a":123456789012345678901234567890,"f":1.10,"e":1E400,"u":"J\\u00fcrgen"}',
    ),
    # `date` is missing, Unicode as it is, a description that looks like JSON.
    (
        "90020260102030407",
        "",
        '{"name":"Jürgen 🦉","description":"{\\"a\\":1}","details":{"tenant_name":"x"}}'.encode(),
    ),
    # Nothing at all, and white space between tokens.
    ("odd-1", "no date", b"{}"),
    ("odd-2", "2026-01-02T03:04:08Z", b'{ "type" : "f" , "list" : [ 1 , 2 ] }'),
    # An id with characters that need escapes; half a surrogate pair; a bare NaN, which is not JSON.
    ('id "quoted" \ud83e', "2026-01-02T03:04:09.999Z", b'{"text":"cut \\ud83e","score":NaN}'),
    # An element that is no object.
    ("sha256-" + "0123456789abcdef" * 4, "", b'"just a string"'),
)


def golden_batch() -> Batch:
    """The batch, made anew."""
    events = [
        Event(id=id_, time=1_767_323_045_000 + index, date=date, type="s", raw=raw)
        for index, (id_, date, raw) in enumerate(_EVENTS)
    ]
    origin = Origin(name="acme", type="auth0", host="acme.us.auth0.com", tenant="acme")
    return Batch(source=origin, events=events, now=1_767_323_100_000)
