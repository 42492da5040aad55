"""The Link header, by an enemy: whatever it says, the next request goes where it may."""

from urllib.parse import urlsplit

from fuzz_case import fuzz
from hypothesis import strategies as st

from shipper.sources.chain import PATH, Checkpoint, from_of
from shipper.sources.link import next_link
from shipper.sources.start import is_log_id

HOST = "acme.us.auth0.com"
LAST = "90020261122023356278000000000000001223372036854775807"
START = Checkpoint("9" * 56)
_pieces = st.sampled_from([
    "<", ">", ";", ",", '"', "\\", " ", "\t", "\r\n", "\x00", "=", "rel=next", 'rel="next"', "rel*=next",
    'rel="prev next"',
    f"https://{HOST}{PATH}?from={LAST}&take=100", f"https://{HOST}", "https://", "http://", "//",
    "evil.example", "@", ":",
    "443", PATH, "/..", "/%2e%2e", "?", "#", "&", "from=", LAST, "٣" * 56, "take=", "take=5", "take=100", "take=-1",
    "per_page=5", "q=", "%0d%0a", "%00", "%ff", "é", "\udcff", "[::1]", "[", "javascript:", '"', "include_totals=true",
])  # fmt: skip
_noise = st.text(max_size=20)
_header = st.lists(_pieces | _noise, max_size=14).map("".join)
_links = st.builds("<{}>; rel=next".format, _header)


@fuzz(st.lists(_header | _links, max_size=3))
def test_no_header_raises_or_leads_out_of_the_logs(values: list[str]) -> None:
    found = next_link(values)
    assert found is None or any(found in value for value in values)
    following = START.by_link(values, frozenset({HOST}))
    if following is None:
        return
    for take in (1, 50, 100):
        target = following.target(take)
        assert target.startswith(f"{PATH}?")
        assert all("!" <= character <= "~" for character in target), target
        parts = urlsplit(f"https://{HOST}{target}")
        assert (parts.scheme, parts.netloc, parts.path) == ("https", HOST, PATH)
        # `#` would hide the rest of the query from the server.
        assert parts.fragment == ""


@fuzz(st.lists(_header | _links, max_size=3))
def test_every_place_that_a_link_leads_to_survives_the_journal(values: list[str]) -> None:
    following = START.by_link(values, frozenset({HOST}))
    if following is not None:
        assert Checkpoint.decode(following.encode()) == following
        assert is_log_id(following.last), "a request without the link could not be made"
        assert from_of(following.link) in (following.last, from_of(following.target(100)))
