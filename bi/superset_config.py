"""Superset on this machine alone, reading releases and nothing else. Superset loads it by SUPERSET_CONFIG_PATH.

`whalecurve bi` (pipelines/bi.py) makes the folder WHALECURVE_BI_HOME and what is secret in it.
"""

import os
from pathlib import Path

from sqlalchemy.engine.url import URL, make_url

HOME = Path(os.environ["WHALECURVE_BI_HOME"])
TARGET_HOST = ".target.whalecurve"
"""`<name>.target.whalecurve` stands for the address of a release target: Superset's database holds no password."""

SECRET_KEY = os.environ.get("WHALECURVE_BI_SECRET_KEY") or (HOME / "secret_key").read_text(encoding="utf-8").strip()
SQLALCHEMY_DATABASE_URI = f"sqlite:///{HOME / 'superset.db'}?check_same_thread=false"
APP_NAME = "Whalecurve"
# Nothing is kept of what was read: a new release is seen at once.
DATA_CACHE_CONFIG = {"CACHE_TYPE": "NullCache"}
FILTER_STATE_CACHE_CONFIG = {"CACHE_TYPE": "SimpleCache"}
EXPLORE_FORM_DATA_CACHE_CONFIG = {"CACHE_TYPE": "SimpleCache"}
RATELIMIT_STORAGE_URI = "memory://"
# A page may load from here alone: without this, the browser would report each visit to the makers' counter.
TALISMAN_CONFIG = {
    "content_security_policy": {
        "base-uri": ["'self'"],
        "default-src": ["'self'"],
        "img-src": ["'self'", "blob:", "data:"],
        "worker-src": ["'self'", "blob:"],
        "connect-src": ["'self'"],
        "object-src": "'none'",
        "style-src": ["'self'", "'unsafe-inline'"],
        "script-src": ["'self'", "'strict-dynamic'"],
    },
    "content_security_policy_nonce_in": ["script-src"],
    "force_https": False,
    "session_cookie_secure": False,
}
READ_ONLY = {
    "duckdb": {
        "read_only": True,
        # A query from SQL Lab reads the release and no other file.
        "config": {"enable_external_access": "false", "autoinstall_known_extensions": "false"},
    },
    "postgresql": {"options": "-c default_transaction_read_only=on"},
}


def DB_CONNECTION_MUTATOR(uri, params, username, security_manager, source):
    """Each connection goes to the release that is current now, by its own path, and cannot write."""
    if uri.get_backend_name() == "duckdb" and uri.database:
        # DuckDB goes on giving out what it has open under a path, also when `current` leads elsewhere.
        uri = uri.set(database=str(Path(uri.database).resolve()))
    elif uri.host and uri.host.endswith(TARGET_HOST):
        name = uri.host.removesuffix(TARGET_HOST).upper()
        uri = _of_psycopg2(make_url(os.environ[f"WHALECURVE_TARGET_{name}_URL"]))
    if added := READ_ONLY.get(uri.get_backend_name()):
        params = {**params, "connect_args": {**params.get("connect_args", {}), **added}}
    return uri, params


def _of_psycopg2(uri: URL) -> URL:
    return uri.set(drivername="postgresql+psycopg2")
