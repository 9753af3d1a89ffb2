// `serve ADDRESS PORT`, or `talk ADDRESS PORT`: the text on standard input there and back by http, net and fetch.
//
// One port serves both: what does not begin as an HTTP request is echoed. The client prints what each way got as a
// line of JSON, and what each way was refused with on standard error.

import { createHash } from 'node:crypto';
import http from 'node:http';
import net from 'node:net';
import { text } from 'node:stream/consumers';

const [what, address, port] = process.argv.slice(2);
const digest = (data) => createHash('sha256').update(data).digest('hex');

function serve() {
  const web = http.createServer((request, response) => request.pipe(response));
  net
    .createServer({ allowHalfOpen: true }, (socket) => {
      socket.on('error', () => {});
      socket.once('readable', () => {
        const first = socket.read();
        if (first === null) return socket.end();
        socket.unshift(first);
        if (/^POST /.test(first.toString('latin1'))) web.emit('connection', socket);
        else socket.pipe(socket);
      });
    })
    .listen(Number(port), address);
}

const ways = {
  async http(body) {
    const agent = new http.Agent({ keepAlive: true });
    const options = { host: address, port, path: '/', method: 'POST', agent };
    const post = () =>
      new Promise((resolve, reject) => {
        http
          .request(options, (response) => resolve(text(response)))
          .on('error', reject)
          .end(body);
      });
    // Two connections at once, then one of them again.
    const got = await Promise.all([post(), post()]);
    got.push(await post());
    agent.destroy();
    return got;
  },
  async net(body) {
    const socket = net.connect({ host: address, port, allowHalfOpen: true });
    socket.end(body);
    return [await text(socket)];
  },
  async fetch(body) {
    const host = address.includes(':') ? `[${address}]` : address;
    const response = await fetch(`http://${host}:${port}/`, { method: 'POST', body });
    return [await response.text()];
  },
};

async function talk() {
  const body = await text(process.stdin);
  for (const [way, run] of Object.entries(ways)) {
    try {
      const got = await run(body);
      console.log(JSON.stringify({ way, got: got.map(digest) }));
    } catch (error) {
      console.error(`${way}: ${(error.cause ?? error).code}`);
      process.exitCode = 1;
    }
  }
}

await (what === 'serve' ? serve() : talk());
