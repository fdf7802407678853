const knex = require('knex')(require('./knexfile'));
require('http')
  .createServer(async (request, response) => response.end((await knex('notes').first()).text))
  .listen(process.env.PORT, process.env.HOST);
