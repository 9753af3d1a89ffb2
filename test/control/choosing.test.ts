import { closeSync, mkdtempSync, openSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { Loan } from '../../ts/config/policy.ts';
import { ALL_TARGETS } from '../../ts/config/targets.ts';
import { decodeNote } from '../../ts/control/note.ts';
import { Reading } from '../../ts/control/reading.ts';
import { SecretSet } from '../../ts/control/secretSet.ts';
import { Session } from '../../ts/control/session.ts';
import type { Verdict } from '../../ts/control/verdict.ts';
import { actions } from '../../ts/spec/messages.ts';
import { padSecret } from '../../ts/stealth/secret.ts';
import { PaperEngine } from './paperEngine.ts';
import { PaperSlots } from './paperSlots.ts';
import { sockaddrOf } from './sockaddrs.ts';

/** Which secret counts: of a client for its destination, of a listener among those of the control process. */

const SOCKET = 1000;
const ACCEPTED = 1001;
const client = { pid: 4242, uid: process.getuid?.() ?? 0, gid: 0 };
const LOAN: Loan = {
  secret: undefined,
  protectedLength: 0,
  replay: 'reject',
  targets: ALL_TARGETS,
  logLevel: 1,
};

let engine: PaperEngine;
let folder: string;
let logged: string[];
let late: Verdict[];
beforeEach(() => {
  late = [];
  engine = new PaperEngine();
  logged = [];
  folder = mkdtempSync(join(tmpdir(), 'knockify-choosing-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

function session(ownPolicy = LOAN, secrets?: SecretSet): Session {
  const log = { error: () => {}, info: (text: string) => logged.push(text), debug: () => {} };
  const reading = new Reading();
  const localAddress = () => sockaddrOf('192.0.2.9', 80);
  const around = {
    engine,
    prompt: undefined,
    ownPolicy,
    secrets,
    admits: () => true,
    localAddress,
    watch: () => () => {},
    readFile: reading.read.bind(reading),
    log,
  };
  return new Session(
    around,
    client,
    (verdict) => late.push(verdict),
    (fd) => {
      if (fd < SOCKET) closeSync(fd);
    },
  );
}

const actionOf = (verdict: Verdict | undefined) => actions.find(({ id }) => id === verdict?.action)?.name;
const textOf = (verdict: Verdict | undefined) => Buffer.from(verdict?.text ?? []).toString();

/** A message's settings, with an rc file if there is a text for one; its descriptor. */
function settings(values: Record<string, string>, rc?: string) {
  const texts = Object.entries(values).map(([key, value]) => `${key}=${value}\0`);
  const path = join(folder, 'rc');
  if (rc !== undefined) writeFileSync(path, rc, { mode: 0o600 });
  return {
    fields: { settings: Buffer.from(texts.join('')), rc_path: Buffer.from(rc ? path : ''), rc_error: 0 },
    descriptors: rc === undefined ? [SOCKET] : [SOCKET, openSync(path, 'r')],
  };
}

describe('a connect', () => {
  const RC = 'KNOCK_TARGETS=:25\n[192.0.2.0/24:4242]\nKNOCK_SECRET=net\n[192.0.2.7]\nKNOCK_SECRET=f:/of/host';

  async function connect(address: string, rc: string, env: Record<string, string> = {}) {
    const { fields, descriptors } = settings(env, rc);
    const sockaddr = sockaddrOf(address, 4242);
    const peer = new Uint8Array(28);
    peer.set(sockaddr);
    const message = { kind: 'connect', ...fields, peer, peer_size: sockaddr.length } as const;
    expect(session().receive(message, descriptors)).toBeUndefined();
    await vi.waitUntil(() => late.length > 0);
    return late.shift();
  }

  it('takes the secret of the section for its destination', async () => {
    expect(actionOf(await connect('192.0.2.1', RC))).toBe('proceed');
    expect(engine.calls).toEqual(['arm 4242 net -']);
  });

  it('asks for the file that the most specific one names', async () => {
    const verdict = await connect('192.0.2.7', RC);
    expect(actionOf(verdict)).toBe('need_file');
    expect(Buffer.from(verdict?.path ?? []).toString()).toBe('/of/host');
  });

  it('elsewhere is left alone where KNOCK_TARGETS says so, though there is no secret for it', async () => {
    engine.current = 'armed';
    expect(actionOf(await connect('198.51.100.1', RC))).toBe('pass');
    // What an earlier connect left is taken back all the same.
    expect(engine.calls).toEqual(['release']);
  });

  it('elsewhere fails where nothing says so', async () => {
    const verdict = await connect('198.51.100.1', '[192.0.2.0/24]\nKNOCK_SECRET=net');
    expect(textOf(verdict)).toContain('there is no secret');
  });

  it('takes that of the environment before all', async () => {
    await connect('192.0.2.1', RC, { KNOCK_SECRET: 'env' });
    expect(engine.calls).toEqual(['arm 4242 env -']);
  });
});

describe('a listener', () => {
  let set: SecretSet;
  beforeEach(() => {
    set = new SecretSet('/secrets.d', new PaperSlots());
    set.update({ found: [secretNamed('alice')], refused: [] }, Date.now());
  });

  const secretNamed = (name: string) => ({
    file: `${name}.secret`,
    name,
    until: undefined,
    secret: padSecret(Buffer.from(name)),
  });

  function listen(values: Record<string, string>, loan = LOAN, secrets: SecretSet | undefined = set) {
    const { fields, descriptors } = settings(values);
    return session(loan, secrets).receive({ kind: 'listen', ...fields }, descriptors);
  }
  const protection = () => decodeNote(engine.notes.get(SOCKET) ?? new Uint8Array()).listener;

  it('that brings no secret accepts the named ones', () => {
    expect(actionOf(listen({}))).toBe('proceed');
    expect(protection()).toMatchObject({ secret: undefined, named: true });
  });

  it("that brings one accepts no other; and neither it nor the control process's is named", () => {
    listen({ KNOCK_SECRET: 'mine' });
    expect(protection()).toMatchObject({ secret: padSecret(Buffer.from('mine')), named: false });
  });

  it("accepts the control process's own beside them", () => {
    const secret = padSecret(Buffer.from('own'));
    listen({}, { ...LOAN, secret });
    expect(protection()).toMatchObject({ secret, named: true });
  });

  it('is refused where there is none at all', () => {
    set.update({ found: [], refused: [] }, Date.now());
    for (const secrets of [set, undefined]) {
      const verdict = session(LOAN, secrets).receive({ kind: 'listen', ...settings({}).fields }, [SOCKET]);
      expect(actionOf(verdict)).toBe('refuse');
      expect(textOf(verdict)).toContain('there is no secret');
    }
    expect(engine.calls).toEqual([]);
  });

  it('has whose secret it was in the log of its connections', () => {
    listen({ KNOCK_INTLEN: '8' });
    const accepted = () => actionOf(session(LOAN, set).receive({ kind: 'accepted' }, [ACCEPTED, SOCKET]));
    engine.inspection = { pass: true, slot: 1 };
    expect(accepted()).toBe('pass');
    engine.inspection = { pass: false, reason: 'wrong first bytes', slot: 1 };
    expect(accepted()).toBe('reset');
    expect(logged).toEqual([
      expect.stringMatching(/^let a connection in to process 4242 .* by secret alice$/),
      expect.stringMatching(/^reset a connection to process 4242 .* by secret alice: wrong first bytes$/),
    ]);
  });
});
