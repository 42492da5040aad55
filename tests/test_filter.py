"""`[sinks.NAME.filter]`: which types of events a sink gets."""

import pytest
from pydantic import ValidationError

from shipper.shape.filter import TYPES_REMEMBERED, Filter

TYPES = ["s", "fp", "seccft", "sapi", "gd_auth_failed", "brand_new", "Interaction.SignIn.Submit", ""]


def taken(**lists: list[str]) -> str:
    wants = Filter(**lists).wants()
    assert wants is not None
    return " ".join(one or "-" for one in TYPES if wants(one))


@pytest.mark.parametrize(
    ("lists", "expected"),
    [
        ({"include_types": ["fp", "brand_new"]}, "fp brand_new"),
        ({"include_types": ["Interaction.*", ""]}, "Interaction.SignIn.Submit -"),
        ({"exclude_types": ["s*", "Inter*"]}, "fp gd_auth_failed brand_new -"),
        ({"include_categories": ["auth.login.fail"]}, "fp"),
        ({"include_categories": ["auth.login"]}, "s fp Interaction.SignIn.Submit"),
        ({"include_categories": ["auth"]}, "s fp seccft Interaction.SignIn.Submit"),
        ({"include_categories": ["other"]}, "gd_auth_failed brand_new -"),
        ({"exclude_categories": ["other", "management"]}, "s fp seccft Interaction.SignIn.Submit"),
        ({"include_categories": ["auth.login"], "include_types": ["sapi"]}, "s fp sapi Interaction.SignIn.Submit"),
        ({"include_categories": ["auth"], "exclude_types": ["seccft"]}, "s fp Interaction.SignIn.Submit"),
        ({"include_types": ["fp"], "exclude_categories": ["auth.login.fail"]}, ""),
    ],
)
def test_who_is_named_by_an_include_and_by_no_exclude_is_wanted(lists: dict[str, list[str]], expected: str) -> None:
    assert taken(**lists) == expected


def test_without_any_list_nobody_is_asked() -> None:
    assert Filter().wants() is None
    assert not Filter().is_set


def test_types_are_written_by_strangers_and_not_all_remembered() -> None:
    wants = Filter(include_types=["s"]).wants()
    assert wants is not None
    assert not any(wants(str(number)) for number in range(TYPES_REMEMBERED * 2))
    assert wants.cache_info().currsize == TYPES_REMEMBERED  # type: ignore[attr-defined]


def test_a_category_must_exist_and_a_type_need_not() -> None:
    with pytest.raises(ValidationError, match=r"must name categories .* did you mean auth\.login\?"):
        Filter(include_categories=["auth.logn"])
    with pytest.raises(ValidationError) as caught:
        Filter(exclude_categories=["zzz"])
    assert "did you mean" not in str(caught.value)
    doubtful = Filter(
        include_types=["fp", "fpp", "gd_*", "\x1b"], exclude_types=["zzzzzz", "Interaction.SignIn.Submit"]
    )
    assert doubtful.doubts() == [
        "no type fpp is known; did you mean fp?",
        "no type \\x1b is known",
        "no type zzzzzz is known",
    ]


def test_a_category_that_tells_an_outcome_is_doubted_where_logtos_events_go_through() -> None:
    filter_ = Filter(
        include_categories=["auth.login.fail", "auth.login", "management.success"], exclude_categories=["user.fail"]
    )
    assert filter_.doubts(["auth0"]) == []
    assert filter_.doubts({"auth0", "logto"}) == [
        f"no event of Logto's is in {one}.fail: its keys don't tell how it came out; {one} has them all"
        for one in ("auth.login", "user")
    ]
