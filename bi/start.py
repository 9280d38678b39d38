"""Superset with the dashboards of this project, in one process: made ready, brought up to date, served.

Runs in the environment of requirements-bi.lock. `whalecurve bi` (pipelines/bi.py) becomes it, and has made the folder
WHALECURVE_BI_HOME: the secret key, the first user's password, and bundle.zip, the dashboards for the releases of this company.

    python bi/start.py PORT
"""

import os
import sys
import zipfile
from pathlib import Path

sys.dont_write_bytecode = False  # or each start would compile seven thousand modules anew

from gunicorn.app.base import BaseApplication  # noqa: E402

USER = "admin"


class Server(BaseApplication):
    """gunicorn with one worker, which makes Superset ready before it serves: SQLite has one writer."""

    def __init__(self, port: int, home: Path) -> None:
        self.address, self.home = f"127.0.0.1:{port}", home
        super().__init__()

    def load_config(self) -> None:
        settings = {
            "bind": self.address,
            "worker_class": "gthread",
            "threads": 8,
            "timeout": 600,
            "loglevel": "warning",
            "post_worker_init": lambda worker: self.say_where(),
        }
        for name, value in settings.items():
            self.cfg.set(name, value)

    def load(self):
        return superset_app(self.home)

    def say_where(self) -> None:
        print(f"http://{self.address}/ is open: user {USER}, password {secret(self.home, 'password')}", flush=True)


def superset_app(home: Path):
    """Superset's application, its database at the version of its code, with user and dashboards."""
    from superset.app import create_app

    app = create_app()
    with app.app_context():
        from superset.extensions import security_manager

        made, version = home / "superset.version", app.config["VERSION_STRING"]
        if not made.exists() or made.read_text(encoding="utf-8") != version:
            prepare_database()
            made.write_text(version, encoding="utf-8")
        user = security_manager.find_user(username=USER) or security_manager.add_user(
            *(USER, "Whalecurve", "BI", "bi@localhost", security_manager.find_role("Admin")),
            password=secret(home, "password"),
        )
        import_bundle(home / "bundle.zip", user)
    return app


def prepare_database() -> None:
    """What `superset db upgrade` and `superset init` do, without starting Superset twice more."""
    import superset
    from flask_migrate import upgrade
    from superset.extensions import appbuilder, security_manager
    from superset.utils.decorators import transaction

    upgrade(directory=str(Path(superset.__file__).parent / "migrations"))

    @transaction()
    def permissions() -> None:
        appbuilder.add_permissions(update_perms=True)
        security_manager.sync_role_definitions()

    permissions()


def import_bundle(file: Path, user) -> None:
    """Databases, datasets, charts and dashboards as they are shipped; what a person has made beside them stays."""
    from superset.commands.importers.v1.assets import ImportAssetsCommand
    from superset.commands.importers.v1.utils import get_contents_from_bundle
    from superset.utils.core import override_user

    with zipfile.ZipFile(file) as bundle:
        contents = get_contents_from_bundle(bundle)
    with override_user(user):
        ImportAssetsCommand(contents).run()


def secret(home: Path, name: str) -> str:
    return (home / name).read_text(encoding="utf-8").strip()


if __name__ == "__main__":
    Server(int(sys.argv[1]), Path(os.environ["WHALECURVE_BI_HOME"])).run()
