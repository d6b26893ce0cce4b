"""Obtaining a root file system tarball: named by the operator, cached, or downloaded.

Which checks are required is decided in :mod:`bootwright.rootfs.verification`; here they are run.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from bootwright.core.addresses import keep_secret, without_secrets
from bootwright.core.errors import FailedError, InputError, RefusedError
from bootwright.core.io.lock import exclusive
from bootwright.core.report import Reporter
from bootwright.rootfs.gpg_status import GpgVerdict
from bootwright.rootfs.http_answer import Validators
from bootwright.rootfs.io import download, openpgp
from bootwright.rootfs.io.curl import DownloadUnreachableError
from bootwright.rootfs.io.tarball_cache import Tarballs, sha256_of
from bootwright.rootfs.verification import (
    UNVERIFIED_OPTION,
    Checks,
    DownloadRecord,
    Verdict,
    VerifiedBy,
    check_pin,
    choose_checks,
    evaluate,
    is_still_verified,
    parse_digest,
    signature_obstacle,
)


class Source(Protocol):
    """The keys of ``rootfs.toml`` that are needed here; :class:`.source.Tarball` has them."""

    @property
    def url(self) -> str:
        """The address; ``{platform}`` stands for the distribution's name of the board."""
        ...

    @property
    def signature_suffix(self) -> str | None:
        """The address with this suffix is that of a detached signature."""
        ...

    @property
    def digest_suffix(self) -> str | None:
        """The address with this suffix is that of a digest file."""
        ...

    @property
    def signing_key(self) -> str | None:
        """The fingerprint of the pinned primary key."""
        ...

    @property
    def keyserver(self) -> str | None:
        """The server that the key is fetched from; ``None`` for the default server."""
        ...


@dataclass(frozen=True)
class AcquireOptions:
    """Settings for the tarball from the target and from the command line."""

    rootfs_file: Path | None = None
    """``--rootfs-file``: use this file instead of a download."""
    sha256: str | None = None
    """The SHA-256 that the target pins."""
    key_file: Path | None = None
    """A file with the signing key; ``None`` to fetch it from a keyserver."""
    unverified: bool = False
    """``--rootfs-unverified``: use a download that cannot be verified."""


@dataclass(frozen=True)
class Acquired:
    """A tarball that was verified, or is allowed to be unverified."""

    path: Path
    sha256: str
    verified_by: VerifiedBy
    source_url: str | None
    """The address that it came from; ``None`` for a file that the operator named."""
    signer: str | None = None
    """The fingerprint of the primary key that signed it; ``None`` if no signature was checked."""


def acquire(
    source: Source, platform: str, options: AcquireOptions, cache_dir: Path, reporter: Reporter
) -> Acquired:
    """Return the verified tarball of ``source`` for ``platform``.

    Args:
        source: the tarball's ``rootfs.toml``.
        platform: the name that the distribution uses for the board, such as ``odroid-xu3``.
        options: see :class:`AcquireOptions`.
        cache_dir: the directory for downloads.
        reporter: shows the progress and warnings.

    Raises:
        InputError: an option is wrong, or a named file cannot be read.
        RefusedError: the file fails a check, or cannot be verified.
        FailedError: the download failed (the next run continues it), or gpg failed.
    """
    verifier = _Verifier(source, options, reporter)
    if options.rootfs_file is not None:
        return _from_file(verifier, options.rootfs_file)
    url = source.url.replace("{platform}", platform)
    keep_secret(url)
    lock = download.partial_path(url, cache_dir / "partial").with_suffix(".lock")
    with exclusive(lock, f"downloading {without_secrets(url)}", reporter.note):
        acquired = _Fetch(verifier, url, cache_dir).run()
    if acquired.verified_by == "none":
        reporter.warn(f"{url}: used UNVERIFIED, because of {UNVERIFIED_OPTION}")
    return acquired


@dataclass(frozen=True)
class _VerificationInput:
    """What a file is verified with: the checks, and the signature and the key if there are any."""

    checks: Checks
    signature: bytes | None
    key: bytes | None


class _Verifier:
    """Verifies files for one target, and warns the operator."""

    def __init__(self, source: Source, options: AcquireOptions, reporter: Reporter) -> None:
        self.source, self.options, self.reporter = source, options, reporter
        self.pin = check_pin(options.sha256)

    def prepare(
        self, signature: bytes | None, what: str, operator: bool = False
    ) -> _VerificationInput:
        """Fetch the key and choose the checks.

        Raises:
            RefusedError: the file cannot be verified.
        """
        signing_key = self.source.signing_key
        key = self._key(signing_key) if signature and signing_key else None
        obstacle = signature_obstacle(signature is not None, signing_key, key is not None)
        checks = choose_checks(
            self.pin,
            obstacle,
            operator=operator,
            unverified=self.options.unverified,
            what=what,
        )
        if signature is not None and obstacle is not None:
            self.reporter.warn(f"{what}: its signature is NOT checked: {obstacle}")
        return _VerificationInput(checks, signature, key)

    def verify(self, given: _VerificationInput, path: Path, sha256: str, what: str) -> Verdict:
        """Verify the file ``path``; see :func:`bootwright.rootfs.verification.evaluate`."""
        signing_key = self.source.signing_key
        gpg_verdict: GpgVerdict | None = None
        if given.signature is not None and given.key is not None and signing_key is not None:
            gpg_verdict = openpgp.verify(path, given.signature, given.key, signing_key)
        return evaluate(given.checks, sha256, gpg_verdict, signing_key, what)

    def _key(self, fingerprint: str) -> bytes | None:
        """Return the signing key; ``None`` if the keyserver does not have it."""
        if self.options.key_file is not None:
            return openpgp.read_key(self.options.key_file)
        try:
            return openpgp.receive_key(fingerprint, self.source.keyserver)
        except FailedError as error:
            self.reporter.warn(f"no signing key: {error}")
            return None


def _from_file(verifier: _Verifier, path: Path) -> Acquired:
    if not path.is_file():
        raise InputError(f"--rootfs-file {path}: no such file")
    signature_file = path.with_name(path.name + (verifier.source.signature_suffix or ".sig"))
    signature = signature_file.read_bytes() if signature_file.is_file() else None
    given = verifier.prepare(signature, str(path), operator=True)
    sha256 = sha256_of(path)
    verdict = verifier.verify(given, path, sha256, str(path))
    return Acquired(path, sha256, verdict.verified_by, None, verdict.signer)


class _Fetch:
    """Gets the tarball of one address: from the cache, or by a download."""

    def __init__(self, verifier: _Verifier, url: str, cache_dir: Path) -> None:
        self.verifier, self.url = verifier, url
        self.source, self.options = verifier.source, verifier.options
        self.pin, self.reporter = verifier.pin, verifier.reporter
        self.partial_dir = cache_dir / "partial"
        self.tarballs = Tarballs(cache_dir)

    def run(self) -> Acquired:
        """Return the tarball; see :func:`acquire`."""
        cached = self._cached()
        verified = cached is not None and is_still_verified(
            cached, self.pin, self.source.signing_key
        )
        if cached is not None and verified and self.pin is not None:
            # These are the bytes that the target pins, so the server is not needed.
            return self._use(cached, "pin")
        try:
            return self._from_server(cached, verified)
        except DownloadUnreachableError as error:
            if cached is None or not (verified or self.options.unverified):
                raise
            self.reporter.warn(f"{error}; using the copy of {cached.date}")
            return self._use(cached, "signature" if verified else "none")

    def _cached(self) -> DownloadRecord | None:
        """Return the record of the tarball in the cache, if there is one and it is undamaged."""
        if self.pin is not None:
            record = self.tarballs.with_digest(self.pin)
        else:
            record = self.tarballs.newest(self.url)
        if record is None or self.tarballs.intact(record):
            return record
        self.reporter.warn(f"{self.tarballs.path(record.sha256)}: damaged; downloading it again")
        self.tarballs.remove(record)
        return None

    def _from_server(self, cached: DownloadRecord | None, verified: bool) -> Acquired:
        """Return the version that the server has now; it is downloaded only if it has changed."""
        same = cached is not None and download.unchanged(
            self.url, Validators(cached.etag, cached.last_modified)
        )
        if cached is not None and same and verified:
            self.reporter.note(f"{self.url}: unchanged since {cached.date}")
            return self._use(cached, "signature")
        signature = self._small_file(self.source.signature_suffix)
        given = self.verifier.prepare(signature, self.url)
        if cached is not None and same:
            path = self.tarballs.path(cached.sha256)
            verdict = self.verifier.verify(given, path, cached.sha256, self.url)
            return self._add(path, _renewed(cached, verdict))
        return self._download(given)

    def _download(self, given: _VerificationInput) -> Acquired:
        with self.reporter.step(f"download {self.url}"):
            got = download.download(self.url, self.partial_dir, self.reporter)
            try:
                self._check_transfer(got)
                verdict = self.verifier.verify(given, got.path, got.sha256, self.url)
            except (RefusedError, _DamagedError):
                # The bytes are wrong, so the next run must not continue after them.
                download.discard(got.path)
                raise
            record = DownloadRecord(
                url=without_secrets(self.url),
                sha256=got.sha256,
                size=got.size,
                etag=got.validators.etag,
                last_modified=got.validators.last_modified,
                verified_by=verdict.verified_by,
                signer=verdict.signer,
                date=_now(),
            )
            acquired = self._add(got.path, record)
            download.discard(got.path)
            return acquired

    def _check_transfer(self, got: download.Downloaded) -> None:
        published = self._small_file(self.source.digest_suffix)
        digest = parse_digest(published.decode("utf-8", "replace")) if published else None
        if digest is not None and digest not in (got.md5, got.sha256):
            raise _DamagedError(
                f"{self.url}: the download is damaged: the digest on the server is {digest}, "
                "but the file has another one. Run it again."
            )

    def _small_file(self, suffix: str | None) -> bytes | None:
        """Return the file at the address with ``suffix``; ``None`` if there is none."""
        return download.download_small(self.url + suffix) if suffix else None

    def _add(self, path: Path, record: DownloadRecord) -> Acquired:
        """Move the file ``path`` into the cache."""
        cached_path = self.tarballs.add(path, record)
        return Acquired(
            cached_path, record.sha256, record.verified_by, without_secrets(self.url), record.signer
        )

    def _use(self, cached: DownloadRecord, verified_by: VerifiedBy) -> Acquired:
        path = self.tarballs.path(cached.sha256)
        return Acquired(path, cached.sha256, verified_by, cached.url, cached.signer)


class _DamagedError(FailedError):
    """The transfer has damaged the file; the same download may succeed the next time."""


def _renewed(record: DownloadRecord, verdict: Verdict) -> DownloadRecord:
    """Return the record of a cached file that was just verified again."""
    return record.model_copy(
        update={
            "verified_by": verdict.verified_by,
            "signer": verdict.signer or record.signer,
            "date": _now(),
        }
    )


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
