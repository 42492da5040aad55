"""S3, exactly once: a batch becomes one object for each hour of its events' time (UTC), under a key that it determines.

The journal hands out the very same batches again after a crash, so a repeated write finds its own object in place
(`If-None-Match: *` answers 412) instead of making a second one. What is in place is compared by `content-sha256`, the
hash of the lines before compression, so that another version's compressor makes no difference. An object that this
lane has not just tried to write itself (after a replay, `--recover`, `checkpoint set`) is also read: someone may have
put another body under those metadata.

Amazon S3 docs: "How to prevent object overwrites with conditional writes", "Checking object integrity". boto3 blocks,
so every write has a daemon thread of its own: one that hangs keeps neither another one nor the process's end waiting.
"""

import asyncio
import hashlib
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TYPE_CHECKING, Annotated, Literal, Self, TypeVar

from pydantic import AfterValidator, Field, field_validator, model_validator

from shipper import Batch, BatchLimits, Damaged, Origin, Rejected, SinkConfig, Unavailable, check_url
from sinks.s3_archive import S3Archive
from sinks.s3_layout import Hour, Object, hours_of, object_of, path_of

if TYPE_CHECKING:
    from sinks.s3_store import Store

MOST_CONFLICTS = 20
"""So many strangers' objects under the names of one: then something is wrong that more names don't heal."""

PROBE = b'{"about":"Written by `shipper check` to prove that objects can be written here. It may be deleted."}\n'

NOTHING = Batch(source=Origin("", "", "", ""), events=(), now=0)
"""For what is asked of the store without events at hand."""

T = TypeVar("T")


class S3Limits(BatchLimits):
    """Few large objects are cheaper to store and to query than many small ones."""

    max_events: int = Field(default=10_000, ge=1, le=100_000)
    max_bytes: int = Field(default=8_000_000, ge=1, le=256_000_000)
    timeout_secs: float = Field(default=300.0, ge=0, le=86_400)


class S3(S3Archive):
    """Puts objects. Delivered: the store has taken each object of the batch, or has it already."""

    replays_batches = True

    class Config(SinkConfig):
        """Settings. Credentials come from where AWS's own tools look for them (environment, files, the machine's role).

        region "": what that configuration says. endpoint_url: another store than Amazon's. storage_class and sse "":
        the bucket's defaults. role_arn, external_id: a role to be assumed for writing. expected_bucket_owner: the
        account that must own the bucket. tls.ca_file: here the only authorities that are trusted.
        """

        type: Literal["s3"] = "s3"
        bucket: str = Field(pattern=r"^(arn:[!-~]+|[A-Za-z0-9._-]{1,255})$")
        prefix: str = Field(default="", pattern=r"^[A-Za-z0-9!_.*'()=/-]{0,500}$")
        region: str = Field(default="", pattern=r"^[a-z0-9-]*$")
        endpoint_url: Annotated[str, AfterValidator(lambda url: check_url(url) if url else url)] = ""
        compression: Literal["gzip", "zstd", "none"] = "gzip"
        storage_class: str = Field(default="", pattern=r"^[A-Z0-9_]*$")
        sse: Literal["", "AES256", "aws:kms"] = ""
        kms_key_id: str = ""
        role_arn: str = Field(default="", pattern=r"^(arn:[!-~]{16,})?$")
        external_id: str = Field(default="", pattern=r"^([A-Za-z0-9_+=,.@:/-]{2,1224})?$")
        expected_bucket_owner: str = Field(default="", pattern=r"^([0-9]{12})?$")
        batch: S3Limits = S3Limits()

        @field_validator("prefix")
        @classmethod
        def _prefix_is_a_plain_path(cls, prefix: str) -> str:
            if "//" in prefix or prefix.startswith("/"):
                raise ValueError('must be a path like "logs/auth0", without "/" at its start and without "//"')
            return prefix.rstrip("/")

        @model_validator(mode="after")
        def _settings_that_need_another(self) -> Self:
            if self.kms_key_id and self.sse != "aws:kms":
                raise ValueError('kms_key_id needs sse = "aws:kms"')
            if self.external_id and not self.role_arn:
                raise ValueError("external_id needs role_arn")
            return self

    def __init__(self, config: SinkConfig) -> None:
        super().__init__(config)
        self._connecting = threading.Lock()
        self._store: Store | None = None

    async def write(self, batch: Batch) -> None:
        """Puts the batch's objects one after another, each once.

        Where a later one fails, the events of those before it are said to be delivered: a batch that is cut in other
        places must not hold them again.
        """
        job = _Job(batch)
        try:
            await self._aside(batch, lambda: self._put_all(job))
        except (Unavailable, Rejected) as outcome:
            left = job.left()
            if len(left) == len(batch.events):
                raise
            if left:
                retry_after = outcome.retry_after if isinstance(outcome, Unavailable) else None
                raise Unavailable(outcome.reason, outcome.note, retry_after=retry_after, only=left) from None
        finally:
            job.abandoned = True
            for note in job.conflicts:
                batch.tell("key_conflict", note)
            for note in job.unverified:
                batch.tell("unverified", note)

    async def probe(self) -> str:
        """Writes one small object, the same one each time for the same settings, and looks what may be done with it."""
        return await self._aside(NOTHING, self._try_out)

    async def ask(self, question: Callable[["Store"], T]) -> T:
        """The store's answer to what blocks, within one deadline. Raises as `write` does."""
        return await self._aside(NOTHING, lambda: question(self._opened()))

    async def close(self) -> None:
        """Closes the connections; a thread that still waits for an answer ends by its own time limits."""
        if self._store is not None:
            self._store.close()
            self._store = None

    # -- on a thread of its own ----------------------------------------------------------------------------------------

    async def _aside(self, batch: Batch, work: Callable[[], T]) -> T:
        """The result of something that blocks. Raises the outcome of what failed in it, and of a missed deadline."""
        done: Future[T | Unavailable | Rejected] = Future()
        done.set_running_or_notify_cancel()  # from here on nobody who waits for it can cancel it

        def run() -> None:
            try:
                done.set_result(self._judged(batch, work))
            except BaseException as error:  # noqa: BLE001  handed on to whoever waits
                done.set_exception(error)

        threading.Thread(target=run, name="s3", daemon=True).start()
        limit = self.config.request.timeout_secs
        try:
            async with asyncio.timeout(limit):
                result = await asyncio.wrap_future(done)
        except TimeoutError:
            raise Unavailable("timeout", f"the store did not answer everything in {limit:g} s") from None
        if isinstance(result, Unavailable | Rejected):
            raise result
        return result

    def _judged(self, batch: Batch, work: Callable[[], T]) -> T | Unavailable | Rejected:
        from sinks.s3_store import outcome_of

        try:
            return work()
        except (Unavailable, Rejected) as known:
            return known
        except Exception as error:  # noqa: BLE001  what it does not know, it raises again
            outcome = outcome_of(error, batch)
            _let_go(error)
        if outcome.reason in ("auth", "tls"):
            # A client keeps the credentials that it found, or did not find, and the authorities: the next one looks
            # for them anew.
            self._store = None
        return outcome

    def _opened(self) -> "Store":
        """The store; importing boto3 and making its client takes a third of a second, so it is done here."""
        from sinks.s3_store import Store

        with self._connecting:
            if self._store is None:
                self._store = Store(self.config)
            return self._store

    # -- objects -------------------------------------------------------------------------------------------------------

    def _put_all(self, job: "_Job") -> None:
        store = self._opened()
        for hour in job.hours:
            if job.abandoned:
                return
            self._put(store, job, hour, self.object_of(job.batch, hour))
            job.done += 1

    def _put(self, store: "Store", job: "_Job", hour: Hour, wanted: Object) -> None:
        """Puts one object, beside whatever else stands under its names."""
        for number in range(1, MOST_CONFLICTS + 1):
            key = self.key_of(job.batch, hour, number)
            if store.put(key, wanted.body, wanted.checksum, wanted.metadata):
                return
            try:
                there = store.metadata_of(key)
            except PermissionError:
                self._assume_ours(job, key)
                return
            same = there.get("content-sha256") == wanted.metadata["content-sha256"]
            if same and (job.batch.replayed or self._is_whole(store, job, key)):
                return
            job.conflicts.append(f"{key} holds something else and is left as it is; these events go beside it")
        raise Unavailable("refused", f"{key}: strangers' objects stand under all names")

    def _is_whole(self, store: "Store", job: "_Job", key: str) -> bool:
        """Whether an object holds the lines that its metadata say."""
        from sinks.s3_store import in_archive_tier

        try:
            self.lines_in(store, self._path(key))
        except Damaged:
            return False
        except Exception as error:
            if not in_archive_tier(error):
                raise
            job.unverified.append(f"{key} is there, in an archive tier: what it holds can't be read, and is believed")
        return True

    @staticmethod
    def _assume_ours(job: "_Job", key: str) -> None:
        if not job.batch.replayed:
            raise Unavailable("forbidden", f"{key} is there already and can't be compared: allow s3:GetObject")
        job.unverified.append(f"{key} is there and can't be compared, so it counts as ours: s3:GetObject would tell")

    def key_of(self, batch: Batch, hour: Hour, number: int = 1) -> str:
        """Where an hour's object stands; number: 2, 3, … beside strangers' objects."""
        return self.below_prefix(path_of(batch, hour, self.config.compression, number))

    def below_prefix(self, path: str) -> str:
        """The key of what stands at this path below the prefix."""
        return f"{self.config.prefix}/{path}" if self.config.prefix else path

    def object_of(self, batch: Batch, hour: Hour) -> Object:
        """What an hour's object is."""
        return object_of(batch, hour, self.bodies, self.config.compression)

    # -- shipper check -------------------------------------------------------------------------------------------------

    def _try_out(self) -> str:
        # Another key or role makes another object, so that it is proven by a write, too.
        proven = self.config.model_dump_json(include={"role_arn", "sse", "kms_key_id", "storage_class"}).encode()
        key = self.below_prefix(f"_probe/{hashlib.sha256(proven).hexdigest()[:16]}.jsonl")
        wanted = Object.of(PROBE, {"content-sha256": hashlib.sha256(PROBE).hexdigest()})
        store = self._opened()
        # An object that is there from the last time takes one attempt, a new one two.
        if all(store.put(key, wanted.body, wanted.checksum, wanted.metadata) for _ in range(2)):
            raise Unavailable(
                "refused", "the store overwrites objects in spite of If-None-Match: exactly once can't be had there"
            )
        lacking = [] if self._may_read(store, key, wanted) else ["s3:GetObject"]
        if not store.may_list(self.below_prefix("_probe/")):
            lacking.append("s3:ListBucket")
        warning = f"; WARNING: digests and `shipper verify` also need {' and '.join(lacking)}" if lacking else ""
        return f"bucket {self.config.bucket} takes objects and overwrites none{warning}"

    @staticmethod
    def _may_read(store: "Store", key: str, wanted: Object) -> bool:
        try:
            metadata, body = store.metadata_of(key), store.body_of(key)
        except PermissionError:
            return False
        if metadata.get("content-sha256") != wanted.metadata["content-sha256"] or body != wanted.body:
            raise Unavailable("bad_answer", f"{key} does not come back as it was written: the store changes objects")
        return True


class _Job:
    """One write, as its thread goes through it."""

    def __init__(self, batch: Batch) -> None:
        self.batch = batch
        self.hours = hours_of(batch)
        self.done = 0
        self.abandoned = False
        self.conflicts: list[str] = []
        self.unverified: list[str] = []

    def left(self) -> list[int]:
        """The events whose objects the store has not confirmed."""
        return [index for hour in self.hours[self.done :] for index in hour.indexes]


def _let_go(error: BaseException | None) -> None:
    """Frees what an exception passed through: in a cycle with it, a pool of connections would stay open."""
    while error is not None:
        error.__traceback__ = None
        error = error.__context__
