"""The status page as a person on call has it: in Chromium, from the daemon, on a phone, by keyboard, in the dark."""

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from daemon_case import SECRETS, SUCCESS, Daemon, TenantThread
from page_case import (
    AT,
    HELD_BY_AUTH,
    Watched,
    chromium,
    everything_wrong,
    fine,
    lane,
    many,
    newest,
    one_down,
    part,
    source,
)
from page_case import status as answer
from playwright.sync_api import Browser, Page
from tool_case import tool

from shipper.health import STATES
from shipper.scripted import Destination, Reply
from shipper.simulator.tenant import Tenant

LINE = "document.querySelector('#behind-chart .line').getAttribute('d')"
PHONE = {"width": 360, "height": 740}
REFUSED = Reply(403, b'{"text":"Invalid token","code":4}')


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with chromium(tool("chromium"), tmp_path_factory.mktemp("profile")) as found:
        yield found


@pytest.fixture
def look(browser: Browser) -> Iterator[Any]:
    opened: list[Watched] = []

    def at(answers: Any = None, **how: Any) -> Watched:
        opened.append(Watched(browser, answers, **how))
        if answers is not None:
            opened[-1].open()
        return opened[-1]

    yield at
    for watched in opened:
        watched.page.close()


# -- from a daemon -----------------------------------------------------------------------------------------------------


def test_a_sink_is_down_is_mended_the_daemon_is_gone_and_comes_back(tmp_path: Path, look: Any) -> None:
    client: dict[str, Any] = {"client_id": "canary-client", "client_secret": SECRETS["client_secret"], "plan": "none"}
    with (
        TenantThread(Tenant(count=700, **client)) as tenant,
        Destination(default=REFUSED) as destination,
        socket.create_server(("127.0.0.1", 0)) as free,
    ):
        daemon = Daemon(tmp_path, tenant.url, destination.url)
        port = free.getsockname()[1]
        free.close()
        daemon.config.write_text(daemon.config.read_text().replace('"127.0.0.1:0"', f'"127.0.0.1:{port}"'))
        daemon.start()
        daemon.until(lambda: len(daemon.lines) == 700 and daemon.records("held"))
        watched = look()
        page = watched.open(daemon.address)
        watched.headline("siem is held")
        card = watched.text(".card")
        assert "auth" in card
        assert "The credentials are not accepted" in card
        assert "700 events wait" in card
        assert page.locator(".card code").all_inner_texts() == ["shipper retry siem"]
        assert "running" in watched.text("#source-acme tr:first-child .sink")
        page.evaluate("window.same = true")

        destination.default = SUCCESS
        assert daemon.command("retry", "siem").returncode == 0
        watched.ask()
        watched.headline("Everything runs")
        assert watched.text("#source-acme").count("700 in all") == 2
        assert page.locator(".card").count() == 0

        daemon.kill()
        watched.headline("The daemon does not answer")
        page.wait_for_function("/^no status for [1-9]/.test(document.getElementById('clock').textContent)")
        assert "UTC" in watched.text("#subline")
        said = [line for line in watched.said if "ERR_CONNECTION_REFUSED" not in line]
        daemon.start()
        watched.headline("Everything runs")
        assert page.evaluate("window.same")
        assert said == []
        asked = {url.partition("?")[0].removeprefix(daemon.address) for url in watched.asked}
        assert asked == {"/", "/api/status"}
        assert daemon.stop() == 0


# -- what it says ------------------------------------------------------------------------------------------------------


def test_lanes_of_one_sink_with_one_reason_are_one_thing_to_do(look: Any) -> None:
    watched = look(one_down())
    watched.headline("siem is held")
    assert watched.text("#subline") == "Someone has to act. 4 of 6 lanes go on. 41,622 events wait in the journal."
    first, second = watched.page.locator(".card").all_inner_texts()
    assert "both lanes: acme and beta" in first
    assert HELD_BY_AUTH["note"] in first
    assert "held · auth · 12 min, since 10:54" in first
    assert "14 dead letters" in second
    assert "shipper dead list --sink observability" in second


def test_the_worst_stands_first_and_every_state_has_its_word_and_its_shape(look: Any) -> None:
    watched = look(everything_wrong())
    page = watched.page
    words = page.locator(".card .word").all_inner_texts()
    assert [word.split(" · ")[0] for word in words] == [
        "held", "held", "too late", "paused", "waiting", "behind", "3 dead letters", "not in use", "gap",
    ]  # fmt: skip
    shown = page.evaluate(
        "[...document.querySelectorAll('#lanes .state')].map("
        "n => [n.lastElementChild.textContent.split(' ')[0], n.querySelector('use').getAttribute('href')])"
    )
    assert {tuple(one) for one in shown} == {(state, f"#{state}") for state in STATES}
    assert "full: reading is paused" in watched.text("#tiles")
    assert "2 gaps" in watched.text("#source-beta")


def test_the_headline_says_what_matters(look: Any) -> None:
    watched = look(fine())
    watched.headline("Everything runs")
    watched.ask(answer([source("acme")], [lane("acme", "siem", dead_letters=3, dead_lettered={"refused": 3})]))
    watched.headline("Everything runs; one thing wants a look")
    watched.ask(answer([source("acme")], [lane("acme", "siem", lag_events=60_000, lag_seconds=1_400.0)]))
    watched.headline("siem is behind")


def test_nobody_is_reassured_who_was_woken_by_an_alert(look: Any) -> None:
    trouble = part("unreachable", note="no connection", secs=300.0)
    watched = look(answer([source("acme", trouble, lag_seconds=300.0)], [lane("acme", "siem")]))
    watched.headline("acme waits and tries again")
    rest = "Nothing new comes from acme. All lanes deliver. Nothing waits in the journal."
    assert watched.text("#subline") == f"Nobody has to act yet. {rest}"
    watched.ask(answer([source("acme", trouble, lag_seconds=901.0)], [lane("acme", "siem")]))
    watched.page.get_by_text(f"It has lasted too long: someone should look. {rest}").wait_for()
    watched.ask(answer([source("acme")], [lane("acme", "siem", trouble, lag_events=7, lag_seconds=901.0)]))
    watched.headline("siem waits and tries again")
    assert "someone should look. No lane delivers. 7 events wait in the journal." in watched.text("#subline")
    # A first start reads what is a day old, and that its sink is away for a moment is no reason to get up.
    trouble = part("unreachable", note="no connection", secs=20.0)
    watched.ask(answer([source("acme")], [lane("acme", "siem", trouble, lag_events=7, lag_seconds=80_000.0)]))
    watched.page.get_by_text("Nobody has to act yet. No lane delivers.").wait_for()


def test_what_is_not_in_force_reaches_nobody_or_has_not_begun_is_told(look: Any) -> None:
    watched = look(fine() | {"reload_refused": True})
    watched.headline("Everything runs; one thing wants a look")
    assert "Configuration reload refused" in watched.text(".card")
    assert watched.page.locator(".card a[href]").count() == 0
    watched.ask(answer([source("acme"), source("beta")], [lane("acme", "siem")]))
    watched.page.get_by_text("No sink that is in use takes what is read here.").wait_for()
    assert watched.text("#source-beta .sink") == "no sink"
    watched.ask(answer([source("acme")], []))
    watched.headline("Nothing is delivered")
    watched.ask(answer([source("acme", lag_seconds=None)], [lane("acme", "siem", lag_seconds=None)], samples=0))
    watched.headline("Nothing was read yet")
    assert "nothing read yet" in watched.text("#source-acme")


def test_a_backlog_that_shrinks_has_an_end(look: Any) -> None:
    answers = answer([source("acme")], [lane("acme", "siem", lag_events=6_000, lag_seconds=400.0)])
    answers["history"]["lanes"][0]["lag_events"] = [6_000 + 100 * back for back in range(60, 0, -1)]
    assert "caught up in about 10 min" in look(answers).text("#source-acme")


def test_charts_show_what_was_before_the_page_was_opened_and_only_ask_for_what_is_new(look: Any) -> None:
    answers = fine()
    watched = look(answers)
    assert watched.page.evaluate(LINE).count("L") == 60
    assert "10/s now" in watched.text("#rate-chart .legend")
    assert watched.text("#minutes-title") == "Last 10 minutes"
    newest = answers["history"]["times"][-1]
    nothing_new = {**answers["history"], "whole": False, "times": [], "sources": [], "lanes": []}
    watched.ask({**answers, "history": nothing_new})
    assert [url.partition("?")[2] for url in watched.asked[1:]] == ["after=0", f"after={newest}"]
    assert watched.page.evaluate(LINE).count("L") == 60


def test_what_came_in_is_told_by_outcome_and_category_the_most_failures_first(look: Any) -> None:
    watched = look(one_down())
    assert watched.text("#newest-list li:first-child") == (
        "beta 1,000 events 690 succeeded · 110 failed · 200 neither"
        " mostly auth.login.success (500), auth.token_exchange.success (150) and auth.login.fail (110)"
    )
    widths = watched.page.eval_on_selector_all(
        "li:first-child .outcomes span", "all => all.map(one => one.style.width)"
    )
    assert widths == ["69%", "11%", "20%", "0%"]
    watched.ask(many())
    assert watched.page.locator("#newest-list li").count() == 8
    assert watched.text("#newest-more") == "and 42 more sources, where a smaller part fails"
    watched.ask({**fine(), "newest": [{**newest("acme", failure=0), "events": 0}]})
    watched.page.wait_for_selector("#newest", state="hidden")


def test_an_answer_that_is_no_status_is_told_and_its_figures_stay(look: Any) -> None:
    watched = look(fine())
    watched.ask(status=403)
    watched.headline("No status comes")
    assert "HTTP 403" in watched.text("#subline")
    assert "acme" in watched.text("#lanes")


# -- for everyone ------------------------------------------------------------------------------------------------------


def test_axe_finds_nothing_wrong_with_contrast_names_and_structure_in_light_and_dark(look: Any) -> None:
    watched = look(everything_wrong(), color_scheme="light", reduced_motion="reduce")
    assert watched.faults() == []
    watched.page.emulate_media(color_scheme="dark")
    assert watched.faults() == []
    watched.ask(fine())
    assert watched.faults() == []
    watched.page.evaluate("document.getElementById('subline').style.color = '#666'")
    assert len(watched.faults("color-contrast")) == 1
    assert watched.said == []


def test_a_phone_shows_it_without_scrolling_sideways(look: Any) -> None:
    watched = look(fine(), viewport=PHONE)
    wider = "[...document.querySelectorAll('main *')].filter(n => n.getBoundingClientRect().right > innerWidth + 1)"
    for case in (one_down, everything_wrong, many):
        watched.ask(case())
        assert watched.page.evaluate(f"{wider}.map(n => n.outerHTML.slice(0, 80))") == []
        assert watched.page.evaluate("document.documentElement.scrollWidth") == PHONE["width"]


def test_everything_is_reached_by_keyboard_and_stays_in_focus(look: Any) -> None:
    watched = look(many())
    page: Page = watched.page
    reached = []
    for _ in range(6):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.textContent"))
    assert reached == ["Skip to the lanes", "siem", "tenant_00", "tenant_01", "tenant_02", "tenant_03"]
    page.keyboard.press("Enter")
    assert page.locator("#source-tenant_03 tr").count() == 3
    watched.ask()
    assert page.evaluate("document.activeElement.getAttribute('aria-expanded')") == "true"
    page.keyboard.press("Enter")
    assert page.locator("#source-tenant_03 tr").count() == 1


def test_of_many_sources_those_in_trouble_are_unfolded(look: Any) -> None:
    page = look(many()).page
    unfolded = page.locator("button[aria-expanded=true]").all_inner_texts()
    assert unfolded == ["tenant_08"]
    assert page.locator("#source-tenant_08 tr").count() == 3


def test_where_all_of_many_sources_are_in_trouble_they_stay_folded_and_name_it(look: Any) -> None:
    answers = many()
    for one in answers["lanes"]:
        if one["sink"] == "siem":
            one.update(HELD_BY_AUTH)
    watched = look(answers)
    assert watched.page.locator("button[aria-expanded=true]").count() == 0
    assert watched.text("#source-tenant_31 .sink .state") == "siem held · auth"
    assert "all 50 lanes" in watched.text(".card")


def test_only_a_change_of_state_is_read_out(look: Any) -> None:
    watched = look(fine())
    page: Page = watched.page
    page.evaluate(
        "window.told = []; new MutationObserver(() => told.push(document.getElementById('headline').textContent))"
        ".observe(document.querySelector('[role=status]'), {subtree: true, childList: true, characterData: true})"
    )
    assert page.locator("[aria-live], [role=alert], [role=status]").count() == 1
    grown = fine()
    grown["lanes"][0]["delivered"] += 5_000
    grown["at"] = AT + 2_000
    watched.ask(grown)
    page.get_by_text("105,000 in all").wait_for()
    assert page.evaluate("told") == []
    watched.ask(one_down())
    watched.headline("siem is held")
    assert page.evaluate("told") == ["siem is held"]


def test_nothing_moves_for_those_who_want_that(look: Any) -> None:
    moving = "[...document.querySelectorAll('*')].filter(n => getComputedStyle(n).transitionDuration !== '0s').length"
    page = look(fine()).page
    assert page.evaluate(moving) > 0
    page.emulate_media(reduced_motion="reduce")
    assert page.evaluate(moving) == 0


# -- for nobody else ---------------------------------------------------------------------------------------------------


def test_text_that_others_wrote_does_not_act(look: Any) -> None:
    hostile = "<img src=x onerror=alert(1)><script>alert(2)</script>\"'`${alert(3)}\u202e\x1b[31m javascript:alert(4)"
    answers = one_down()
    for one in (*answers["sources"], *answers["lanes"]):
        one.update(note=hostile, do=hostile, source=hostile, tenant=hostile, reason=hostile)
    for one in answers["lanes"]:
        one["sink"] = one["sink"] + hostile
    answers["history"] = {**answers["history"], "sources": [], "lanes": []}
    answers["version"] = hostile
    watched = look(answers)
    assert hostile in watched.page.locator(".card .note").first.text_content()
    assert watched.page.locator("img, iframe, #body script, a[href^=javascript]").count() == 0
    assert watched.said == []
    assert len(watched.asked) == 2


def test_the_browser_lets_nothing_in_that_is_not_the_pages_own(look: Any) -> None:
    page: Page = look(fine()).page
    script = "document.createElement('script').text = '1'"
    for code in ("document.body.innerHTML = '<b>x</b>'", script, "await fetch('http://127.0.0.2:9/')"):
        attempt = f"(async () => {{ try {{ {code}; return 'done' }} catch (error) {{ return error.name }} }})()"
        assert page.evaluate(attempt) == "TypeError", code
