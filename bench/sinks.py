"""Which sinks a daemon of the bench has: their lines of its configuration, all at one destination."""

HEC_TOKEN = "bench-token"
ALL_KINDS = ("hec", "datadog", "s3", "stdout")
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "bench", "AWS_SECRET_ACCESS_KEY": "bench-secret"}


def only_hec(url: str) -> list[str]:
    """HEC with its defaults."""
    return [*_hec(url), *_short_backoff("siem")]


def acknowledged_hec(url: str) -> list[str]:
    """HEC with indexer acknowledgement."""
    return [*only_hec(url), "[sinks.siem.acknowledgements]", "enabled = true"]


def all_four(url: str) -> list[str]:
    """One of each kind. The archive's time limit alone is no default: a row shall end before its five minutes."""
    return [
        *only_hec(url),
        "[sinks.observability]", 'type = "datadog"', 'api_key = "bench-key"', f'url = "{url}"',
        *_short_backoff("observability"),
        "[sinks.archive]", 'type = "s3"', 'bucket = "logs"', 'region = "us-east-1"', f'endpoint_url = "{url}"',
        "[sinks.archive.batch]", "timeout_secs = 5.0",
        *_short_backoff("archive"),
        "[sinks.console]", 'type = "stdout"',
    ]  # fmt: skip


def _hec(url: str) -> list[str]:
    return ["[sinks.siem]", 'type = "splunk_hec"', f'url = "{url}"', f'token = "{HEC_TOKEN}"']


def _short_backoff(name: str) -> list[str]:
    return [f"[sinks.{name}.request]", "retry_max_duration_secs = 2.0"]
