"""Which Link is followed, and what is asked then. Only its path and query are ever used."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shipper.event import Event
from shipper.sources.chain import MAX_LINK_BYTES, Checkpoint, highest_id, horizon_behind
from shipper.sources.start import embedded_time

ID = "90020261101000000123456000000000000001223372036854775808"
LATER = "90020261101000001123456000000000000001223372036854775808"
OLD_ID = "5f1e5a2b9d1c4e0017a0b1c2"
HOSTS = frozenset({"acme.us.auth0.com", "logs.acme.example", "127.0.0.1:8080"})
HERE = Checkpoint(ID)
PATH = "/api/v2/logs"


def led_by(target: str) -> Checkpoint | None:
    return HERE.by_link([f'<{target}>; rel="next"'], HOSTS)


@pytest.mark.parametrize(
    ("target", "asked"),
    [
        (f"https://acme.us.auth0.com{PATH}?from={LATER}&take=100", f"{PATH}?from={LATER}&take=100"),
        (f"https://ACME.us.Auth0.com{PATH}?from={LATER}&take=100", f"{PATH}?from={LATER}&take=100"),
        (f"http://acme.us.auth0.com{PATH}?from={LATER}&take=100", f"{PATH}?from={LATER}&take=100"),
        (f"https://acme.us.auth0.com:443{PATH}?from={LATER}", f"{PATH}?from={LATER}"),
        (f"http://logs.acme.example:80{PATH}?from={LATER}", f"{PATH}?from={LATER}"),
        (f"http://127.0.0.1:8080{PATH}?from={LATER}&take=7", f"{PATH}?from={LATER}&take=100"),
        (f"{PATH}?from={LATER}&take=100", f"{PATH}?from={LATER}&take=100"),
        (f"//logs.acme.example{PATH}?take=50&from={LATER}", f"{PATH}?take=100&from={LATER}"),
        (f"https://acme.us.auth0.com{PATH}?cursor=b3BhcXVl%3D%3D&v=2", f"{PATH}?cursor=b3BhcXVl%3D%3D&v=2"),
        (f"https://acme.us.auth0.com{PATH}?from=opaque-token&take=100", f"{PATH}?from=opaque-token&take=100"),
        (f"https://acme.us.auth0.com{PATH}?from={LATER}#top", f"{PATH}?from={LATER}"),
    ],
)
def test_a_link_to_the_tenants_log_is_followed_by_its_path_and_query(target: str, asked: str) -> None:
    following = led_by(target)
    assert following is not None
    assert following.target(100) == asked


@pytest.mark.parametrize(
    "target",
    [
        f"https://evil.example{PATH}?from={LATER}",
        f"https://acme.us.auth0.com.evil.example{PATH}?from={LATER}",
        f"https://evil.example\\@acme.us.auth0.com{PATH}?from={LATER}",
        f"https://acme.us.auth0.com:8443{PATH}?from={LATER}",
        f"http://acme.us.auth0.com:443{PATH}?from={LATER}",
        f"https://acme.us.auth0.com:bad{PATH}?from={LATER}",
        f"https://user@acme.us.auth0.com{PATH}?from={LATER}",
        f"https://user:secret@acme.us.auth0.com{PATH}?from={LATER}",
        f"https://acme.us.auth0.com@evil.example{PATH}?from={LATER}",
        f"//evil.example{PATH}?from={LATER}",
        f"ftp://acme.us.auth0.com{PATH}?from={LATER}",
        f"file://{PATH}?from={LATER}",
        f"javascript:{PATH}?from={LATER}",
        f"https://acme.us.auth0.com/api/v2/users?from={LATER}",
        f"https://acme.us.auth0.com{PATH}/?from={LATER}",
        f"https://acme.us.auth0.com{PATH}/../users?from={LATER}",
        f"https://acme.us.auth0.com/api/v2/%6cogs?from={LATER}",
        f"https://acme.us.auth0.com/{PATH}?from={LATER}",
        f"https://acme.us.auth0.com{PATH}",
        f"https://acme.us.auth0.com{PATH}?take=100",
        f"https://acme.us.auth0.com{PATH}?from=&take=100",
        f"https://acme.us.auth0.com{PATH}?per_page=50&page=0&sort=date:1&q=x&include_totals=true",
        f"https://acme.us.auth0.com{PATH}?from={LATER}\r\nX-Evil: 1",
        f"https://acme.us.auth0.com{PATH}?from={LATER}\r\nX-Evil:1",
        f"https://acme.us.auth0.com{PATH}?from=\t{LATER}",
        f"https://acme.us.auth0.com{PATH}?from={LATER}&a=b c",
        f"https://acme.us.auth0.com{PATH}?from={LATER}&a=\x00",
        f"https://acme.us.auth0.com{PATH}?from={LATER}&a=é",
        f'https://acme.us.auth0.com{PATH}?from={LATER}&a="',
        f"https://acme.us.auth0.com{PATH}?from={LATER}&a=" + "x" * MAX_LINK_BYTES,
        f"https://[acme{PATH}?from={LATER}",
        "",
        "?",
        f"?from={LATER}",
    ],
)
def test_a_link_that_leads_elsewhere_is_not_followed(target: str) -> None:
    assert led_by(target) is None


def test_a_link_of_four_kilobytes_is_followed_and_one_more_byte_is_not() -> None:
    start = f"https://acme.us.auth0.com{PATH}?from={LATER}&a="
    fits = start + "x" * (MAX_LINK_BYTES - len(start))
    assert len(fits) == MAX_LINK_BYTES == 4096
    assert led_by(fits) is not None
    assert led_by(fits + "x") is None


def test_no_link_or_another_relation_leads_nowhere() -> None:
    assert HERE.by_link([], HOSTS) is None
    assert HERE.by_link([f'<https://acme.us.auth0.com{PATH}?from={LATER}>; rel="last"'], HOSTS) is None


@given(st.text(max_size=80) | st.text(max_size=30).map(lambda text: f"https://acme.us.auth0.com{PATH}?from=1&{text}"))
def test_whatever_is_accepted_asks_for_nothing_but_the_log(target: str) -> None:
    following = led_by(target)
    if following is not None:
        asked = following.target(100)
        assert asked.startswith(f"{PATH}?")
        assert asked.isascii()
        assert asked.isprintable()
        assert " " not in asked


@pytest.mark.parametrize(
    ("link", "take", "asked"),
    [
        (f"{PATH}?from={LATER}&take=100", 25, f"{PATH}?from={LATER}&take=25"),
        (f"{PATH}?take=100&from={LATER}", 25, f"{PATH}?take=25&from={LATER}"),
        (f"{PATH}?from=mistake=7&take=100", 25, f"{PATH}?from=mistake=7&take=25"),
        (f"{PATH}?cursor=abc", 100, f"{PATH}?cursor=abc"),
        (f"{PATH}?cursor=abc", 25, f"{PATH}?from={ID}&take=25"),
        ("", 25, f"{PATH}?from={ID}&take=25"),
    ],
)
def test_the_number_of_events_is_always_ours(link: str, take: int, asked: str) -> None:
    assert Checkpoint(ID, link).target(take) == asked


@pytest.mark.parametrize("checkpoint", [Checkpoint(ID), Checkpoint(OLD_ID, f"{PATH}?cursor=abc")])
def test_a_checkpoint_survives_the_journal(checkpoint: Checkpoint) -> None:
    assert Checkpoint.decode(checkpoint.encode()) == checkpoint


def some(*ids: str) -> list[Event]:
    return [Event(id_, embedded_time(id_) or 5, "", "", b"{}") for id_ in ids]


def test_without_a_link_the_chain_goes_on_behind_the_last_event_that_has_a_position() -> None:
    assert HERE.by_last_event(some(ID, LATER)).target(100) == f"{PATH}?from={LATER}&take=100"
    assert HERE.by_last_event(some(LATER, "sha256-00")).target(100) == f"{PATH}?from={LATER}&take=100"
    assert HERE.by_last_event(some(OLD_ID)).target(100) == f"{PATH}?from={OLD_ID}&take=100"
    assert Checkpoint(ID, f"{PATH}?cursor=a").by_last_event(some("sha256-00")) == Checkpoint(ID)


def test_behind_an_opaque_link_the_last_event_is_kept_as_a_position_to_fall_back_on() -> None:
    opaque = Checkpoint(ID, f"{PATH}?cursor=abc")
    assert opaque.behind(some(LATER, "sha256-00")) == Checkpoint(LATER, opaque.link)
    assert opaque.behind(some("sha256-00")) == opaque
    plain = Checkpoint(LATER, f"{PATH}?from={LATER}&take=100")
    assert plain.behind(some(ID)) == plain


def test_only_positions_of_one_length_are_before_each_other() -> None:
    assert Checkpoint(ID).before(Checkpoint(LATER))
    assert not Checkpoint(LATER).before(Checkpoint(ID))
    assert not Checkpoint(ID).before(Checkpoint(ID))
    assert not Checkpoint(OLD_ID).before(Checkpoint(ID))


def test_the_horizon_behind_a_page_is_the_time_of_its_last_position() -> None:
    assert horizon_behind(some(ID, LATER, "sha256-00")) == embedded_time(LATER)
    assert horizon_behind(some("sha256-00")) == 5


def test_the_highest_id_is_a_position_of_the_longest_form() -> None:
    assert highest_id(some(LATER, ID, OLD_ID, "sha256-" + "f" * 64)) == LATER
    assert highest_id(some(OLD_ID)) == OLD_ID
    assert highest_id(some("sha256-00")) == ""
