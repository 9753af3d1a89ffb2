import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { capturing } from '../lab/capture.ts';
import { syns } from '../lab/packets.ts';
import { type Program, stop } from '../lab/program.ts';
import { KINDS, openStealthLab, PROTECTED_LENGTH, SECRET, type StealthLab } from '../lab/stealthlab.ts';
import { firstSegmentAfter, takeApart } from '../lab/syn.ts';
import { connects, type Line, linesOf, serves } from './tasks.ts';

/** The public API with itself at the other end. */

const PAYLOAD = 'x'.repeat(PROTECTED_LENGTH - 1).concat('!');
const REST = 'and the rest, which nothing protects';

let stealth: StealthLab;
let server: Program;

beforeAll(async () => {
  stealth = await openStealthLab();
  const { addresses } = stealth.server;
  server = await serves(stealth.server, {
    kind: 'echo',
    on: KINDS.map(({ family, mode, port }) => ({
      port,
      // A dual-stack listener by default.
      host: family === 'mapped' ? undefined : addresses[family],
      secret: SECRET,
      protectedLength: mode === 'integrity' ? PROTECTED_LENGTH : 0,
      control: stealth.controls.server.socket,
    })),
  });
});
afterAll(() => stealth?.close());

test('every server knows its address', () => {
  const { addresses } = stealth.server;
  expect(linesOf(server.stdout()).slice(0, KINDS.length)).toEqual(
    KINDS.map(({ family, port }) => ({
      listening: {
        address: family === 'mapped' ? '::' : addresses[family],
        family: family === 'ipv4' ? 'IPv4' : 'IPv6',
        port,
      },
    })),
  );
});

describe.each(KINDS)('$family, $mode', ({ family, mode, port }) => {
  const payload = mode === 'integrity' ? PAYLOAD : undefined;
  const whole = (payload ?? '') + REST;
  const told = (): Line[] => linesOf(server.stdout());

  test('connects, and every byte arrives once', async () => {
    const { client } = stealth;
    const host = stealth.server.addresses[family];
    const before = told().length;
    const { result, packets } = await capturing(stealth.lab, () =>
      connects(client, {
        to: [{ host, port, secret: SECRET, payload, control: stealth.controls.client.socket }],
        write: REST,
      }),
    );
    const [connection, after] = result;
    expect(connection).toMatchObject({
      connecting: false,
      readyState: 'open',
      remoteAddress: host,
      got: whole,
    });
    expect(connection).toMatchObject({ remotePort: port, localAddress: client.addresses[family] });
    expect(after).toEqual({ left: 0 });
    expect(told().slice(before)).toEqual([{ connection: client.addresses[family] }, { got: whole }]);
    const [syn, another] = syns(packets);
    if (syn === undefined) throw new Error('no SYN was sent');
    expect(another).toBeUndefined();
    const taken = takeApart(syn, SECRET, payload === undefined ? undefined : Buffer.from(payload));
    expect(taken.onTheWire).toBe(taken.computed);
    if (payload !== undefined) expect(firstSegmentAfter(syn, packets).toString()).toBe(payload);
  });
});

test('a closed server is closed', async () => {
  const outcome = await stop(server);
  expect(outcome).toMatchObject({ status: 0, signal: undefined, stderr: '' });
  expect(linesOf(outcome.stdout).filter((line) => 'closed' in line)).toHaveLength(KINDS.length);
});
