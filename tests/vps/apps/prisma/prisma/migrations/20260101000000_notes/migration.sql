CREATE TABLE "Note" ("id" SERIAL PRIMARY KEY, "text" TEXT NOT NULL);
INSERT INTO "Note" ("text") VALUES ('Prisma migrated');
