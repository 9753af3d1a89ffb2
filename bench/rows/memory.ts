import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { startControl } from '../../test/lab/control.ts';
import type { Knock } from '../../test/lab/program.ts';
import { start, stop, until } from '../../test/lab/program.ts';
import { type Bench, memoryOf } from '../bench.ts';
import { atMost, type Figure, figure, type Row } from '../row.ts';
import { quantile } from '../statistics.ts';

const PORT = 7051;
const MANY = 10_000;
/** The first times V8 takes what it needs. */
const FIRST = 4;
/** A process that has nothing to do any more is looked at so often, every so many milliseconds. */
const LOOKS = 5;
const EVERY = 100;

/** Private memory of a process, bytes. */
function privateMemory(pid: number): number {
  const rollup = readFileSync(`/proc/${pid}/smaps_rollup`, 'latin1');
  const kilobytes = [...rollup.matchAll(/^Private_(?:Clean|Dirty):\s+(\d+)/gm)].map((match) =>
    Number(match[1]),
  );
  return kilobytes.reduce((sum, value) => sum + value, 0) * 1024;
}

/** What the library adds to a process that does nothing. */
async function perProcess(bench: Bench): Promise<number> {
  const { client } = bench.stealth;
  const idle = async (knock: Knock | undefined) => {
    const program = start(client, ['sleep', '60'], { knock });
    await until('sleep', () => readFileSync(`/proc/${program.pid}/comm`, 'latin1') === 'sleep\n');
    await until('its start-up', () =>
      /\(sleep\) S/.test(readFileSync(`/proc/${program.pid}/stat`, 'latin1')),
    );
    const bytes = privateMemory(program.pid);
    await stop(program);
    return bytes;
  };
  return (await idle(bench.stealth.knock(client))) - (await idle(undefined));
}

/** Mebibytes that stay: of a process that has come to rest. */
async function atRest(pid: number): Promise<number> {
  const looks: number[] = [];
  for (let look = 0; look < LOOKS; look++) {
    await sleep(EVERY);
    looks.push(memoryOf(pid, 'VmRSS') / 1024);
  }
  return quantile(looks, 0.5);
}

interface Held {
  /** Bytes. */
  readonly perSocket: number;
  /** Mebibytes of the control process with the sockets. */
  readonly then: number;
}

/** Bytes that a process pays for each of many sockets, and what the control process has meanwhile. */
async function holding(
  bench: Bench,
  command: readonly string[],
  knock: Knock,
  control: number,
): Promise<Held> {
  const program = start(bench.stealth.client, command, { knock });
  await until('all sockets', () => program.stdout().includes('memory') || !program.isRunning(), 300_000);
  const grown = /^memory (-?\d+)$/m.exec(program.stdout())?.[1];
  if (grown === undefined) throw new Error(`${command.join(' ')}\n${program.stderr()}`);
  const then = await atRest(control);
  await stop(program);
  return { perSocket: Number(grown) / MANY, then };
}

export const memory: Row = {
  id: 'memory',
  title: `memory of the library and of the control process, at rest and with ${MANY} sockets`,
  baseline: 'a process without the library; the control process at rest',
  async measure(bench) {
    const { stealth, settings } = bench;
    const { client, server, lab } = stealth;
    const acceptor = await bench.accepting(PORT, stealth.knock(server, 'integrity'));
    const holder = bench.program('holder');
    const figures: Figure[] = [];
    const added = [];
    for (let round = 0; round < settings.rounds; round++) added.push((await perProcess(bench)) / 1024);
    figures.push(figure('library, per process', 'KiB', added, atMost(256)));
    const kinds = {
      'delayed connects': [
        [holder, 'connect', server.addresses.ipv4, String(PORT), String(MANY)],
        'integrity',
      ],
      'guarded listeners': [[holder, 'listen', String(MANY)], 'auth'],
    } as const;
    for (const [name, [command, mode]] of Object.entries(kinds)) {
      const control = await startControl(lab, client);
      const knock = { ...stealth.knock(client, mode), control: control.socket };
      const pid = control.program.pid;
      const before = await atRest(pid);
      const held = [];
      for (let round = 0; round < FIRST + settings.rounds; round++)
        held.push(await holding(bench, command, knock, pid));
      const then = held.map((one) => one.then);
      const growth = then.slice(FIRST).map((value, i) => value - (then[FIRST + i - 1] ?? Number.NaN));
      const counted = then.slice(FIRST);
      const [earlier, later] = [counted.slice(0, counted.length / 2), counted.slice(counted.length / 2)];
      figures.push(
        figure(
          `library, per socket: ${name}`,
          'B',
          held.map((one) => one.perSocket),
          atMost(64),
        ),
        figure(`control process at rest, before ${name}`, 'MiB', [before], atMost(80)),
        figure(`control process with ${MANY} ${name}`, 'MiB', then, atMost(80)),
        figure(`growth with each further ${MANY} ${name}`, 'MiB', growth, atMost(0.5)),
        figure(
          `growth that stays, over ${counted.length} times ${MANY} ${name}`,
          'MiB',
          // Garbage that V8 is yet to collect comes and goes: of what stays the lowest value has the least of it.
          [Math.min(...later) - Math.min(...earlier)],
          atMost(0.5),
        ),
      );
      await control.stop();
    }
    await bench.stop(acceptor);
    return { figures };
  },
};
