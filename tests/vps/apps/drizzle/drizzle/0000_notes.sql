CREATE TABLE "notes" ("text" text);
--> statement-breakpoint
INSERT INTO "notes" VALUES ('Drizzle migrated');
