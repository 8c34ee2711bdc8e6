"""The caller's variables that every stdio server is given: of proxies, certificates and registries.

Owns the list.  Behind a company's proxy or its own certificate authority, `npx` and `uvx` fetch nothing
without them.  They come from the caller's environment and count in a server's fingerprint: two callers
whose proxies differ have a server each.

On the path of every warm call: imports nothing that is not loaded already.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

# Stands for this list among the names that a fingerprint depends on.
DEFAULT = "*"

NAMES = frozenset(
    (
        *("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "FTP_PROXY"),
        *("http_proxy", "https_proxy", "all_proxy", "no_proxy", "ftp_proxy"),
        *("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "AWS_CA_BUNDLE"),
        *("NODE_EXTRA_CA_CERTS", "NODE_USE_SYSTEM_CA", "NODE_USE_ENV_PROXY", "NODE_TLS_REJECT_UNAUTHORIZED"),
        *("GIT_SSL_CAINFO", "DENO_CERT", "DENO_TLS_CA_STORE", "NIX_SSL_CERT_FILE"),
        # npm reads its settings in either case; of the lower ones a script that npm runs sets dozens more.
        *("npm_config_registry", "npm_config_cafile", "npm_config_proxy", "npm_config_https_proxy"),
        *("npm_config_noproxy", "npm_config_strict_ssl", "npm_config_userconfig", "npm_config_cache"),
        *("GOPROXY", "GONOSUMDB", "GOPRIVATE", "GOFLAGS", "CARGO_HTTP_CAINFO", "BUN_CONFIG_REGISTRY"),
    )
)
PREFIXES = ("PIP_", "UV_", "NPM_CONFIG_")
# What publishes packages, and what `uv run` says of itself to the programs that it runs.
NEVER = ("UV_PUBLISH_", "UV_INTERNAL_", "UV_RUN_RECURSION_DEPTH")


def default(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that every stdio server is given, as the caller has them."""
    return {
        name: environment[name]
        for name in environment
        if name in NAMES or (name.startswith(PREFIXES) and not name.startswith(NEVER))
    }


def named(patterns: tuple[str, ...], environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that `pass_env` names; a `*` at the end of a name stands for any rest."""
    whole = frozenset(patterns)
    starts = tuple(one[:-1] for one in patterns if one.endswith("*") and len(one) > 1)
    return {
        name: environment[name]
        for name in environment
        if name in whole or (starts and name.startswith(starts))
    }


_TELLING = ("PROXY", "CERT", "CA_", "SSL", "TLS", "REGISTRY", "INDEX", "TOKEN", "KEY", "SECRET", "NODE_")


def missed(environment: Mapping[str, str], given: Mapping[str, str]) -> list[str]:
    """Return names of the caller's variables that a server may have needed and was not given, sorted.

    Args:
        environment: the caller's.
        given: what the server was given.
    """
    return sorted(
        name
        for name in environment
        if name not in given and any(word in name.upper() for word in _TELLING) and name.isprintable()
    )
