import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { destinationOf } from '../../ts/stealth/destination.ts';
import { padSecret } from '../../ts/stealth/secret.ts';
import { computeToken } from '../../ts/stealth/token.ts';
import { type Family, inside, type Lab, openLab } from '../lab/netns.ts';
import { PYTHON, start, stop, until, untilSays } from '../lab/program.ts';
import {
  FAMILY,
  outcomeOf,
  readAll,
  sockaddr,
  startGuarded,
  startWorker,
  type Worker,
  writeAll,
} from './remote.ts';

/** Interfaces that are not plain Ethernet, and those on which a SYN passes our filters twice. */

const secret = padSecret(Buffer.from('Magic secret string'));
const PORT = 4242;

let lab: Lab;
let client: Worker;
let server: Worker;

beforeAll(async () => {
  lab = openLab();
  [client, server] = await Promise.all([startWorker(lab.client), startWorker(lab.server)]);
  await client.app.startEngine();
  await server.app.startEngine();
  await startGuarded(server, 'ipv6', PORT, secret);
});
afterAll(async () => {
  await client?.stop();
  await server?.stop();
  lab?.close();
});

function ip(end: 'client' | 'server', command: string): void {
  inside(lab[end], ['ip', ...command.split(' ')]);
}

/** Our filters' view of an interface: how often which side ran is not told, so the handshake must tell. */
async function expectEcho(family: Family, address: string): Promise<void> {
  const fd = await client.app.socket(FAMILY[family]);
  const peer = { ...destinationOf(address, PORT), sockaddr: sockaddr(family, address, PORT) };
  await client.engine.arm(fd, peer, secret);
  await client.libc.connect(fd, peer.sockaddr);
  expect(await outcomeOf(client, fd)).toBe(0);
  expect(await client.engine.settle(fd)).toBeUndefined();
  await writeAll(client, fd, Buffer.from('there and back'));
  expect((await readAll(client, fd, 14)).toString()).toBe('there and back');
  await client.app.close(fd);
}

const DEVICES = [
  {
    description: 'macvlan',
    prepare() {
      ip('client', `link add link ${lab.client.device} name test0 type macvlan`);
      ip('server', `link add link ${lab.server.device} name test0 type macvlan`);
    },
  },
  {
    description: 'a port of a bridge',
    prepare() {
      ip('client', `link add port0 type veth peer name test0 netns ${lab.server.namespace}`);
      ip('client', 'link add test0 type bridge');
      ip('client', 'link set port0 master test0 up');
    },
  },
  {
    description: 'VXLAN, whose outer packets belong to the socket, too',
    prepare() {
      const { client: here, server: there } = lab;
      const type = `type vxlan id 7 dstport 4789`;
      ip('client', `link add test0 ${type} local ${here.addresses.ipv4} remote ${there.addresses.ipv4}`);
      ip('server', `link add test0 ${type} local ${there.addresses.ipv4} remote ${here.addresses.ipv4}`);
    },
  },
] as const;

test.each(DEVICES)('$description', async ({ prepare }) => {
  prepare();
  for (const [end, host] of [
    ['client', 1],
    ['server', 2],
  ] as const) {
    ip(end, `addr add 198.51.100.${host}/24 dev test0`);
    ip(end, `addr add 2001:db8:1::${host}/64 dev test0 nodad`);
    ip(end, 'link set test0 up');
  }
  try {
    await expectEcho('ipv4', '198.51.100.2');
    await expectEcho('ipv6', '2001:db8:1::2');
  } finally {
    ip('client', 'link del test0');
    ip('server', 'link del test0');
  }
});

describe('tun, without a link-layer header', () => {
  test.each([
    { family: 'ipv4', address: '198.51.100.2' },
    { family: 'ipv6', address: '2001:db8:1::2' },
  ] as const)('$family', async ({ family, address }) => {
    const script = fileURLToPath(new URL('tun.py', import.meta.url));
    const far = start(lab.client, [PYTHON, script, 'tun0', '198.51.100.1/24', '2001:db8:1::1/64']);
    await untilSays(far, 'ready');
    const fd = await client.app.socket(FAMILY[family]);
    const peer = { ...destinationOf(address, PORT), sockaddr: sockaddr(family, address, PORT) };
    const token = await client.engine.arm(fd, peer, secret);
    await client.libc.connect(fd, peer.sockaddr);
    expect(await outcomeOf(client, fd)).toBe(0);
    await until('the ACK', () => far.stdout().split('\n').length > 3);
    const [syn = '', ack = ''] = far.stdout().split('\n').slice(1);
    const header = Buffer.from(syn.split(' ')[0] ?? '', 'hex').subarray(family === 'ipv4' ? 20 : 40);
    const tsval = header.readUInt32BE(header.indexOf('080a', 'hex') + 2);
    expect(token).toEqual({ isn: header.readUInt32BE(4), tsval });
    expect(computeToken({ secret, destination: peer, tsval }).isn).toBe(token.isn);
    expect([syn, ack].map((line) => line.split(' ')[1])).toEqual(['good', 'good']);
    await client.app.close(fd);
    await stop(far);
  });
});
