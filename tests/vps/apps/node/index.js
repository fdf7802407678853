// Stores things in PostgreSQL and Redis, with nothing but its environment.
const http = require('http');
const { Pool } = require('pg');
const Redis = require('ioredis');

const env = process.env;
const pool = new Pool({ connectionString: env.DATABASE_URL });
const redis = new Redis(env.REDIS_URL);

const work = {
  '/': async () => 'Version 1',
  '/database': async () => {
    await pool.query('CREATE TABLE IF NOT EXISTS visit (at timestamptz DEFAULT now())');
    await pool.query('INSERT INTO visit DEFAULT VALUES');
    return Number((await pool.query('SELECT count(*) FROM visit')).rows[0].count);
  },
  '/redis': () => redis.incr('visits'),
};

http.createServer(async (request, response) => {
  try {
    const said = await work[request.url]();
    response.end(JSON.stringify(said));
  } catch (error) {
    response.statusCode = 500;
    response.end(JSON.stringify(String(error)));
  }
}).listen(env.PORT, env.HOST);
