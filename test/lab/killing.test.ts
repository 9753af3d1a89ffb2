import { readdirSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { capturing } from './capture.ts';
import { type Control, startControl } from './control.ts';
import { knockFilters } from './filters.ts';
import { type Host, type Lab, openLab } from './netns.ts';
import { type Packet, syns } from './packets.ts';
import {
  type Knock,
  type Program,
  PYTHON,
  REPOSITORY,
  start,
  stop,
  until,
  untilListening,
  untilSays,
} from './program.ts';
import { scaled } from './scale.ts';
import { patient } from './slowness.ts';
import { MODES, type Mode, PROTECTED_LENGTH, SECRET } from './stealthlab.ts';
import { takeApart } from './syn.ts';

/** Control processes are killed at random moments while servers and clients go on, none of which is restarted. */

const KILLS = scaled(12, 1_000);
const LOAD = `${REPOSITORY}/test/programs/load.py`;
/** As the load generator has it. */
const REQUEST = Buffer.from('what a client says first, always the same, and long enough');
const PORTS: Readonly<Record<Mode, number>> = { auth: 8610, integrity: 8611 };
/** Of the SYNs that are sent to be refused, as the load generator has it. */
const PLAIN_SERVICE = 0x20;
/**
 * With integrity the listener sees 16 bits of the token (draft section 3.2): one in so many SYNs gets an answer by
 * chance, and is reset before the program sees it.
 */
const GUESSES = 2 ** 16;
/** A moment within which a control process does all sorts of things. Milliseconds. */
const LONGEST_LIFE = 120;

/** What a client may hear while a control process is away. With integrity, the server's has a say after the connect. */
const EXPECTED: Readonly<Record<Mode, readonly string[]>> = {
  auth: ['ok', 'EPROTONOSUPPORT'],
  integrity: ['ok', 'EPROTONOSUPPORT', 'ECONNRESET', 'EPIPE'],
};

let lab: Lab;
const controls = new Map<Host, Control>();
const servers: Program[] = [];

async function restart(host: Host): Promise<void> {
  const socket = `${lab.directory}/${host.name}.sock`;
  controls.set(host, await startControl(lab, host, { socket }));
}

const knock = (host: Host, mode: Mode): Knock => ({
  control: `${lab.directory}/${host.name}.sock`,
  secret: SECRET,
  intlen: mode === 'integrity' ? PROTECTED_LENGTH : undefined,
});

const load = (host: Host, what: string, mode: Mode, plain = false) =>
  start(host, [PYTHON, LOAD, what, lab.server.addresses.ipv4, String(PORTS[mode])], {
    knock: plain ? undefined : knock(host, mode),
  });

beforeAll(async () => {
  lab = openLab();
  for (const host of [lab.client, lab.server]) await restart(host);
  for (const mode of MODES) {
    const server = load(lab.server, 'serve', mode);
    servers.push(server);
    await untilListening(server, PORTS[mode]);
  }
});
afterAll(() => lab?.close());

const descriptors = ({ pid }: Program) => readdirSync(`/proc/${pid}/fd`).length;

function tokenIsRight(syn: Packet): boolean {
  const bytes = syn.destinationPort === PORTS.integrity ? REQUEST.subarray(0, PROTECTED_LENGTH) : undefined;
  const { onTheWire, computed } = takeApart(syn, SECRET, bytes);
  return onTheWire === computed;
}

/** Ends a load generator; what it saw. */
async function outcomes(program: Program): Promise<Record<string, number>> {
  const { stdout, stderr } = await stop(program, 'SIGTERM', 30_000);
  const counted = /^\{.*\}$/m.exec(stdout)?.[0];
  expect(counted, stderr).toBeDefined();
  return JSON.parse(counted ?? '');
}

test(`${KILLS} times`, { timeout: patient(20_000 + KILLS * 3_000) }, async () => {
  const before = servers.map(descriptors);
  const filter = 'tcp[tcpflags] == tcp-syn';
  const { result, packets } = await capturing(
    lab,
    async () => {
      const loads = MODES.map((mode) => load(lab.client, 'load', mode));
      const steady = MODES.map((mode) => load(lab.client, 'steady', mode));
      const plain = MODES.map((mode) => load(lab.client, 'plain', mode, true));
      for (const program of [...loads, ...steady, ...plain]) await untilSays(program, 'begun');
      for (let kill = 0; kill < KILLS; kill++) {
        await sleep(Math.random() * LONGEST_LIFE);
        const host = Math.random() < 0.5 ? lab.client : lab.server;
        await stop(controls.get(host)?.program as Program, 'SIGKILL');
        await restart(host);
      }
      const all = (programs: Program[]) => Promise.all(programs.map(outcomes));
      return { loads: await all(loads), steady: await all(steady), plain: await all(plain) };
    },
    { filter },
  );
  for (const [index, mode] of MODES.entries()) {
    const heard = result.loads[index] ?? {};
    expect(heard.ok).toBeGreaterThan(KILLS);
    expect(EXPECTED[mode], JSON.stringify(heard)).toEqual(expect.arrayContaining(Object.keys(heard)));
    expect(Object.keys(result.steady[index] ?? {})).toEqual(['ok']);
    const { ECONNREFUSED = 0, ECONNRESET = 0, ...others } = result.plain[index] ?? {};
    expect(others).toEqual({});
    expect(ECONNREFUSED).toBeGreaterThan(KILLS);
    expect(ECONNRESET).toBeLessThanOrEqual(mode === 'auth' ? 0 : 3 + (5 * ECONNREFUSED) / GUESSES);
  }
  const stealthy = syns(packets).filter(({ trafficClass }) => trafficClass !== PLAIN_SERVICE);
  expect(stealthy.length).toBeGreaterThan(KILLS);
  expect(stealthy.filter((syn) => !tokenIsRight(syn))).toEqual([]);
  expect(servers.every((server) => server.isRunning())).toBe(true);
  // They hear of their clients' ends first.
  await until('all connections to be closed', () =>
    servers.every((server, i) => descriptors(server) === before[i]),
  );
  for (const host of [lab.client, lab.server])
    expect(knockFilters(host)).toEqual(['knock_ingress', 'knock_egress']);
});
