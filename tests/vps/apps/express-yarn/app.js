const express = require('express');
const { HOST, PORT, PROJECT_NAME } = process.env;
express()
  .get('/', (request, response) => response.send(`Express with yarn in ${PROJECT_NAME}`))
  .listen(PORT, HOST);
