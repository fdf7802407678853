import { createServer } from 'node:http';
import { drizzle } from 'drizzle-orm/postgres-js';
import { sql } from 'drizzle-orm';
import postgres from 'postgres';
const database = drizzle(postgres(process.env.DATABASE_URL));
createServer(async (request, response) => {
  const [note] = await database.execute(sql`select text from notes`);
  response.end(note.text);
}).listen(process.env.PORT, process.env.HOST);
