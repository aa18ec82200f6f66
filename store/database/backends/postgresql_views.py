"""Views on PostgreSQL that are made again: with the rights on them, and what else reads them."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection

# Rights on views as statements; of grantee 0, which is everybody.
RIGHTS = """
SELECT format('GRANT %%s ON %%I TO %%s%%s', held.privilege_type, c.relname,
              CASE held.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(held.grantee)) END,
              CASE WHEN held.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END)
FROM pg_class c CROSS JOIN aclexplode(c.relacl) AS held
WHERE c.relname = ANY(%s) AND c.relkind = 'v' AND held.grantee <> c.relowner
  AND c.relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = current_schema())
ORDER BY 1
"""
# Views of the user's own over what Sluice's contract columns are in.
READERS = """
SELECT DISTINCT format('%%I.%%I', of.nspname, reader.relname)
FROM pg_depend d JOIN pg_rewrite r ON r.oid = d.objid JOIN pg_class reader ON reader.oid = r.ev_class
JOIN pg_namespace of ON of.oid = reader.relnamespace
WHERE d.classid = 'pg_rewrite'::regclass AND d.refobjid = ANY(
        SELECT to_regclass(name) FROM unnest(ARRAY['target', 'staging', 'current', 'golden']) AS name)
  AND reader.oid <> ALL(
        SELECT to_regclass(name) FROM unnest(ARRAY['record_lineage', 'lineage', 'current', 'golden']) AS name)
ORDER BY 1
"""


def rights(connection: Connection, views: Sequence[str]) -> list[str]:
    """What gives those who have rights on these views the same again."""
    return list(connection.exec_driver_sql(RIGHTS, (list(views),)).scalars())


def why_not_widened(connection: Connection) -> str | None:
    """Why no column's type can change; None where it can: a view keeps what it reads as it is."""
    readers = list(connection.exec_driver_sql(READERS).scalars())
    if not readers:
        return None
    return f"which is read by {', '.join(readers)}: drop that, start a worker, and make it again"
