import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, openSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Limits } from '../../ts/control/admission.ts';
import { Reading } from '../../ts/control/reading.ts';
import { ControlServer } from '../../ts/control/server.ts';
import type { Verdict } from '../../ts/control/verdict.ts';
import { decode, encode, MAX_MESSAGE_SIZE, type Message } from '../../ts/spec/codec.ts';
import * as channel from '../../ts/sys/channel.ts';
import { Prompt } from '../../ts/sys/prompt.ts';
import { PYTHON } from '../lab/program.ts';
import { PaperEngine } from './paperEngine.ts';
import { sockaddrOf } from './sockaddrs.ts';

/** What clients may do to the control process. */

const GONE = fileURLToPath(new URL('../lab/gone.py', import.meta.url));

let scratch: string;
let path: string;
let server: ControlServer;
let logged: string[];
function serve(limits?: Limits, prompt?: Prompt): ControlServer {
  const reading = new Reading();
  const log = { error: (text: string) => logged.push(text), info: () => {}, debug: () => {} };
  const around = {
    engine: new PaperEngine(),
    prompt,
    ownPolicy: undefined,
    secrets: undefined,
    admits: () => true,
    localAddress: () => sockaddrOf('192.0.2.9', 80),
    watch: channel.watch,
    readFile: reading.read.bind(reading),
    log,
  };
  return new ControlServer(channel.listen(path), around, limits);
}

beforeEach(() => {
  scratch = mkdtempSync(join(tmpdir(), 'knockify-server-'));
  path = join(scratch, 'control.sock');
  logged = [];
  server = serve();
});
afterEach(() => {
  server.close();
  rmSync(scratch, { recursive: true });
});

const openDescriptors = () => readdirSync('/proc/self/fd').length;

/** Waits until `condition` holds, with the event loop running meanwhile. */
async function until(condition: () => boolean): Promise<void> {
  for (let look = 0; look < 4000; look++) {
    if (condition()) return;
    await sleep(5);
  }
  expect.unreachable('it never came true');
}

async function answer(client: number): Promise<Verdict> {
  const buffer = Buffer.alloc(MAX_MESSAGE_SIZE);
  let got: channel.Datagram | undefined;
  await until(() => {
    got = channel.receive(client, buffer);
    return got !== undefined;
  });
  return decode(got?.data ?? Buffer.alloc(0)) as Verdict;
}

function connectWith(secret: string): Message {
  const peer = new Uint8Array(28);
  peer.set(sockaddrOf('192.0.2.1', 4242));
  const settings = Buffer.from(`KNOCK_SECRET=${secret}\0`);
  return { kind: 'connect', settings, rc_path: new Uint8Array(), rc_error: 0, peer, peer_size: 16 };
}

async function isServing(): Promise<void> {
  const client = channel.connect(path);
  const socket = openSync('/dev/null', 'r');
  channel.send(client, encode(connectWith('fine')), [socket]);
  expect((await answer(client)).action).toBe(1);
  channel.close(socket);
  channel.close(client);
}

describe('the control process goes on serving after', () => {
  it('a datagram that is no message', async () => {
    const client = channel.connect(path);
    channel.send(client, Buffer.from('nonsense'));
    expect(Buffer.from((await answer(client)).text).toString()).toMatch(/wrong size|version|unknown/);
    channel.close(client);
    await isServing();
  });

  it('an empty datagram with descriptors, which are closed', async () => {
    const before = openDescriptors();
    for (let i = 0; i < 20; i++) {
      const [client, file] = [channel.connect(path), openSync('/dev/null', 'r')];
      channel.send(client, Buffer.alloc(0), [file, file, file, file]);
      channel.close(file);
      channel.close(client);
    }
    await isServing();
    await until(() => openDescriptors() <= before);
  });

  it('more descriptors than a message may bring, which are closed', async () => {
    const before = openDescriptors();
    for (let i = 0; i < 50; i++) {
      const [client, file] = [channel.connect(path), openSync('/dev/null', 'r')];
      channel.send(client, encode({ kind: 'report', error: 0, waits: 1 }), [file, file]);
      expect(Buffer.from((await answer(client)).text).toString()).toMatch(/2 descriptors/);
      channel.close(file);
      channel.close(client);
    }
    await isServing();
    await until(() => openDescriptors() <= before);
  });

  it('a secret file with a name beyond measure', async () => {
    const [client, socket] = [channel.connect(path), openSync('/dev/null', 'r')];
    channel.send(client, encode(connectWith(`f:${'x'.repeat(5000)}`)), [socket]);
    expect(Buffer.from((await answer(client)).text).toString()).toMatch(/KNOCK_SECRET.*5000 bytes/);
    channel.close(socket);
    channel.close(client);
    await isServing();
  });

  it('a hundred clients that say nothing, or leave in the middle', async () => {
    const silent = Array.from({ length: 100 }, () => channel.connect(path));
    await isServing();
    for (const client of silent) channel.send(client, encode(connectWith('f:/nowhere')));
    for (const client of silent) channel.close(client);
    await isServing();
    expect(logged.filter((line) => /Error|internal/.test(line))).toEqual([]);
  });
});

describe('one user', () => {
  const limits = { perUser: 3, silence: 60_000, call: 60_000 };
  const request = () => {
    const [client, socket] = [channel.connect(path), openSync('/dev/null', 'r')];
    channel.send(client, encode(connectWith('fine')), [socket]);
    channel.close(socket);
    return client;
  };
  const hasEnded = (client: number) => {
    try {
      return channel.receive(client, Buffer.alloc(MAX_MESSAGE_SIZE))?.data.length === 0;
    } catch {
      return true; // ECONNRESET: what was sent was not read
    }
  };

  function serveAnew(...how: Parameters<typeof serve>): void {
    server.close();
    rmSync(path, { force: true });
    server = serve(...how);
  }

  it('who says nothing is let go of, unless a real call is under way', async () => {
    serveAnew({ ...limits, silence: 500 });
    const [silent, calling] = [channel.connect(path), request()];
    expect((await answer(calling)).action).toBe(1);
    await until(() => hasEnded(silent));
    channel.send(calling, encode({ kind: 'report', error: 0, waits: 1 }));
    expect((await answer(calling)).action).toBe(0);
    await until(() => hasEnded(calling));
    channel.close(silent);
    channel.close(calling);
  });

  it('has so many sessions at a time; as many more wait, and the others are turned away', async () => {
    serveAnew(limits);
    const clients = Array.from({ length: 8 }, request);
    const [inside, waiting, away] = [clients.slice(0, 3), clients.slice(3, 6), clients.slice(6)];
    for (const client of inside) expect((await answer(client)).action).toBe(1);
    for (const client of away) await until(() => hasEnded(client));
    for (const client of waiting)
      expect(channel.receive(client, Buffer.alloc(MAX_MESSAGE_SIZE))).toBeUndefined();
    for (const client of inside) channel.close(client);
    for (const client of waiting) expect((await answer(client)).action).toBe(1);
    for (const client of [...waiting, ...away]) channel.close(client);
    await isServing();
  });

  it('has the next one let in when the socket of one that is gone is closed at last', async () => {
    serveAnew({ ...limits, perUser: 1 });
    const gone = spawn(PYTHON, ['-B', GONE, path], { stdio: ['pipe', 'pipe', 'inherit'] });
    gone.stdin.end(`${Buffer.from(encode(connectWith('fine'))).toString('hex')}\n`);
    try {
      await once(gone.stdout, 'data');
      await until(() => channel.releasing(process.getuid?.() ?? -1) === 1);
      const waiting = request();
      await sleep(1000);
      expect(channel.receive(waiting, Buffer.alloc(MAX_MESSAGE_SIZE))).toBeUndefined();
      gone.kill();
      expect((await answer(waiting)).action).toBe(1);
      channel.close(waiting);
    } finally {
      gone.kill();
    }
  });

  it('has no more of them where some could be answered promptly', async () => {
    const nowhere = { marks: -1, notes: -1, links: -1, timestamps: -1, blackholeTimeout: -1, network: 0n };
    const prompt = new Prompt(nowhere);
    serveAnew(limits, prompt);
    const silent = [channel.connect(path), channel.connect(path)];
    await until(() => prompt.clients(process.getuid?.() ?? -1) === 2);
    const [inside = -1, waiting = -1] = [request(), request()];
    expect((await answer(inside)).action).toBe(1);
    await until(() => prompt.clients(process.getuid?.() ?? -1) === 0);
    expect(channel.receive(waiting, Buffer.alloc(MAX_MESSAGE_SIZE))).toBeUndefined();
    channel.close(silent[0] ?? -1);
    expect((await answer(waiting)).action).toBe(1);
    for (const client of [silent[1] ?? -1, inside, waiting]) channel.close(client);
    serveAnew();
    prompt.close();
  });
});
