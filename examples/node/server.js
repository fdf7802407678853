'use strict';

// The smallest Node service that behaves well on HostKit: it listens where it is told to, says
// whether it is healthy, and finishes what it is answering before it stops.

const http = require('http');

const version = 'Version 1';
const host = process.env.HOST || '127.0.0.1';
const port = Number(process.env.PORT || 3000);

function answer(request, response) {
  const path = request.url.split('?')[0];
  if (path === '/healthz') {
    send(response, 200, 'ok\n');
  } else if (path === '/') {
    send(response, 200, `${version} of ${process.env.PROJECT_NAME || 'the Node example'}\n`);
  } else {
    send(response, 404, `Nothing at ${path}\n`);
  }
}

function send(response, status, text) {
  response.writeHead(status, { 'Content-Type': 'text/plain; charset=utf-8' });
  response.end(text);
}

const server = http.createServer(answer);

server.listen(port, host, () => console.log(`${version} listens on http://${host}:${port}`));

// HostKit starts a new release beside the old one and then sends the old one SIGTERM. Requests
// that are still being answered get their answer; connections kept open for later ones are closed.
process.on('SIGTERM', () => {
  console.log(`${version} stops`);
  server.close(() => process.exit(0));
  if (server.closeIdleConnections) server.closeIdleConnections();
});
