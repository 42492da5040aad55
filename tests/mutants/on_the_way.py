"""Bugs in what is read into an answer: of a tenant, and of each destination."""

from mutants.planting import Mutant

HEC = "tests/sinks/test_splunk_hec.py"
S3 = "tests/sinks/test_s3.py"

ON_THE_WAY = (
    Mutant(
        "a partial reject ignored",
        "sinks/splunk_hec.py",
        '            raise self._refusal(batch, answer, code, _number(reply.get("invalid-event-number")))\n',
        "            return None\n",
        (f"{HEC}::test_a_numbered_event_is_refused_and_nothing_is_said_of_the_others",),
    ),
    Mutant(
        "a 200 with HTML counted as delivered",
        "sinks/splunk_hec.py",
        '            raise Unavailable("bad_answer", _note(answer, code) + ": no answer of Splunk\'s to a write")\n',
        "            return None\n",
        (f"{HEC}::test_a_200_that_is_no_success_of_splunks_is_a_bad_answer",),
    ),
    Mutant(
        "an acknowledgement that says false counted as delivered",
        "sinks/splunk_ack.py",
        "found.acks.get(str(id_)) is True",
        "str(id_) in found.acks",
        ("tests/sinks/test_splunk_ack.py::test_only_what_is_still_open_is_asked_about_again",),
    ),
    Mutant(
        "a redirect followed",
        "shipper/http.py",
        "allow_redirects=False",
        "allow_redirects=True",
        ("tests/test_http.py::test_a_redirect_is_an_answer_and_is_not_followed",),
    ),
    Mutant(
        "a redirect of S3's followed",
        "sinks/s3_client.py",
        '    context.setdefault("s3_redirect", {})["redirected"] = True\n',
        "    context.clear()\n",
        (f"{S3}::test_a_bucket_of_another_region_is_named_and_not_followed",),
    ),
    Mutant(
        "401 taken for a refusal of the events",
        "shipper/sink.py",
        '        if answer.status == 413:\n            return Rejected("too_large", note, detail=detail)\n',
        '        if answer.status in (401, 413):\n            return Rejected("too_large", note, detail=detail)\n',
        ("tests/test_sink.py::test_by_default_every_status_but_success_is_unavailable",),
    ),
    Mutant(
        "412 taken for delivered without a look at what is there",
        "sinks/s3.py",
        'same = there.get("content-sha256") == wanted.metadata["content-sha256"]',
        "same = there is not None",
        (f"{S3}::test_our_object_beside_anothers_is_found_again",),
    ),
    Mutant(
        "another body under our metadata taken for our object",
        "sinks/s3.py",
        "if same and (job.batch.replayed or self._is_whole(store, job, key)):",
        "if same:",
        (f"{S3}::test_another_body_under_our_metadata_is_no_delivery",),
    ),
    Mutant(
        "a foreign Link followed",
        "shipper/sources/chain.py",
        '    elsewhere = parts.scheme not in ("https", "http", "") or (host != "" and host not in hosts)\n',
        '    elsewhere = parts.scheme not in ("https", "http", "")\n',
        ("tests/source/test_source_checkpoint.py::test_a_link_that_leads_elsewhere_is_not_followed",),
    ),
    Mutant(
        "one acknowledgement counted for two bodies",
        "sinks/splunk_hec.py",
        "            if id_ in ids:\n",
        "            if id_ is None:\n",
        ("tests/faults/test_ack_faults.py",),
    ),
    Mutant(
        "S3: a login page counted as a stored object",
        "sinks/s3_store.py",
        '            raise\n        _must_have(answer, "ETag")\n        return True\n',
        "            raise\n        return True\n",
        (S3,),
    ),
    Mutant(
        "Datadog: a login page counted as delivered",
        "sinks/datadog.py",
        "if answer.status != 202 and answer.body and not _is_object(answer.body):",
        "if answer.status >= 300:",
        ("tests/sinks/test_datadog.py",),
    ),
    Mutant(
        "a page that can't be read stepped over",
        "shipper/sources/auth0.py",
        "            raise self._cannot_read(answer, checkpoint) from None\n",
        "            return []\n",
        ("tests/source/test_source_unreadable.py",),
    ),
)
