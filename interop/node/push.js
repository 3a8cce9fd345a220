// Node's own HTTP/2 client makes a transport queue and prints each push as a line of JSON: its path, media type and body.
'use strict';
const http2 = require('node:http2');

const [, , uri, resource] = process.argv;
const url = new URL(uri);
const session = http2.connect(url.origin);
session.on('error', (error) => { console.error(error.message); process.exitCode = 1; });
session.on('stream', (pushed, promised) => {
  let type, body = '';
  pushed.on('push', (headers) => { type = headers['content-type']; });
  pushed.setEncoding('utf8');
  pushed.on('data', (part) => { body += part; });
  pushed.on('end', () => console.log(JSON.stringify({ path: promised[':path'], type, body: JSON.parse(body) })));
});
const request = session.request({ ':method': 'POST', ':path': url.pathname, 'content-type': 'application/alto-transport+json' });
request.on('response', (headers) => { if (headers[':status'] !== 200) { console.error(`status ${headers[':status']}`); process.exit(1); } });
request.end(JSON.stringify({ 'resource-id': resource }));
