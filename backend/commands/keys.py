"""`modelshapley keys`: makes, lists and revokes named keys in the records of a data directory or database."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from backend.settings import Settings
from backend.store.records import Records
from backend.store.schema import migrate
from modelshapley.contracts import KeyRequest, Scope
from modelshapley.errors import ModelShapleyError
from modelshapley.server.processes import keep_files_private

WITHOUT_SERVER_KEY = (
    "Named keys are asked for once MODELSHAPLEY_API_KEY is set for the server; until then it serves this machine "
    "without any."
)


def main(arguments: Sequence[str]) -> int:
    """Run `add NAME SCOPE`, `list` or `revoke NAME`, with arguments that the command line has validated."""
    try:
        settings = Settings.from_environment()
        keep_files_private(settings.data)
        migrate(settings.records_url)
        records = Records(settings.records_url)
        _run(records, arguments)
    except ModelShapleyError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    if settings.api_key is None:
        print(WITHOUT_SERVER_KEY, file=sys.stderr)
    return 0


def _run(records: Records, arguments: Sequence[str]) -> None:
    command, *rest = arguments
    if command == "add":
        name, scope = rest
        key = records.add_key(KeyRequest(name=name, scope=Scope(scope)))
        records.audit(None, "create_key", key.name)
        print(key.secret)
        print("This key is shown this once; only its hash is stored.", file=sys.stderr)
    elif command == "revoke":
        key_of_name = records.revoke_key(rest[0])
        records.audit(None, "revoke_key", key_of_name.name)
        print(f"Key {key_of_name.name!r} is revoked; servers refuse it within 5 seconds.")
    else:
        table = Table("name", "scope", "made", "revoked", box=None)
        for known in records.all_keys():
            revoked = f"{known.revoked:%Y-%m-%d}" if known.revoked else ""
            table.add_row(known.name, known.scope.value, f"{known.created:%Y-%m-%d}", revoked)
        Console(highlight=False).print(table)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
