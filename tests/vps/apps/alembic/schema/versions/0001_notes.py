from alembic import op

revision = "0001"
down_revision = None


def upgrade():
    op.execute("CREATE TABLE notes (text text)")
    op.execute("INSERT INTO notes VALUES ('Alembic migrated')")


def downgrade():
    op.execute("DROP TABLE notes")
