import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { endpointOf } from '../../ts/api/endpoint.ts';
import { connectStealth, listenStealth, StealthError } from '../../ts/api/index.ts';
import { decode, encode, MAX_MESSAGE_SIZE, type Message } from '../../ts/spec/codec.ts';
import { type ActionName, actions, MIDSTATE_SIZE, SOCKADDR_SIZE } from '../../ts/spec/messages.ts';
import * as channel from '../../ts/sys/channel.ts';
import { AF_INET, disconnect, getsockname } from '../../ts/sys/libc.ts';
import * as tcp from '../../ts/sys/tcp.ts';

/** The public API with a control process that does as the test wants. No stealth; on the loopback interface only. */

vi.mock('node:dns/promises', () => ({
  lookup: async () => [
    { address: '127.0.0.2', family: 4 },
    { address: '127.0.0.1', family: 4 },
  ],
}));

type Answer = (message: Message, descriptors: readonly number[]) => Uint8Array | 'hang up' | undefined;

const SECRET = 'any';
let directory: string;
let control: string;
let asked: Message['kind'][];
let stop: () => void;

function verdict(action: ActionName, { text = '', error = 0 } = {}): Uint8Array {
  return encode({
    kind: 'verdict',
    action: actions.find(({ name }) => name === action)?.id ?? 0,
    log_level: 1,
    follow: 0,
    error,
    protected_length: 0,
    midstate: new Uint8Array(MIDSTATE_SIZE),
    peer: new Uint8Array(SOCKADDR_SIZE),
    peer_size: 0,
    text: Buffer.from(text),
    prefix: new Uint8Array(),
    path: new Uint8Array(),
  });
}

/** Serves any number of clients; what they hand over is kept until they hang up. */
function pretend(answer: Answer): void {
  const listener = channel.listen(control);
  const clients = new Map<number, { unwatch: () => void; held: number[] }>();
  const drop = (fd: number) => {
    const { unwatch, held = [] } = clients.get(fd) ?? {};
    unwatch?.();
    clients.delete(fd);
    for (const one of [fd, ...held]) channel.close(one);
  };
  const serve = (fd: number) => {
    const { data, descriptors } = channel.receive(fd, Buffer.alloc(MAX_MESSAGE_SIZE)) ?? {};
    if (data === undefined || descriptors === undefined) return;
    clients.get(fd)?.held.push(...descriptors);
    if (data.length === 0) return drop(fd);
    const message = decode(data);
    asked.push(message.kind);
    const answered = answer(message, descriptors);
    if (answered === 'hang up') drop(fd);
    else if (answered !== undefined) channel.send(fd, answered);
  };
  const unwatch = channel.watch(listener, () => {
    for (let next = channel.accept(listener); next; next = channel.accept(listener)) {
      const { fd } = next;
      clients.set(fd, { unwatch: channel.watch(fd, () => serve(fd)), held: [] });
    }
  });
  stop = () => {
    unwatch();
    channel.close(listener);
    for (const fd of [...clients.keys()]) drop(fd);
  };
}

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'knockify-api-'));
  control = join(directory, 'control.sock');
  asked = [];
  stop = () => {};
});
afterEach(() => {
  stop();
  rmSync(directory, { recursive: true });
});

/** A listener on the loopback interface, and what it has accepted. */
async function withListener(use: (port: number, accepted: Socket[]) => Promise<void>): Promise<void> {
  const accepted: Socket[] = [];
  const server = createServer((socket) => accepted.push(socket.resume()));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as { port: number };
  try {
    await use(port, accepted);
  } finally {
    for (const socket of accepted) socket.destroy();
    server.close();
  }
}

const proceed: Answer = ({ kind }) => (kind === 'report' ? verdict('pass') : verdict('proceed'));

async function failure(attempt: Promise<unknown>): Promise<Error> {
  return await attempt.then(
    () => {
      throw new Error('it did not fail');
    },
    (error: Error) => error,
  );
}

describe('nothing but a verdict to proceed makes a real connect', () => {
  test.each([
    { answer: verdict('pass'), says: "answers 'pass' instead of 'proceed'" },
    { answer: verdict('deferred'), says: "answers 'deferred' instead of 'proceed'" },
    { answer: verdict('need_file'), says: "answers 'need_file' instead of 'proceed'" },
    { answer: verdict('refuse', { text: 'not today', error: 93 }), says: 'connect: not today' },
    { answer: 'hang up' as const, says: 'lost the control process' },
    { answer: Uint8Array.of(1, 2, 3), says: 'datagram of 3 bytes is too short' },
    { answer: encode({ kind: 'accepted' }), says: "a 'accepted' message is no answer" },
  ])('$says', async ({ answer, says }) => {
    pretend(() => answer);
    await withListener(async (port, accepted) => {
      const error = await failure(connectStealth({ host: '127.0.0.1', port, secret: SECRET, control }));
      expect(error).toBeInstanceOf(StealthError);
      expect(error.message).toContain(says);
      expect(asked).toEqual(['connect']);
      expect(accepted).toEqual([]);
    });
  });

  test('with a payload, faking it has to come first', async () => {
    pretend(proceed);
    const payload = Buffer.from('x');
    const attempt = connectStealth({ host: '127.0.0.1', port: 9, secret: SECRET, control, payload });
    expect((await failure(attempt)).message).toContain("answers 'proceed' instead of 'deferred'");
  });
});

test("the network's refusals keep their errno", async () => {
  pretend(() => verdict('refuse', { error: 101 }));
  const attempt = connectStealth({ host: '127.0.0.1', port: 9, secret: SECRET, control });
  expect(await failure(attempt)).toMatchObject({
    code: 'ENETUNREACH',
    errno: -101,
    address: '127.0.0.1',
    port: 9,
  });
});

test('a refused connect that is stealth to blame for says so', async () => {
  pretend((message) =>
    message.kind === 'report'
      ? verdict('refuse', { text: 'the SYN was held back', error: 93 })
      : verdict('proceed'),
  );
  await withListener(async (port) => {
    const attempt = connectStealth({ host: '127.0.0.2', port, secret: SECRET, control });
    const error = await failure(attempt);
    expect(error).toBeInstanceOf(StealthError);
    expect(error.message).toBe('connect: the SYN was held back');
  });
});

test('a connect that the control process takes back is no success', async () => {
  // With a full queue the kernel drops a SYN, and the connect stays under way.
  const listener = tcp.socket(AF_INET);
  tcp.bind(listener, endpointOf('127.0.0.3', 0).sockaddr);
  tcp.listen(listener, 0);
  const port = getsockname(listener).readUInt16BE(2);
  const waiting = [tcp.socket(AF_INET), tcp.socket(AF_INET)];
  for (const fd of waiting) tcp.connect(fd, endpointOf('127.0.0.3', port).sockaddr);
  pretend(({ kind }, [socket = -1]) => {
    if (kind !== 'connect') return verdict('pass');
    setTimeout(() => {
      disconnect(socket);
      expect(tcp.getInt(socket, 'SO_ERROR')).not.toBe(0);
    }, 100);
    return verdict('proceed');
  });
  try {
    const error = await failure(connectStealth({ host: '127.0.0.3', port, secret: SECRET, control }));
    expect(error).toBeInstanceOf(StealthError);
    expect(error.message).toContain('the SYN was held back');
  } finally {
    for (const fd of [listener, ...waiting]) channel.close(fd);
  }
});

test('the addresses of a name are tried in order, until one answers', async () => {
  pretend(proceed);
  await withListener(async (port) => {
    const socket = await connectStealth({ host: 'a-name', port, secret: SECRET, control });
    expect(socket.remoteAddress).toBe('127.0.0.1');
    socket.destroy();
    expect(asked.slice(0, 3)).toEqual(['connect', 'report', 'connect']);
  });
});

describe('a listener', () => {
  test.each(['pass', 'deferred'] as const)('%s instead of proceed: it does not listen', async (action) => {
    pretend(() => verdict(action));
    const server = createServer();
    const error = await failure(
      listenStealth(server, { port: 0, host: '127.0.0.1', secret: SECRET, control }),
    );
    expect(error).toBeInstanceOf(StealthError);
    expect(server.listening).toBe(false);
  });

  test('whose guard fails after all does not listen', async () => {
    pretend(({ kind }) =>
      kind === 'report' ? verdict('refuse', { text: 'another guard', error: 93 }) : verdict('proceed'),
    );
    const server = createServer();
    const error = await failure(
      listenStealth(server, { port: 0, host: '127.0.0.1', secret: SECRET, control }),
    );
    expect(error.message).toBe('listen: another guard');
    expect(server.listening).toBe(false);
  });
});
