const { PrismaClient } = require('@prisma/client');
const prisma = new PrismaClient();
require('http')
  .createServer(async (request, response) => response.end((await prisma.note.findFirst()).text))
  .listen(process.env.PORT, process.env.HOST);
