"""The `Link` header, written by anyone."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shipper.sources.link import next_link

SEVERAL = '<https://a/1>; rel="first", <https://a/2>; rel="next", <https://a/3>; rel="last"'


@pytest.mark.parametrize(
    ("values", "target"),
    [
        (['<https://a/x?from=1&take=2>; rel="next"'], "https://a/x?from=1&take=2"),
        (["<https://a/x>;rel=next"], "https://a/x"),
        (["<https://a/x> ; rel = next"], "https://a/x"),
        (["<https://a/x>; REL=NEXT"], "https://a/x"),
        ([SEVERAL], "https://a/2"),
        (['<https://a/1>; rel="prev"', '<https://a/2>; rel="next"'], "https://a/2"),
        (["", ",, <https://a/2>; rel=next"], "https://a/2"),
        (['<https://a/1>; title="x"; rel="next"'], "https://a/1"),
        (['<https://a/1>; rel="next"; title="x"'], "https://a/1"),
        (['<https://a/1>; rel="prefetch next"'], "https://a/1"),
        (['<https://a/1>; rel="next prev"'], "https://a/1"),
        (['<https://a/1>; rel="nextish"'], None),
        (['<https://a/1>; rel="prev"; rel="next"'], None),
        (['<https://a/1>; title="; rel=next"'], None),
        (['<https://a/1>; title="a, <https://evil/>; rel=next"; rel=prev'], None),
        (['<https://a/1>; title="a \\", <https://evil/>; rel=next"; rel=prev, <https://a/2>; rel=next'], "https://a/2"),
        (['<https://a/1>; title="back\\\\"; rel="next"'], "https://a/1"),
        (['<https://a/1>; rel="n\\ext"'], "https://a/1"),
        (["<https://a/1>; title*=UTF-8''%e2%82%ac; rel=next"], "https://a/1"),
        (["<https://a/1>; nofollow; rel=next"], "https://a/1"),
        (["< https://a/1 >; rel=next"], "https://a/1"),
        (["<>; rel=next"], ""),
        (["<https://a/1>"], None),
        (["<https://a/1; rel=next"], None),
        (["https://a/1; rel=next"], None),
        (['<https://a/1>; rel="next'], None),
        (['<https://a/1>; rel=prev what is this, <https://a/2>; rel="next"'], "https://a/2"),
        ([], None),
        ([""], None),
    ],
)
def test_the_first_link_whose_relations_hold_next_is_found(values: list[str], target: str | None) -> None:
    assert next_link(values) == target


@given(st.lists(st.text(alphabet='<>;,="\\ abrelnxt*\t\x00é', max_size=200) | st.text(max_size=50), max_size=4))
def test_no_header_makes_it_raise(values: list[str]) -> None:
    found = next_link(values)
    assert found is None or any(found in value for value in values)


@given(
    target=st.text(alphabet=st.characters(exclude_characters="<>", min_codepoint=33, max_codepoint=126), min_size=1),
    before=st.lists(st.sampled_from(['; title="a,b;c"', "; media=x", '; t="\\"<z>\\""', "; flag"]), max_size=4),
    after=st.lists(st.sampled_from(['; title="a,b;c"', "; rel=prev", '; t="\\"<z>\\""', "; flag"]), max_size=4),
    others=st.lists(st.sampled_from(['<u>; rel="prev"', '<v>; title="<w>; rel=next"', "<x>", ""]), max_size=3),
)
def test_whatever_stands_around_it_the_link_is_found(
    target: str, before: list[str], after: list[str], others: list[str]
) -> None:
    link = f'<{target}>{"".join(before)}; rel="next"{"".join(after)}'
    assert next_link([", ".join([*others, link])]) == target
    assert next_link([*others, link]) == target


@pytest.mark.parametrize(
    "piece", ["<", "<a>;", " ", '"', '\\"', ';a="', "<a>;b=c,", '<a>; x="\\', ",", "; ", ';a="\\\\"']
)
def test_a_header_made_to_be_slow_is_read_in_linear_time(piece: str) -> None:
    # Quadratic work on these 400 kB would be 10^11 steps: the test would not end.
    text = piece * (400_000 // len(piece))
    assert next_link([f'<a>; rel="prev"{text}']) is None
