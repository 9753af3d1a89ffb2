import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Packet, syns } from '../lab/packets.ts';
import { REPOSITORY } from '../lab/program.ts';
import { MODES, type Mode, openStealthLab, SECRET, type StealthLab } from '../lab/stealthlab.ts';
import { firstSegmentAfter, isGuess, takeApart } from '../lab/syn.ts';
import { type Pair, saying } from './pair.ts';
import { RELOADS } from './reloads.ts';
import { Findings, render } from './report.ts';
import { PAIRS } from './table.ts';
import { type Attempt, type ClientKind, Trials } from './trial.ts';

/** Real programs, with nothing changed in them: nothing notices the library, and nobody else gets in. */

const findings = new Findings();
let stealth: StealthLab;
let trials: Trials;

beforeAll(async () => {
  // Servers that drop root's privileges need their control process later, too.
  stealth = await openStealthLab(['--mode', '0666']);
  trials = new Trials(stealth);
});
afterAll(async () => {
  await trials?.close();
  stealth?.close();
});

/** A test whose success is part of what the docs say of these pairs. */
function finding(pairs: readonly Pair[], mode: Mode, check: string, work: () => void | Promise<void>): void {
  for (const pair of pairs) findings.expected(pair, mode, check);
  test(check, async () => {
    await work();
    for (const pair of pairs) findings.proved(pair, mode, check);
  });
}

/** What every SYN of the capture and its answer must be. */
function expectTokens(pair: Pair, mode: Mode, { packets }: Attempt): void {
  const length = mode === 'integrity' ? pair.integrity : 0;
  const sent = syns(packets);
  expect(sent.length).toBeGreaterThanOrEqual(pair.connections ?? 1);
  const taken = sent.map((syn) => {
    const first = firstSegmentAfter(syn, packets);
    return takeApart(syn, SECRET, length === 0 ? undefined : first.subarray(0, length));
  });
  expect(taken.map(({ onTheWire }) => onTheWire)).toEqual(taken.map(({ computed }) => computed));
}

/** Every SYN, and there is one, got a closed port's answer and nothing else; the client says so. */
function expectRefusal(pair: Pair, mode: Mode, { outcome, packets }: Attempt): void {
  const sent = syns(packets);
  expect(sent.length).toBeGreaterThan(0);
  const guesses = sent.filter((syn) => mode === 'integrity' && isGuess(syn, SECRET));
  const answersTo = ({ sourcePort }: Packet) =>
    packets.filter(({ destinationPort }) => destinationPort === sourcePort).map(({ flags }) => flags);
  for (const syn of sent) {
    if (guesses.includes(syn)) expect(answersTo(syn)[0]).toBe('SA');
    else expect(answersTo(syn)).toEqual(['RA']);
  }
  const { refused = saying(/refused/i) } = pair;
  // Otherwise it met a reset as well.
  if (guesses.length === 0) refused(outcome, mode);
}

describe.each(PAIRS)('$name to $server.name', (pair) => {
  describe.each(MODES)('%s', (mode) => {
    let attempt: (kind: ClientKind) => Attempt;
    beforeAll(async () => {
      attempt = await trials.attempts(pair, mode);
    });

    finding([pair], mode, 'works, every SYN with its token', async () => {
      const works = attempt('with the secret');
      const { place, program } = await trials.server(pair, mode);
      expect(works.outcome.stderr).not.toContain('knockify');
      await pair.prove(works.outcome, place, program);
      expectTokens(pair, mode, works);
    });

    for (const kind of ['without the library', 'with another secret'] as const) {
      finding([pair], mode, `refused ${kind}`, () => expectRefusal(pair, mode, attempt(kind)));
    }

    if (pair.server.behind !== undefined) {
      finding([pair], mode, 'what is behind the server is refused without the library', async () => {
        const { refused = saying(/refused/i) } = pair;
        refused(await trials.behind(pair, mode), 'auth');
      });
    }

    finding([pair], mode, 'fails without a secret, and sends no SYN', () => {
      const { outcome, packets } = attempt('without a secret');
      expect(syns(packets)).toEqual([]);
      expect(outcome.status).not.toBe(0);
      expect(outcome.stderr).toContain('there is no secret');
    });
  });
});

const SERVERS = [...new Set(PAIRS.map(({ server }) => server))];

describe.each(SERVERS)('$name', (server) => {
  const pairs = PAIRS.filter((pair) => pair.server === server);
  finding(pairs, 'auth', 'the server does not listen without a secret', async () => {
    const { outcome, listened } = await trials.withoutSecret(server);
    expect(listened).toBe(false);
    expect(outcome.stderr).toContain('there is no secret');
  });
  finding(pairs, 'auth', 'reached by a client under the library when it is not hidden', async () => {
    const [pair] = pairs;
    if (pair === undefined) throw new Error(`nobody uses ${server.name}`);
    const { outcome, place, program } = await trials.notHidden(pair);
    await pair.prove(outcome, place, program);
  });
});

describe.each(RELOADS)('$pair.server.name: $name', (reload) => {
  const { pair, name } = reload;
  describe.each(MODES)('%s', (mode) => {
    finding([{ ...pair, name }], mode, 'stays hidden and serves', async () => {
      const { served, refused, knocks, place, program } = await trials.reloaded(reload, mode);
      expect(served.stderr).not.toContain('knockify');
      await pair.prove(served, place, program);
      const { refused: expectRefused = saying(/refused/i) } = pair;
      expectRefused(refused, 'auth');
      if (mode === 'auth') expect(knocks).toEqual({ ECONNREFUSED: expect.any(Number) });
    });
  });
});

test('docs/programs.md is what these tests found', async () => {
  await expect(render(PAIRS, RELOADS, findings)).toMatchFileSnapshot(join(REPOSITORY, 'docs/programs.md'));
});
