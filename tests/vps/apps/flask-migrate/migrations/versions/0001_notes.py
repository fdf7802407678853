import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade():
    notes = op.create_table("note", sa.Column("id", sa.Integer, primary_key=True), sa.Column("text", sa.String(80)))
    op.bulk_insert(notes, [{"text": "Flask-Migrate migrated"}])


def downgrade():
    op.drop_table("note")
