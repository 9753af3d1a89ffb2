import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { capturing } from './capture.ts';
import { syns } from './packets.ts';
import { type Program, PYTHON, REPOSITORY, run, start, stop, untilListening, untilSays } from './program.ts';
import { MODES, type Mode, openStealthLab, PROTECTED_LENGTH, SECRET, type StealthLab } from './stealthlab.ts';
import { firstSegmentAfter, takeApart } from './syn.ts';

/** The protected bytes are gathered however the program writes them, and leave in one segment. */

const WRITERS = join(REPOSITORY, 'test/programs/writers.py');
const PORTS: Readonly<Record<Mode, number>> = { auth: 8301, integrity: 8302 };
const STYLES = [
  ...['one-send', 'tiny-sends', 'file-writes', 'vectors', 'more-to-come', 'corked'],
  ...['impatient', 'select', 'poll', 'epoll', 'asyncio'],
];

let stealth: StealthLab;
beforeAll(async () => {
  stealth = await openStealthLab();
  const { server } = stealth;
  for (const mode of MODES) {
    const sink = start(server, [PYTHON, WRITERS, 'serve', server.addresses.ipv4, String(PORTS[mode])], {
      knock: stealth.knock(server, mode),
    });
    await untilListening(sink, PORTS[mode]);
  }
});
afterAll(() => stealth?.close());

function writer(style: string, mode: Mode): readonly string[] {
  return [PYTHON, WRITERS, style, stealth.server.addresses.ipv4, String(PORTS[mode])];
}

describe.each(MODES)('%s', (mode) => {
  test.each(STYLES)('%s: every byte arrives, the first segment is what the token says', async (style) => {
    const { result, packets } = await capturing(stealth.lab, () =>
      run(stealth.client, writer(style, mode), { knock: stealth.knock(stealth.client, mode) }),
    );
    expect(result).toMatchObject({ status: 0, stdout: 'intact\n', stderr: '' });
    const [syn] = syns(packets);
    if (syn === undefined) throw new Error('no SYN was sent');
    const segment = firstSegmentAfter(syn, packets);
    const taken = takeApart(
      syn,
      SECRET,
      mode === 'integrity' ? segment.subarray(0, PROTECTED_LENGTH) : undefined,
    );
    expect(taken.onTheWire).toBe(taken.computed);
    if (mode === 'integrity') expect(segment.length).toBeGreaterThanOrEqual(PROTECTED_LENGTH);
  });
});

describe('a program that waits for an answer too early', () => {
  test.each(['wait-recv', 'wait-select', 'wait-poll', 'wait-epoll'])('%s: is told why', async (style) => {
    const { result: outcome, packets } = await capturing(stealth.lab, async () => {
      const waiting: Program = start(stealth.client, writer(style, 'integrity'), {
        knock: stealth.knock(stealth.client, 'integrity'),
      });
      await untilSays(waiting, 'waits for an answer').catch(() => {});
      // Once.
      await sleep(2_500);
      return stop(waiting);
    });
    const lines = outcome.stderr.split('\n').filter((line) => line.includes('waits for an answer'));
    expect(lines, JSON.stringify(outcome)).toHaveLength(1);
    expect(lines[0]).toMatch(/KNOCK_INTLEN.*3 so far/);
    expect(packets).toEqual([]);
  });
});
