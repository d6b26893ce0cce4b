"""Obtaining a root file system tarball: named by the operator, cached, or downloaded.

What must be checked is decided in :mod:`bootwright.rootfs.verification`; here it is done.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from bootwright.core.errors import FailedError, InputError, RefusedError
from bootwright.core.io.lock import exclusive
from bootwright.core.report import Reporter
from bootwright.rootfs.gpg_status import GpgVerdict
from bootwright.rootfs.io import download, openpgp
from bootwright.rootfs.io.download import DownloadUnreachableError, Validators
from bootwright.rootfs.io.tarball_cache import Tarballs, sha256_of
from bootwright.rootfs.verification import (
    FLAG,
    Checks,
    DownloadRecord,
    Verdict,
    VerifiedBy,
    check_pin,
    choose,
    evaluate,
    obstacle,
    parse_digest,
    vouched,
)


class Source(Protocol):
    """What is read of ``rootfs.toml``; :class:`bootwright.rootfs.source.Tarball` has it."""

    @property
    def url(self) -> str:
        """The address, with ``{platform}`` for the board's name upstream."""
        ...

    @property
    def signature_suffix(self) -> str | None:
        """Added to the address, gives that of a detached signature."""
        ...

    @property
    def digest_suffix(self) -> str | None:
        """Added to the address, gives that of a digest file."""
        ...

    @property
    def signing_key(self) -> str | None:
        """The pinned primary fingerprint."""
        ...

    @property
    def keyserver(self) -> str | None:
        """Where the key comes from; ``None`` for the default server."""
        ...


@dataclass(frozen=True)
class AcquireOptions:
    """What the target and the command line say about the tarball."""

    rootfs_file: Path | None = None
    """``--rootfs-file``: use this file instead of a download."""
    sha256: str | None = None
    """The SHA-256 that the target pins."""
    key_file: Path | None = None
    """The signing key, when it is not to come from a keyserver."""
    unverified: bool = False
    """``--rootfs-unverified``: use a download that nothing can verify."""


@dataclass(frozen=True)
class Acquired:
    """A tarball that may be used."""

    path: Path
    sha256: str
    verified_by: VerifiedBy
    source_url: str | None
    """Where it came from; ``None`` for a file that the operator named."""
    signer: str | None = None
    """The primary fingerprint whose signature was checked."""


def acquire(
    source: Source, platform: str, options: AcquireOptions, cache_dir: Path, reporter: Reporter
) -> Acquired:
    """Return the tarball of ``source`` for ``platform``, checked.

    Args:
        source: the tarball's ``rootfs.toml``.
        platform: the board's name upstream, such as ``odroid-xu3``.
        options: see :class:`AcquireOptions`.
        cache_dir: downloads are kept below it.
        reporter: gets progress and warnings.

    Raises:
        InputError: an option is wrong, or a named file cannot be read.
        RefusedError: the file fails a check, or nothing can verify it.
        FailedError: the download failed (and resumes the next time), or gpg did.
    """
    examiner = _Examiner(source, options, reporter)
    if options.rootfs_file is not None:
        return _from_file(examiner, options.rootfs_file)
    url = source.url.replace("{platform}", platform)
    lock = download.partial_path(url, cache_dir / "partial").with_suffix(".lock")
    with exclusive(lock, f"downloading {url}"):
        acquired = _Fetch(examiner, url, cache_dir).run()
    if acquired.verified_by == "none":
        reporter.warn(f"{url}: used UNVERIFIED, because of {FLAG}")
    return acquired


@dataclass(frozen=True)
class _Evidence:
    """What a file is going to be checked by."""

    checks: Checks
    signature: bytes | None
    key: bytes | None


class _Examiner:
    """Checks one file for one target, and says what the operator has to be told."""

    def __init__(self, source: Source, options: AcquireOptions, reporter: Reporter) -> None:
        self.source, self.options, self.reporter = source, options, reporter
        self.pin = check_pin(options.sha256)

    def prepare(self, signature: bytes | None, what: str, operator: bool = False) -> _Evidence:
        """Get the key and choose the checks; refuses what nothing can verify."""
        signing_key = self.source.signing_key
        key = self._key(signing_key) if signature and signing_key else None
        hindrance = obstacle(signature is not None, signing_key, key is not None)
        checks = choose(
            self.pin,
            hindrance,
            operator=operator,
            unverified=self.options.unverified,
            what=what,
        )
        if signature is not None and hindrance is not None:
            self.reporter.warn(f"{what}: its signature is NOT checked: {hindrance}")
        return _Evidence(checks, signature, key)

    def examine(self, evidence: _Evidence, path: Path, sha256: str, what: str) -> Verdict:
        """Return who vouches for ``path``; see :func:`bootwright.rootfs.verification.evaluate`."""
        signing_key = self.source.signing_key
        judgement: GpgVerdict | None = None
        if evidence.signature is not None and evidence.key is not None and signing_key is not None:
            judgement = openpgp.verify(path, evidence.signature, evidence.key, signing_key)
        return evaluate(evidence.checks, sha256, judgement, signing_key, what)

    def _key(self, fingerprint: str) -> bytes | None:
        """Return the signing key; ``None`` when the keyserver does not give it."""
        if self.options.key_file is not None:
            return openpgp.read_key(self.options.key_file)
        try:
            return openpgp.receive_key(fingerprint, self.source.keyserver)
        except FailedError as error:
            self.reporter.warn(f"no signing key: {error}")
            return None


def _from_file(examiner: _Examiner, path: Path) -> Acquired:
    if not path.is_file():
        raise InputError(f"--rootfs-file {path}: no such file")
    beside = path.with_name(path.name + (examiner.source.signature_suffix or ".sig"))
    signature = beside.read_bytes() if beside.is_file() else None
    evidence = examiner.prepare(signature, str(path), operator=True)
    sha256 = sha256_of(path)
    verdict = examiner.examine(evidence, path, sha256, str(path))
    return Acquired(path, sha256, verdict.verified_by, None, verdict.signer)


class _Fetch:
    """One download of one address, or what the cache already has of it."""

    def __init__(self, examiner: _Examiner, url: str, cache_dir: Path) -> None:
        self.examiner, self.url = examiner, url
        self.source, self.options = examiner.source, examiner.options
        self.pin, self.reporter = examiner.pin, examiner.reporter
        self.partial_dir = cache_dir / "partial"
        self.tarballs = Tarballs(cache_dir)

    def run(self) -> Acquired:
        """Return the tarball; see :func:`acquire`."""
        held = self._held()
        known = held is not None and vouched(held, self.pin, self.source.signing_key)
        if held is not None and known and self.pin is not None:
            # The very bytes that the target pins: the server has nothing to add.
            return self._use(held, "pin")
        try:
            return self._online(held, known)
        except DownloadUnreachableError as error:
            if held is None or not (known or self.options.unverified):
                raise
            self.reporter.warn(f"{error}; using the copy of {held.date}")
            return self._use(held, "signature" if known else "none")

    def _held(self) -> DownloadRecord | None:
        """Return the cached tarball to begin with, after reading it whole."""
        if self.pin is not None:
            record = self.tarballs.with_digest(self.pin)
        else:
            record = self.tarballs.newest(self.url)
        if record is None or self.tarballs.intact(record):
            return record
        self.reporter.warn(f"{self.tarballs.path(record.sha256)}: damaged; downloading it again")
        self.tarballs.remove(record)
        return None

    def _online(self, held: DownloadRecord | None, known: bool) -> Acquired:
        same = held is not None and download.unchanged(
            self.url, Validators(held.etag, held.last_modified)
        )
        if held is not None and same and known:
            self.reporter.note(f"{self.url}: unchanged since {held.date}")
            return self._use(held, "signature")
        signature = self._beside(self.source.signature_suffix)
        evidence = self.examiner.prepare(signature, self.url)
        if held is not None and same:
            path = self.tarballs.path(held.sha256)
            verdict = self.examiner.examine(evidence, path, held.sha256, self.url)
            return self._keep(path, _renewed(held, verdict))
        return self._download(evidence)

    def _download(self, evidence: _Evidence) -> Acquired:
        with self.reporter.step(f"download {self.url}"):
            got = download.download(self.url, self.partial_dir, self.reporter)
            try:
                self._check_transfer(got)
                verdict = self.examiner.examine(evidence, got.path, got.sha256, self.url)
            except (RefusedError, _DamagedError):
                # Bytes known to be wrong are not resumed.
                download.discard(got.path)
                raise
            record = DownloadRecord(
                url=self.url,
                sha256=got.sha256,
                size=got.size,
                etag=got.validators.etag,
                last_modified=got.validators.last_modified,
                verified_by=verdict.verified_by,
                signer=verdict.signer,
                date=_now(),
            )
            kept = self._keep(got.path, record)
            download.discard(got.path)
            return kept

    def _check_transfer(self, got: download.Downloaded) -> None:
        published = self._beside(self.source.digest_suffix)
        digest = parse_digest(published.decode("utf-8", "replace")) if published else None
        if digest is not None and digest not in (got.md5, got.sha256):
            raise _DamagedError(
                f"{self.url}: arrived damaged: the server names the digest {digest}, "
                "but the file has another. Run it again."
            )

    def _beside(self, suffix: str | None) -> bytes | None:
        return download.small(self.url + suffix) if suffix else None

    def _keep(self, path: Path, record: DownloadRecord) -> Acquired:
        kept = self.tarballs.add(path, record)
        return Acquired(kept, record.sha256, record.verified_by, self.url, record.signer)

    def _use(self, held: DownloadRecord, verified_by: VerifiedBy) -> Acquired:
        path = self.tarballs.path(held.sha256)
        return Acquired(path, held.sha256, verified_by, held.url, held.signer)


class _DamagedError(FailedError):
    """The transfer went wrong; the same download may go well the next time."""


def _renewed(held: DownloadRecord, verdict: Verdict) -> DownloadRecord:
    return held.model_copy(
        update={
            "verified_by": verdict.verified_by,
            "signer": verdict.signer or held.signer,
            "date": _now(),
        }
    )


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
