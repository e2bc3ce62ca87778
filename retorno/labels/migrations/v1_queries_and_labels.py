"""Version 1: queries, labels, loans, skips."""

import sqlalchemy as sa
from alembic import op

revision = "1"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "query",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("key", sa.Text, nullable=False, unique=True),
        sa.Column("content", sa.Text, nullable=False),
        sa.Column("missing", sa.Integer, nullable=False),
        sa.Column("withdrawn", sa.Boolean, nullable=False),
        sa.Column("added", sa.Float, nullable=False),
    )
    op.create_index("query_wanting", "query", ["kind", "missing"])
    op.create_table(
        "label",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("query_id", sa.Integer, sa.ForeignKey("query.id"), nullable=False, index=True),
        sa.Column("labeller", sa.Text, nullable=False),
        sa.Column("content", sa.Text, nullable=False),
        sa.Column("seconds", sa.Float),
        sa.Column("made", sa.Float, nullable=False),
        sa.Column("withdrawn", sa.Float),
    )
    op.create_index("label_of_labeller", "label", ["labeller", "id"])
    standing = sa.text("withdrawn IS NULL")
    op.create_index(
        "label_once",
        "label",
        ["query_id", "labeller"],
        unique=True,
        sqlite_where=standing,
        postgresql_where=standing,
    )
    op.create_table(
        "loan",
        sa.Column("query_id", sa.Integer, sa.ForeignKey("query.id"), primary_key=True),
        sa.Column("labeller", sa.Text, primary_key=True),
        sa.Column("until", sa.Float, nullable=False),
    )
    op.create_table(
        "skip",
        sa.Column("query_id", sa.Integer, sa.ForeignKey("query.id"), primary_key=True),
        sa.Column("labeller", sa.Text, primary_key=True),
    )
