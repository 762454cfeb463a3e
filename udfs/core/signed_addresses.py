"""Addresses without what lets their reader in: users, passwords, signatures and tokens."""

from __future__ import annotations

import hashlib
import re
from urllib.parse import unquote_plus

ADDRESS = re.compile(
    r"(?P<scheme>[a-z][a-z0-9+.-]*://)(?P<authority>[^/?#]*)(?P<path>[^?#]*)(?P<rest>.*)", re.IGNORECASE | re.DOTALL
)
IN_TEXT = re.compile(r"\b[a-z][a-z0-9+.-]*://[^\s'\"<>]*[^\s'\"<>.,;:!?)\]]", re.IGNORECASE)
WEB = ("http://", "https://")
# Parameters by which stores and networks of caches sign, in lower case: AWS, Google, Azure, Alibaba, Tencent, Akamai,
# CloudFront and Wowza. The names of the second list mean nothing of the kind without one of the first.
SIGNED_PREFIXES = ("x-amz-", "x-goog-", "x-oss-", "x-cos-", "x-bce-", "x-obs-", "q-sign-", "wowzatoken", "hdne", "hdnt")
# fmt: off
SIGNATURES = frozenset((
    "sig", "sign", "signature", "x-signature", "hmac", "q-ak", "q-signature", "auth_key", "__token__", "wssecret",
    "txsecret", "awsaccesskeyid", "googleaccessid", "ossaccesskeyid", "accesskeyid", "key-pair-id", "security-token",
))
BESIDE_SIGNATURES = frozenset((
    "expires", "expire", "expiration", "exp", "e", "policy", "se", "st", "sp", "sr", "sv", "ss", "srt", "spr", "sip",
    "ske", "sks", "skt", "skv", "skoid", "sktid", "sdd", "ses", "saoid", "suoid", "scid", "q-key-time", "q-header-list",
    "q-url-param-list", "wstime", "txtime", "ts", "timestamp", "nonce", "validfrom", "validto", "hash", "md5",
))
BESIDE_SIGN = frozenset(("t", "us", "exper", "rlimit"))  # of Tencent, and of Qiniu
TOKENS = frozenset((
    "token", "access_token", "accesstoken", "auth_token", "authtoken", "auth", "authorization", "id_token", "jwt",
    "session_token", "sessiontoken", "refresh_token", "sas", "sastoken", "api_key", "api-key", "apikey", "x-api-key",
    "subscription-key", "client_secret", "secret", "password", "passwd", "pwd", "credential", "credentials",
))
BESIDE_TOKENS = frozenset((  # of Bunny and KeyCDN among others
    "expires", "expire", "expiration", "exp", "token_path", "token_countries", "token_countries_blocked",
))
# fmt: on
# Values that are known by how they begin: keys of AWS, Google, OpenAI, Hugging Face, GitHub and Slack, and JSON web
# tokens.
KNOWN_SECRET = re.compile(
    r"\b(?:(?:AKIA|ASIA)[A-Z0-9]{16}|AIza[\w-]{35}|sk-(?=[\w-]*\d)(?=[\w-]*[A-Z])[\w-]{20,}|hf_[A-Za-z0-9]{30,}|"
    r"gh[pousr]_\w{20,}|github_pat_\w{20,}|xox[abprs]-[\w-]{10,}|eyJ[\w-]{8,}\.eyJ[\w-]+\.[\w-]*)"
)
HASH = "hash-"  # before the hash that stands for a token
HASHED = re.compile(rf"[^=&#]+={HASH}[0-9a-f]{{16}}")
# The path names a file, and not a program that finds the file by a parameter.
FILE_PATH = re.compile(r"\.(?!(?:php|aspx?|ashx|jsp|cgi|do)$)[a-z0-9]{1,5}$", re.IGNORECASE)


def unsigned(address: str) -> str:
    """The address without user, password, signature and tokens; a path or any other text stays as it is.

    So an address that is signed again is the same address. Where the path names no file, a token may be
    all that tells two files apart: a hash stands for it, which stays when it is unsigned again.
    """
    parts = ADDRESS.match(address)
    if parts is None:
        return address
    is_web = parts["scheme"].lower() in WEB
    user, at, host = parts["authority"].rpartition("@")
    authority = host if at and (is_web or ":" in user) else parts["authority"]
    rest = _without_secret_parameters(parts["path"], parts["rest"]) if is_web else parts["rest"]
    return f"{parts['scheme']}{authority}{parts['path']}{rest}"


def is_signed(address: str) -> bool:
    """Whether an address has a user, a password, a signature or a token."""
    return unsigned(address) != address


def unsigned_text(text: str) -> str:
    """A text with its addresses unsigned, and without the secrets that are known by how they begin."""
    return KNOWN_SECRET.sub("***", IN_TEXT.sub(lambda found: unsigned(found[0]), text))


def _without_secret_parameters(path: str, rest: str) -> str:
    """What follows the path of a web address: query and fragment."""
    query, mark, fragment = rest.partition("#")
    kept = _kept(path, query[1:].split("&")) if query else []
    secrets = _secret_parameters(fragment.split("&"))
    shown = [part for part in fragment.split("&") if part not in secrets]
    return ("?" + "&".join(kept) if kept else "") + (mark + "&".join(shown) if mark and shown else "")


def _kept(path: str, parameters: list[str]) -> list[str]:
    secrets = _secret_parameters(parameters)
    kept = [part for part in parameters if part not in secrets]
    if not FILE_PATH.search(path):
        kept += [f"{_name(part)}={_hash(part)}" for part in secrets if _name(part) in TOKENS]
    return kept


def _secret_parameters(parameters: list[str]) -> list[str]:
    parameters = [part for part in parameters if not HASHED.fullmatch(part)]
    names = {_name(part) for part in parameters}
    by_name = {name for name in names if name in SIGNATURES or name.startswith(SIGNED_PREFIXES)}
    if by_name or {"md5", "expires"} <= names:  # nginx signs by these two
        by_name |= names & BESIDE_SIGNATURES
    if "sign" in names:
        by_name |= names & BESIDE_SIGN
    if names & TOKENS:
        by_name |= names & (TOKENS | BESIDE_TOKENS)
    return [part for part in parameters if _name(part) in by_name or KNOWN_SECRET.search(unquote_plus(part))]


def _name(parameter: str) -> str:
    return unquote_plus(parameter.partition("=")[0]).strip().lower()


def _hash(parameter: str) -> str:
    value = unquote_plus(parameter.partition("=")[2])
    return HASH + hashlib.blake2b(value.encode(errors="surrogateescape"), digest_size=8).hexdigest()
